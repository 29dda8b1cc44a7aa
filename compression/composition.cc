#include "compression/composition.h"

#include "absl/strings/str_join.h"
#include "base/status.h"

namespace isthmus {
namespace {

absl::Status Unknown(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const PartRow& row : PartTable()) names.push_back(row.name);
  return InvalidArgument("codec: expected parts of ", absl::StrJoin(names, ", "), ", got ", name);
}

absl::Status CheckOrder(absl::string_view text, const std::vector<ComposedPart>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const PartRow& row = *parts[i].row;
    if (i + 1 == parts.size()) {
      if (row.stage == PartStage::kFormat) break;
      if (row.stage == PartStage::kEntropy && i > 0 &&
          parts[i - 1].row->stage == PartStage::kFormat) {
        break;
      }
      return InvalidArgument("codec ", text, ": expected a format (int, minifloat …) behind ",
                             row.name, ", got the end");
    }
    const PartRow& next = *parts[i + 1].row;
    if (row.order < next.order) continue;
    if (row.order == next.order) {
      return InvalidArgument("codec ", text, ": expected one ", row.name, ", got two");
    }
    return InvalidArgument("codec ", text, ": expected ", next.name, " (", Name(next.stage),
                           ") before ", row.name, " (", Name(row.stage), "), got it behind");
  }
  return absl::OkStatus();
}

// What contradicts: precision by channel that a later mix spreads over all channels, and two
// policies or two predictors.
absl::Status CheckTogether(absl::string_view text, const std::vector<ComposedPart>& parts) {
  const bool coded = parts.back().row->stage == PartStage::kEntropy;
  const ComposedPart& format = parts[parts.size() - (coded ? 2 : 1)];
  const ComposedPart* weighs = nullptr;
  const ComposedPart* drops = nullptr;
  const ComposedPart* moves = nullptr;
  for (size_t i = 0; i < parts.size(); ++i) {
    const PartTraits traits = parts[i].spec->traits();
    if (traits.mixes_channels && weighs != nullptr) {
      return InvalidArgument(
          "codec ", text, ": expected no mixing of channels behind ", weighs->row->name,
          ", which gives channels precision of their own, got ", parts[i].row->name);
    }
    if (traits.weighs_channels) weighs = &parts[i];
    if (traits.has_table && drops != nullptr) {
      return InvalidArgument("codec ", text, ": expected no ", parts[i].row->name, " behind ",
                             drops->row->name, ", which leaves other columns every time, got both");
    }
    if (traits.drops_columns) drops = &parts[i];
    if (traits.knows_channels && moves != nullptr) {
      return InvalidArgument("codec ", text, ": expected channels as they come before ",
                             parts[i].spec->canonical(), ", which learned what each is worth, got ",
                             moves->row->name, " before it");
    }
    const bool predicts = parts[i].row->stage == PartStage::kPredictor;
    if (traits.mixes_channels || traits.weighs_channels || traits.drops_columns ||
        traits.moves_channels || predicts) {
      moves = &parts[i];
    }
    if (traits.needs_store && !parts[0].spec->traits().remembers_samples) {
      return InvalidArgument("codec ", text, ": expected store(...) before ", parts[i].row->name,
                             ", which codes changes of small rank, got none");
    }
    const PartStage stage = parts[i].row->stage;
    const bool alone = stage == PartStage::kPredictor || stage == PartStage::kPolicy;
    if (alone && i + 1 < parts.size() && parts[i + 1].row->stage == stage) {
      return InvalidArgument("codec ", text, ": expected one ", Name(stage), ", got ",
                             parts[i].row->name, " and ", parts[i + 1].row->name);
    }
    if (stage == PartStage::kEntropy && !parts[i - 1].spec->traits().takes_entropy) {
      return InvalidArgument(
          "codec ", text, ": expected a format with codes (int, minifloat, codebook, step) before ",
          parts[i].row->name, ", got ", parts[i - 1].spec->canonical());
    }
    if (stage == PartStage::kPolicy && !format.spec->traits().takes_policy) {
      return InvalidArgument("codec ", text,
                             ": expected int with group=token or group=tile behind ",
                             parts[i].row->name, ", got ", format.spec->canonical());
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string Composition::canonical() const {
  return absl::StrJoin(parts, "+", [](std::string* out, const ComposedPart& part) {
    out->append(part.spec->canonical());
  });
}

PartTraits Composition::traits() const {
  PartTraits all;
  for (const ComposedPart& part : parts) {
    const PartTraits traits = part.spec->traits();
    all.mixes_channels |= traits.mixes_channels;
    all.mixes_tokens |= traits.mixes_tokens;
    all.weighs_channels |= traits.weighs_channels;
    all.takes_policy |= traits.takes_policy;
    all.forward_only |= traits.forward_only;
  }
  return all;
}

const ComposedPart* Composition::Find(PartStage stage) const {
  for (const ComposedPart& part : parts)
    if (part.row->stage == stage) return &part;
  return nullptr;
}

absl::StatusOr<Composition> MakeComposition(absl::string_view text,
                                            const std::vector<SpecPart>& parts) {
  Composition composition;
  for (const SpecPart& part : parts) {
    const PartRow* row = FindPart(part.name);
    if (row == nullptr) return Unknown(part.name);
    ISTHMUS_ASSIGN_OR_RETURN(std::shared_ptr<const PartSpec> spec, row->make(part));
    composition.parts.push_back({row, std::move(spec)});
  }
  ISTHMUS_RETURN_IF_ERROR(CheckOrder(text, composition.parts));
  ISTHMUS_RETURN_IF_ERROR(CheckTogether(text, composition.parts));
  return composition;
}

absl::StatusOr<std::shared_ptr<const Codec>> ParseComposedCodec(std::string text,
                                                                absl::string_view composition) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<SpecPart> parts, ParseSpec(composition));
  ISTHMUS_ASSIGN_OR_RETURN(Composition made, MakeComposition(composition, parts));
  return MakeComposedCodec(std::move(text), std::move(made));
}

}  // namespace isthmus
