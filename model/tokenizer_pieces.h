// The sentencepiece library behind standard types: its header gives absl::string_view another
// meaning than Abseil's, so no file may include both.
#ifndef ISTHMUS_MODEL_TOKENIZER_PIECES_H_
#define ISTHMUS_MODEL_TOKENIZER_PIECES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace isthmus {

// Immutable after Parse; safe to use from several threads. Ids given to it are from 0 to size()
// - 1.
class PieceModel {
 public:
  // Null when the bytes are no model.
  static std::unique_ptr<PieceModel> Parse(const std::string& bytes);
  ~PieceModel();

  bool Encode(const std::string& text, std::vector<int32_t>* ids) const;  // appends
  std::string Decode(const std::vector<int32_t>& ids) const;
  int32_t size() const;
  int32_t bos_id() const;  // -1: none
  int32_t eos_id() const;
  std::string Text(int32_t id) const;
  int32_t Find(const std::string& piece) const;  // -1: none
  bool IsSpecial(int32_t id) const;              // control or unknown

 private:
  explicit PieceModel(std::unique_ptr<sentencepiece::SentencePieceProcessor> processor);
  const std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_PIECES_H_
