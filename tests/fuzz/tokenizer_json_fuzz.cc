// The first bytes up to a zero byte are a text, the rest a tokenizer.json: an error, or a tokenizer
// that takes the text.
#include <algorithm>
#include <cstdint>

#include "model/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(bytes), size);
  const size_t zero = std::min(input.find('\0'), input.size());
  const absl::string_view text = input.substr(0, std::min<size_t>(zero, 256));
  const absl::string_view file = input.substr(std::min(zero + 1, size));
  const auto tokenizer = isthmus::ParseTokenizerJson(file, {}, "fuzz");
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->Encode(text);
  if (!ids.ok()) return 0;
  (*tokenizer)->Decode(*ids);
  isthmus::StreamDecoder stream(tokenizer->get());
  for (const int32_t id : *ids) stream.Push(id);
  stream.Flush();
  return 0;
}
