// Normalizers and what the three kinds of steps read alike.
#include <array>

#include "base/status.h"
#include "model/tokenizer_steps.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

constexpr char kKinds[] =
    "Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase, Strip or StripAccents";

NormalizeStep ToForm(NormalForm form) {
  return [form](std::string text) -> absl::StatusOr<std::string> { return Normalize(form, text); };
}

absl::StatusOr<NormalizeStep> Prepend(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string prefix, GetString(step, "prepend", where));
  return [prefix](std::string text) -> absl::StatusOr<std::string> {
    return text.empty() ? text : absl::StrCat(prefix, text);
  };
}

absl::StatusOr<NormalizeStep> Replace(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(Regex pattern, ReadPattern(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(const std::string content, GetString(step, "content", where));
  return [pattern, content](std::string text) { return pattern.Replace(text, content); };
}

absl::StatusOr<NormalizeStep> Strip(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const bool left, GetBoolOr(step, "strip_left", true, where));
  ISTHMUS_ASSIGN_OR_RETURN(const bool right, GetBoolOr(step, "strip_right", true, where));
  return [left, right](std::string text) -> absl::StatusOr<std::string> {
    return std::string(StripSpace(text, left, right));
  };
}

absl::StatusOr<NormalizeStep> OneStep(const Json& step, const std::string& type,
                                      absl::string_view where) {
  if (type == "NFC") return ToForm(NormalForm::kNfc);
  if (type == "NFD") return ToForm(NormalForm::kNfd);
  if (type == "NFKC") return ToForm(NormalForm::kNfkc);
  if (type == "NFKD") return ToForm(NormalForm::kNfkd);
  if (type == "Prepend") return Prepend(step, where);
  if (type == "Replace") return Replace(step, where);
  if (type == "Strip") return Strip(step, where);
  if (type == "Lowercase")
    return [](std::string text) -> absl::StatusOr<std::string> { return LowerCase(text); };
  if (type == "StripAccents")
    return [](std::string text) -> absl::StatusOr<std::string> { return StripMarks(text); };
  return InvalidArgument("normalizer: expected ", kKinds, ", got ", type, " (", where, ")");
}

constexpr std::array<char32_t, 256> MakeByteCharacters() {
  std::array<char32_t, 256> table{};
  char32_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    table[byte] = printable ? static_cast<char32_t>(byte) : next++;
  }
  return table;
}

constexpr std::array<char32_t, 256> kByteCharacters = MakeByteCharacters();

constexpr std::array<int, 512> MakeCharacterBytes() {
  std::array<int, 512> table{};
  for (int& byte : table) byte = -1;
  for (int byte = 0; byte < 256; ++byte) table[kByteCharacters[byte]] = byte;
  return table;
}

constexpr std::array<int, 512> kCharacterBytes = MakeCharacterBytes();

}  // namespace

char32_t ByteCharacter(unsigned char byte) { return kByteCharacters[byte]; }

int CharacterByte(char32_t code_point) {
  return code_point < kCharacterBytes.size() ? kCharacterBytes[code_point] : -1;
}

absl::StatusOr<std::string> StepType(const Json& step, absl::string_view kind,
                                     absl::string_view where) {
  if (!step.is_object())
    return InvalidArgument(kind, ": expected an object, got ", Describe(step), " (", where, ")");
  return GetString(step, "type", absl::StrCat(where, ", ", kind));
}

absl::StatusOr<Regex> ReadPattern(const Json& step, absl::string_view where) {
  const Json* pattern = FindMember(step, "pattern");
  const Json* text = pattern == nullptr ? nullptr : FindMember(*pattern, "String");
  const Json* regex = pattern == nullptr ? nullptr : FindMember(*pattern, "Regex");
  absl::StatusOr<Regex> compiled =
      InvalidArgument("pattern: expected String or Regex, got ",
                      pattern == nullptr ? "nothing" : Describe(*pattern));
  if (text != nullptr && text->is_string()) {
    compiled = Regex::Literal(*text->get_ptr<const std::string*>());
  } else if (regex != nullptr && regex->is_string()) {
    compiled = Regex::Compile(*regex->get_ptr<const std::string*>());
  }
  if (!compiled.ok()) return InvalidArgument(compiled.status().message(), " (", where, ")");
  return compiled;
}

absl::StatusOr<PrependScheme> ReadPrependScheme(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const bool add, GetBoolOr(step, "add_prefix_space", true, where));
  ISTHMUS_ASSIGN_OR_RETURN(const std::string scheme,
                           GetStringOr(step, "prepend_scheme", add ? "always" : "never", where));
  if (scheme == "always") return PrependScheme::kAlways;
  if (scheme == "first") return PrependScheme::kFirst;
  if (scheme == "never") return PrependScheme::kNever;
  return InvalidArgument("prepend_scheme: expected always, first or never, got ", scheme, " (",
                         where, ")");
}

absl::StatusOr<std::string> ReadReplacement(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(std::string text, GetStringOr(step, "replacement", "\u2581", where));
  if (text.empty() || Utf8Length(text, 0) != text.size())
    return InvalidArgument("replacement: expected one character, got \"", text, "\" (", where, ")");
  return text;
}

absl::Status ReadNormalizer(const Json* step, absl::string_view where,
                            std::vector<NormalizeStep>* steps) {
  if (step == nullptr) return absl::OkStatus();
  const absl::StatusOr<std::string> type = StepType(*step, "normalizer", where);
  ISTHMUS_RETURN_IF_ERROR(type.status());
  if (*type == "Sequence") {
    ISTHMUS_ASSIGN_OR_RETURN(const Json* list, GetArray(*step, "normalizers", where));
    for (const Json& inner : *list) ISTHMUS_RETURN_IF_ERROR(ReadNormalizer(&inner, where, steps));
    return absl::OkStatus();
  }
  ISTHMUS_ASSIGN_OR_RETURN(NormalizeStep one, OneStep(*step, *type, where));
  steps->push_back(std::move(one));
  return absl::OkStatus();
}

}  // namespace isthmus
