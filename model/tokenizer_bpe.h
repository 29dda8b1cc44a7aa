// Byte pair encoding over a word (Sennrich et al., 2016), with the options of tokenizer.json: byte
// fallback, fused unknowns, and words that are tokens as they are.
#ifndef ISTHMUS_MODEL_TOKENIZER_BPE_H_
#define ISTHMUS_MODEL_TOKENIZER_BPE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json.h"

namespace isthmus {

// Immutable; safe to use from several threads.
class Bpe {
 public:
  // `model` is the member "model" of tokenizer.json. kInvalidArgument names what is damaged or not
  // supported.
  static absl::StatusOr<Bpe> Parse(const Json& model, absl::string_view where);

  // Appends the ids of one word of valid UTF-8. n log n in its length: without a pre-tokenizer a
  // word is a whole document.
  void Encode(absl::string_view word, std::vector<int32_t>* ids) const;

  int32_t TokenId(absl::string_view token) const;  // -1: none
  const absl::flat_hash_map<std::string, int32_t>& vocab() const { return vocab_; }

 private:
  struct Merge {
    uint32_t rank = 0;
    int32_t id = 0;
  };

  Bpe() = default;
  absl::Status ReadVocab(const Json& model, absl::string_view where);
  absl::Status ReadMerges(const Json& model, absl::string_view where);
  absl::Status ReadOptions(const Json& model, absl::string_view where);
  std::vector<int32_t> Symbols(absl::string_view word) const;
  bool AppendBytes(absl::string_view character, std::vector<int32_t>* symbols) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;
  void MergeAll(std::vector<int32_t>* symbols) const;

  absl::flat_hash_map<std::string, int32_t> vocab_;
  absl::flat_hash_map<uint64_t, Merge> merges_;        // (left id << 32 | right id)
  absl::flat_hash_map<char32_t, int32_t> characters_;  // tokens of one code point
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  bool byte_fallback_ = false;
  int32_t byte_ids_[256];  // of <0x00> .. <0xFF>, -1: none
};

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_BPE_H_
