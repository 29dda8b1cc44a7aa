// Text to token ids and back, as the files of a Hugging Face model directory say.
#ifndef ISTHMUS_MODEL_TOKENIZER_H_
#define ISTHMUS_MODEL_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace isthmus {

// Immutable after Open; safe to use from several threads.
class Tokenizer {
 public:
  // tokenizer.json if there, else tokenizer.model (sentencepiece); tokenizer_config.json says which
  // of BOS and EOS are added. kNotFound when the directory has neither, kInvalidArgument for what
  // is damaged or not supported (named).
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const std::string& model_directory);
  virtual ~Tokenizer() = default;

  // Special tokens that occur in plain text are not parsed. add_special: BOS/EOS as the files say.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                                      bool add_special = true) const = 0;
  virtual std::string Decode(absl::Span<const int32_t> ids, bool skip_special = true) const = 0;
  virtual int64_t vocab_size() const = 0;  // highest id + 1
  virtual int32_t bos_id() const = 0;      // -1: none
  virtual int32_t eos_id() const = 0;      // -1: none
  // The id of a token by its exact text ("<|im_end|>"), added tokens included; -1 when there is
  // none.
  virtual int32_t TokenId(absl::string_view token) const = 0;
  virtual absl::string_view chat_template() const = 0;  // of tokenizer_config.json, "" if none
};

// Decodes a growing sequence: returns only text that later ids cannot change (whole UTF-8
// characters), for streaming.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}
  std::string Push(int32_t id);
  std::string Flush();

 private:
  const Tokenizer* tokenizer_;
  std::vector<int32_t> ids_;
  size_t read_ = 0;  // of ids_: decoded in sent_
  std::string sent_;
};

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_H_
