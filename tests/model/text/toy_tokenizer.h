// Small tokenizers made by hand, for tests of single components.
#ifndef ISTHMUS_TESTS_MODEL_TEXT_TOY_TOKENIZER_H_
#define ISTHMUS_TESTS_MODEL_TEXT_TOY_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "model/json.h"
#include "model/tokenizer_json.h"
#include "model/tokenizer_steps.h"
#include "model/unicode.h"

namespace isthmus {

// Every printable ASCII character, "▁", then <0x00> .. <0xFF>, then `more`, in this order; no
// merges.
inline Json ToyVocab(const std::vector<std::string>& more = {}) {
  Json vocab = Json::object();
  int next = 0;
  const auto add = [&](const std::string& token) {
    if (!vocab.contains(token)) vocab[token] = next++;
  };
  for (char c = 32; c < 127; ++c) add(std::string(1, c));
  add("\u2581");
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    add(text);
  }
  for (const std::string& token : more) add(token);
  return vocab;
}

// Byte-level characters, then `more`.
inline Json ByteVocab(const std::vector<std::string>& more = {}) {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendUtf8(ByteCharacter(static_cast<unsigned char>(byte)), &text);
    vocab[text] = byte;
  }
  int next = 256;
  for (const std::string& token : more) vocab[token] = next++;
  return vocab;
}

inline Json ToyFile(Json vocab, Json merges = Json::array()) {
  return {{"model", {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(merges)}}}};
}

inline std::unique_ptr<Tokenizer> OpenToy(const Json& file, TokenizerConfig config = {}) {
  auto tokenizer = ParseTokenizerJson(DumpJson(file), std::move(config), "toy");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// The texts of the tokens of `text`, joined by "|".
inline std::string Tokens(const Tokenizer& tokenizer, const Json& file, const std::string& text,
                          bool add_special = false) {
  const auto ids = tokenizer.Encode(text, add_special);
  if (!ids.ok()) return std::string(ids.status().message());
  std::string out;
  for (const int32_t id : *ids) {
    std::string name = absl::StrCat("#", id);
    for (const auto& [token, value] : file["model"]["vocab"].items())
      if (value == id) name = token;
    if (const Json* added = FindMember(file, "added_tokens"))
      for (const Json& token : *added)
        if (token["id"] == id) name = token["content"];
    absl::StrAppend(&out, out.empty() ? "" : "|", name);
  }
  return out;
}

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_MODEL_TEXT_TOY_TOKENIZER_H_
