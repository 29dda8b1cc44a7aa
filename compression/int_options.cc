#include "compression/int_options.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "compression/decimal.h"

namespace isthmus {
namespace {

const std::vector<std::string>& RangeWords() {
  static const auto* words =
      new std::vector<std::string>{"minmax", "rms", "percentile", "mse", "running"};
  return *words;
}

// Two levels at the extremes would put every value further out than it is; at a multiple of the RMS
// they keep the energy.
RangeRule DefaultRange(const GroupFormat& format) {
  return format.bits == 1 ? RangeRule::kRms : RangeRule::kMinMax;
}

constexpr int kRunning = 4;  // in RangeWords

absl::Status ReadRange(const SpecArguments& arguments, IntOptions* options) {
  GroupFormat* format = &options->matrix.format;
  ISTHMUS_ASSIGN_OR_RETURN(const int range, arguments.Choice("range", RangeWords(), -1));
  options->running = range == kRunning;
  format->range = range < 0          ? DefaultRange(*format)
                  : options->running ? RangeRule::kMinMax
                                     : static_cast<RangeRule>(range);
  ISTHMUS_ASSIGN_OR_RETURN(const double keep, arguments.Number("keep", 50.0, 100.0, 99.9));
  format->keep_percent = static_cast<float>(keep);
  if (arguments.Has("keep") && format->range != RangeRule::kPercentile) {
    return InvalidArgument("codec int: keep: expected range=percentile with it, got another range");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t every, arguments.Int("every", 0, 1 << 30, 16));
  options->every = static_cast<uint64_t>(every);
  if (arguments.Has("every") && !options->running)
    return InvalidArgument("codec int: every: expected range=running with it, got another range");
  const Group group = options->matrix.group;
  if (options->running && group != Group::kTensor && group != Group::kChannel) {
    return InvalidArgument(
        "codec int: range=running: expected group=tensor or group=channel, which are there again "
        "in the next frame, got another group");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<IntOptions> ReadIntOptions(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "group", "n", "round", "range"},
                                               {"sym", "asym"}, {"t", "keep", "every"}));
  IntOptions options;
  GroupFormat& format = options.matrix.format;
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.RequiredInt("bits", 1, 8));
  ISTHMUS_ASSIGN_OR_RETURN(const int group,
                           arguments.Choice("group", {"tensor", "channel", "token", "tile"}, 3));
  ISTHMUS_ASSIGN_OR_RETURN(options.matrix.tile, arguments.Int("n", 1, 1 << 24, 64));
  ISTHMUS_ASSIGN_OR_RETURN(options.tile_tokens, arguments.Int("t", 1, 1 << 16, 1));
  ISTHMUS_ASSIGN_OR_RETURN(const int round,
                           arguments.Choice("round", {"nearest", "stochastic"}, -1));
  if (arguments.Flag("sym") && arguments.Flag("asym")) {
    return InvalidArgument("codec int: expected one of sym, asym, got both");
  }
  format.bits = static_cast<int>(bits);
  format.symmetric = arguments.Flag("sym");
  options.matrix.group = static_cast<Group>(group);
  options.rounding = static_cast<Rounding>(round + 1);
  for (const char* key : {"n", "t"}) {
    if (arguments.Has(key) && options.matrix.group != Group::kTile) {
      return InvalidArgument("codec int: ", key,
                             ": expected group=tile with it, got another group");
    }
  }
  ISTHMUS_RETURN_IF_ERROR(ReadRange(arguments, &options));
  return options;
}

std::string CanonicalInt(const IntOptions& options) {
  static constexpr const char* kGroups[] = {"tensor", "channel", "token", "tile"};
  const MatrixFormat& m = options.matrix;
  std::string s =
      absl::StrCat("int(bits=", m.format.bits, ",group=", kGroups[static_cast<int>(m.group)]);
  if (m.group == Group::kTile) absl::StrAppend(&s, ",n=", m.tile);
  if (options.tile_tokens != 1) absl::StrAppend(&s, ",t=", options.tile_tokens);
  absl::StrAppend(&s, m.format.symmetric ? ",sym" : ",asym");
  if (options.rounding == Rounding::kNearest) s += ",round=nearest";
  if (options.rounding == Rounding::kStochastic) s += ",round=stochastic";
  if (options.running) {
    absl::StrAppend(&s, ",range=running,every=", options.every);
  } else if (m.format.range != DefaultRange(m.format)) {
    absl::StrAppend(&s, ",range=", RangeWords()[static_cast<size_t>(m.format.range)]);
  }
  if (m.format.range == RangeRule::kPercentile)
    absl::StrAppend(&s, ",keep=", Decimal(m.format.keep_percent));
  return s + ")";
}

}  // namespace isthmus
