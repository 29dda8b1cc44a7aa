#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer_regex.h"

#include <pcre2.h>

#include "base/status.h"

namespace isthmus {
namespace {

constexpr uint32_t kMaxHeapKib = 1 << 16;  // 64 MiB for one match
constexpr char kSpaceClass[] = R"(\p{Z}\t\n\x0B\f\r\x85)";

// Spells \s and \S out. Inside a class \S stays as it is: PCRE2's differs from it in U+180E only.
std::string SpellOutSpace(absl::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        absl::StrAppend(&out, in_class ? "" : "[", kSpaceClass, in_class ? "" : "]");
      } else if (escaped == 'S' && !in_class) {
        absl::StrAppend(&out, "[^", kSpaceClass, "]");
      } else {
        out.push_back(c);
        out.push_back(escaped);
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out.push_back(c);
  }
  return out;
}

absl::StatusOr<std::shared_ptr<const pcre2_code>> CompileWith(absl::string_view pattern,
                                                              uint32_t options) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | options, &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[200];
    pcre2_get_error_message(error, message, sizeof message);
    return InvalidArgument("pattern: expected a regular expression, got \"",
                           reinterpret_cast<const char*>(message), "\" at offset ", offset);
  }
  return std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); });
}

struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

}  // namespace

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern) {
  ISTHMUS_ASSIGN_OR_RETURN(
      auto code,
      CompileWith(SpellOutSpace(pattern), PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C));
  return Regex(std::move(code));
}

absl::StatusOr<Regex> Regex::Literal(absl::string_view text) {
  ISTHMUS_ASSIGN_OR_RETURN(auto code, CompileWith(text, PCRE2_LITERAL));
  return Regex(std::move(code));
}

absl::StatusOr<std::vector<Stretch>> Regex::Find(absl::string_view text) const {
  const std::unique_ptr<pcre2_match_data, FreeMatch> data(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeMatch> context(
      pcre2_match_context_create(nullptr));
  pcre2_set_heap_limit(context.get(), kMaxHeapKib);
  std::vector<Stretch> found;
  size_t done = 0;  // end of the last stretch
  uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  for (size_t at = 0; at < text.size();) {
    const int result = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                   text.size(), at, options, data.get(), context.get());
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0)
      return ResourceExhausted("pattern: expected a match within its limits, got PCRE2 error ",
                               result, " at byte ", at);
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    // \K can put the start behind the end or before what has been given out.
    if (ends[0] >= ends[1] || ends[0] < done)
      return InvalidArgument("pattern: expected matches in order, got one that runs back");
    if (ends[0] > done) found.push_back({done, ends[0], false});
    found.push_back({ends[0], ends[1], true});
    done = at = ends[1];
  }
  if (done < text.size()) found.push_back({done, text.size(), false});
  return found;
}

absl::StatusOr<std::string> Regex::Replace(absl::string_view text,
                                           absl::string_view content) const {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Stretch> stretches, Find(text));
  std::string out;
  for (const Stretch& s : stretches)
    absl::StrAppend(&out, s.is_match ? content : text.substr(s.begin, s.end - s.begin));
  return out;
}

}  // namespace isthmus
