// Added tokens: found in the text before the model sees it, the longest of those that begin at a
// place.
#ifndef ISTHMUS_MODEL_TOKENIZER_ADDED_H_
#define ISTHMUS_MODEL_TOKENIZER_ADDED_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/tokenizer_config.h"

namespace isthmus {

// A part of a text: an added token (id >= 0), or text between two of them (id -1).
struct Segment {
  size_t begin = 0;
  size_t end = 0;
  int32_t id = -1;
};

// Immutable; safe to use from several threads.
class AddedTokens {
 public:
  AddedTokens() = default;
  // Special tokens are left out: they are not parsed from text.
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  // Segments that cover the valid UTF-8 text; none for an empty one.
  std::vector<Segment> Split(absl::string_view text) const;

 private:
  const AddedToken* LongestAt(absl::string_view text, size_t at) const;

  std::vector<AddedToken> by_first_byte_[256];  // longest first
};

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_ADDED_H_
