// UTF-8 text: validity, code points, properties and the normal forms, by ICU.
#ifndef ISTHMUS_MODEL_UNICODE_H_
#define ISTHMUS_MODEL_UNICODE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace isthmus {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// The byte offset of the first malformed sequence (surrogates and overlong forms included), or
// text.size() when there is none.
size_t FirstBadUtf8(absl::string_view text);
// kInvalidArgument naming the offset.
absl::Status CheckUtf8(absl::string_view text);

// Length in bytes of the sequence that begins at text[at]; the text is valid UTF-8.
size_t Utf8Length(absl::string_view text, size_t at);
// The code point at text[at]; the text is valid UTF-8.
char32_t CodePointAt(absl::string_view text, size_t at);
// The code point that ends just before text[end]; end > 0, the text is valid UTF-8.
char32_t CodePointBefore(absl::string_view text, size_t end);
void AppendUtf8(char32_t code_point, std::string* out);
// Every byte that belongs to no well-formed sequence becomes U+FFFD.
std::string ReplaceBadUtf8(absl::string_view bytes);

bool IsSpace(char32_t code_point);   // Unicode White_Space
bool IsNumber(char32_t code_point);  // general category N
bool IsMark(char32_t code_point);    // general category M
bool IsWord(char32_t code_point);    // letters, marks, numbers, connector punctuation

std::string Normalize(NormalForm form, absl::string_view text);
// Code point by code point, without regard to the neighbours.
std::string LowerCase(absl::string_view text);
std::string StripMarks(absl::string_view text);
absl::string_view StripSpace(absl::string_view text, bool left, bool right);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_UNICODE_H_
