// Decoders: the texts of tokens become the text they were made from.
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "model/tokenizer_steps.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

constexpr char kKinds[] = "Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip or Metaspace";

// The byte of "<0x0A>", -1 for other tokens.
int FallbackByte(absl::string_view token) {
  if (token.size() != 6 || !absl::StartsWith(token, "<0x") || token[5] != '>') return -1;
  int byte = 0;
  for (const char c : token.substr(3, 2)) {
    const absl::string_view digits = "0123456789ABCDEF";
    const size_t digit = digits.find(absl::ascii_toupper(c));
    if (digit == absl::string_view::npos) return -1;
    byte = byte * 16 + static_cast<int>(digit);
  }
  return byte;
}

// Bytes in a row are one text; what is not UTF-8 in it becomes U+FFFD byte by byte.
void JoinFallbackBytes(std::vector<std::string>* tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (!bytes.empty()) out.push_back(ReplaceBadUtf8(bytes));
    bytes.clear();
  };
  for (std::string& token : *tokens) {
    const int byte = FallbackByte(token);
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  *tokens = std::move(out);
}

// A token with a character that stands for no byte (an added one) goes through as it is.
std::string FromByteCharacters(const std::string& token) {
  std::string bytes;
  for (size_t at = 0; at < token.size(); at += Utf8Length(token, at)) {
    const int byte = CharacterByte(CodePointAt(token, at));
    if (byte < 0) return token;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

void JoinByteLevel(std::vector<std::string>* tokens) {
  std::string bytes;
  for (const std::string& token : *tokens) bytes += FromByteCharacters(token);
  *tokens = {ReplaceBadUtf8(bytes)};
}

void Fuse(std::vector<std::string>* tokens) { *tokens = {absl::StrJoin(*tokens, "")}; }

absl::StatusOr<DecodeStep> Replace(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(Regex pattern, ReadPattern(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(const std::string content, GetString(step, "content", where));
  return [=](std::vector<std::string>* tokens) {
    for (std::string& token : *tokens) {
      absl::StatusOr<std::string> replaced = pattern.Replace(token, content);
      if (replaced.ok()) token = *std::move(replaced);
    }
  };
}

absl::StatusOr<DecodeStep> Strip(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string content, GetString(step, "content", where));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t start, GetIntOr(step, "start", 0, where));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t stop, GetIntOr(step, "stop", 0, where));
  if (content.empty() || start < 0 || stop < 0)
    return InvalidArgument("decoder: expected Strip with content, start and stop, got ",
                           Describe(Json(content)), ", ", start, ", ", stop, " (", where, ")");
  return [=](std::vector<std::string>* tokens) {
    for (std::string& token : *tokens) {
      absl::string_view rest = token;
      for (int64_t i = 0; i < start && absl::StartsWith(rest, content); ++i)
        rest.remove_prefix(content.size());
      for (int64_t i = 0; i < stop && absl::EndsWith(rest, content); ++i)
        rest.remove_suffix(content.size());
      token = std::string(rest);
    }
  };
}

absl::StatusOr<DecodeStep> Metaspace(const Json& step, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string mark, ReadReplacement(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(const PrependScheme scheme, ReadPrependScheme(step, where));
  ISTHMUS_ASSIGN_OR_RETURN(Regex pattern, Regex::Literal(mark));
  return [=](std::vector<std::string>* tokens) {
    for (size_t i = 0; i < tokens->size(); ++i) {
      const bool drop = i == 0 && scheme != PrependScheme::kNever;
      absl::StatusOr<std::string> text = pattern.Replace((*tokens)[i], drop ? "" : " ");
      if (text.ok()) (*tokens)[i] = *std::move(text);
    }
  };
}

absl::StatusOr<DecodeStep> OneStep(const Json& step, const std::string& type,
                                   absl::string_view where) {
  if (type == "ByteLevel") return DecodeStep(JoinByteLevel);
  if (type == "ByteFallback") return DecodeStep(JoinFallbackBytes);
  if (type == "Fuse") return DecodeStep(Fuse);
  if (type == "Replace") return Replace(step, where);
  if (type == "Strip") return Strip(step, where);
  if (type == "Metaspace") return Metaspace(step, where);
  return InvalidArgument("decoder: expected ", kKinds, ", got ", type, " (", where, ")");
}

}  // namespace

absl::Status ReadDecoder(const Json* step, absl::string_view where,
                         std::vector<DecodeStep>* steps) {
  if (step == nullptr) {
    steps->push_back(
        [](std::vector<std::string>* tokens) { *tokens = {absl::StrJoin(*tokens, " ")}; });
    return absl::OkStatus();
  }
  const absl::StatusOr<std::string> type = StepType(*step, "decoder", where);
  ISTHMUS_RETURN_IF_ERROR(type.status());
  if (*type == "Sequence") {
    ISTHMUS_ASSIGN_OR_RETURN(const Json* list, GetArray(*step, "decoders", where));
    for (const Json& inner : *list) ISTHMUS_RETURN_IF_ERROR(ReadDecoder(&inner, where, steps));
    return absl::OkStatus();
  }
  ISTHMUS_ASSIGN_OR_RETURN(DecodeStep one, OneStep(*step, *type, where));
  steps->push_back(std::move(one));
  return absl::OkStatus();
}

}  // namespace isthmus
