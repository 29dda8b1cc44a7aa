// Regular expressions of tokenizer.json, by PCRE2 (they need look-ahead and Unicode properties).
//
// The files are written for Oniguruma with Ruby syntax; what differs and occurs is carried over: ^
// and $ match at every line, and \s is Unicode White_Space (PCRE2 would add U+180E).
#ifndef ISTHMUS_MODEL_TOKENIZER_REGEX_H_
#define ISTHMUS_MODEL_TOKENIZER_REGEX_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct pcre2_real_code_8;

namespace isthmus {

// A stretch of a text; stretches cover the text in order.
struct Stretch {
  size_t begin = 0;
  size_t end = 0;
  bool is_match = false;
};

// Immutable; safe to use from several threads.
class Regex {
 public:
  // kInvalidArgument with PCRE2's message and the offset.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern);
  // A pattern that stands for its own characters.
  static absl::StatusOr<Regex> Literal(absl::string_view text);

  // Matches and what is between them; empty matches are passed over. `text` is valid UTF-8.
  // kResourceExhausted when a match takes more than PCRE2's limit of ten million steps.
  absl::StatusOr<std::vector<Stretch>> Find(absl::string_view text) const;
  absl::StatusOr<std::string> Replace(absl::string_view text, absl::string_view content) const;

 private:
  explicit Regex(std::shared_ptr<const pcre2_real_code_8> code) : code_(std::move(code)) {}
  std::shared_ptr<const pcre2_real_code_8> code_;
};

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_TOKENIZER_REGEX_H_
