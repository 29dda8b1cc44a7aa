// Pre-tokenizers: a text becomes the words that the model sees one by one.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "model/tokenizer_steps.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

constexpr char kKinds[] = "Sequence, ByteLevel, Split, Digits or Metaspace";

// Words of GPT-2: contractions, then runs of letters, numbers or other signs with one space before
// them, then white space of which the last one is left to the word behind it.
constexpr char kByteLevelPattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

enum class Behavior { kRemoved, kIsolated, kContiguous, kMergedWithPrevious, kMergedWithNext };

absl::StatusOr<Behavior> ReadBehavior(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string name, GetString(step, "behavior", where));
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Contiguous") return Behavior::kContiguous;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  return InvalidArgument(
      "behavior: expected Removed, Isolated, Contiguous, MergedWithPrevious or MergedWithNext, "
      "got ",
      name, " (", where, ")");
}

// Does this stretch go on in the word that the one before began?
bool JoinsPrevious(Behavior behavior, const Stretch* before, const Stretch& here) {
  if (before == nullptr) return false;
  if (behavior == Behavior::kContiguous) return before->is_match == here.is_match;
  // Of several matches in a row only the first goes to the word before, only the last to the word
  // behind.
  if (behavior == Behavior::kMergedWithPrevious) return here.is_match && !before->is_match;
  if (behavior == Behavior::kMergedWithNext) return before->is_match && !here.is_match;
  return false;
}

void CutInto(const Piece& piece, const std::vector<Stretch>& stretches, Behavior behavior,
             std::vector<Piece>* out) {
  const Stretch* before = nullptr;
  for (const Stretch& here : stretches) {
    const absl::string_view text =
        absl::string_view(piece.text).substr(here.begin, here.end - here.begin);
    if (behavior == Behavior::kRemoved && here.is_match) continue;
    if (JoinsPrevious(behavior, before, here)) {
      out->back().text.append(text.data(), text.size());
    } else {
      out->push_back({std::string(text), piece.at_start && here.begin == 0});
    }
    before = &here;
  }
}

absl::Status CutAll(const Regex& pattern, bool invert, Behavior behavior,
                    std::vector<Piece>* pieces) {
  std::vector<Piece> cut;
  for (const Piece& piece : *pieces) {
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<Stretch> stretches, pattern.Find(piece.text));
    if (invert)
      for (Stretch& stretch : stretches) stretch.is_match = !stretch.is_match;
    CutInto(piece, stretches, behavior, &cut);
  }
  *pieces = std::move(cut);
  return absl::OkStatus();
}

absl::StatusOr<SplitStep> Split(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(Regex pattern, ReadPattern(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(const Behavior behavior, ReadBehavior(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(const bool invert, GetBoolOr(step, "invert", false, where));
  return [=](std::vector<Piece>* pieces) { return CutAll(pattern, invert, behavior, pieces); };
}

absl::StatusOr<SplitStep> Digits(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const bool each, GetBoolOr(step, "individual_digits", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(Regex pattern, Regex::Compile(R"(\p{N})"));
  const Behavior behavior = each ? Behavior::kIsolated : Behavior::kContiguous;
  return [=](std::vector<Piece>* pieces) { return CutAll(pattern, false, behavior, pieces); };
}

absl::StatusOr<SplitStep> Metaspace(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string mark, ReadReplacement(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(const bool split, GetBoolOr(step, "split", true, where));
  ISTHMUS_ASSIGN_OR_RETURN(Regex pattern, Regex::Literal(mark));
  return [=](std::vector<Piece>* pieces) -> absl::Status {
    for (Piece& piece : *pieces) {
      piece.text = absl::StrReplaceAll(piece.text, {{" ", mark}});
      const bool prepend =
          scheme == PrependScheme::kAlways || (scheme == PrependScheme::kFirst && piece.at_start);
      if (prepend && !absl::StartsWith(piece.text, mark)) piece.text.insert(0, mark);
    }
    return split ? CutAll(pattern, false, Behavior::kMergedWithNext, pieces) : absl::OkStatus();
  };
}

std::string ToByteCharacters(absl::string_view text) {
  std::string out;
  out.reserve(text.size() * 2);
  for (const char c : text) AppendUtf8(ByteCharacter(static_cast<unsigned char>(c)), &out);
  return out;
}

absl::StatusOr<SplitStep> ByteLevel(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const bool add_space, GetBoolOr(step, "add_prefix_space", true, where));
  ISTHMUS_ASSIGN_OR_RETURN(const bool use_regex, GetBoolOr(step, "use_regex", true, where));
  ISTHMUS_ASSIGN_OR_RETURN(Regex pattern, Regex::Compile(kByteLevelPattern));
  return [=](std::vector<Piece>* pieces) -> absl::Status {
    for (Piece& piece : *pieces)
      if (add_space && !piece.text.empty() && piece.text[0] != ' ') piece.text.insert(0, " ");
    if (use_regex) ISTHMUS_RETURN_IF_ERROR(CutAll(pattern, false, Behavior::kIsolated, pieces));
    for (Piece& piece : *pieces) piece.text = ToByteCharacters(piece.text);
    return absl::OkStatus();
  };
}

absl::StatusOr<SplitStep> OneStep(const Json& step, const std::string& type,
                                  absl::string_view where) {
  if (type == "ByteLevel") return ByteLevel(step, where);
  if (type == "Split") return Split(step, where);
  if (type == "Digits") return Digits(step, where);
  if (type == "Metaspace") return Metaspace(step, where);
  return InvalidArgument("pre_tokenizer: expected ", kKinds, ", got ", type, " (", where, ")");
}

}  // namespace

absl::Status ReadPreTokenizer(const Json* step, absl::string_view where,
                              std::vector<SplitStep>* steps) {
  if (step == nullptr) return absl::OkStatus();
  const absl::StatusOr<std::string> type = StepType(*step, "pre_tokenizer", where);
  ISTHMUS_RETURN_IF_ERROR(type.status());
  if (*type == "Sequence") {
    ISTHMUS_ASSIGN_OR_RETURN(const Json* list, GetArray(*step, "pretokenizers", where));
    for (const Json& inner : *list) ISTHMUS_RETURN_IF_ERROR(ReadPreTokenizer(&inner, where, steps));
    return absl::OkStatus();
  }
  ISTHMUS_ASSIGN_OR_RETURN(SplitStep one, OneStep(*step, *type, where));
  steps->push_back(std::move(one));
  return absl::OkStatus();
}

}  // namespace isthmus
