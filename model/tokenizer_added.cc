#include "model/tokenizer_added.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

bool IsWholeWord(absl::string_view text, size_t begin, size_t end) {
  return (begin == 0 || !IsWord(CodePointBefore(text, begin))) &&
         (end == text.size() || !IsWord(CodePointAt(text, end)));
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : tokens)
    if (!token.special && !token.content.empty())
      by_first_byte_[static_cast<unsigned char>(token.content[0])].push_back(token);
  for (std::vector<AddedToken>& list : by_first_byte_)
    std::stable_sort(list.begin(), list.end(), [](const AddedToken& a, const AddedToken& b) {
      return a.content.size() > b.content.size();
    });
}

const AddedToken* AddedTokens::LongestAt(absl::string_view text, size_t at) const {
  for (const AddedToken& token : by_first_byte_[static_cast<unsigned char>(text[at])])
    if (absl::StartsWith(text.substr(at), token.content)) return &token;
  return nullptr;
}

std::vector<Segment> AddedTokens::Split(absl::string_view text) const {
  std::vector<Segment> segments;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = LongestAt(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->content.size();
    at = end;
    if (token->single_word && !IsWholeWord(text, begin, end)) continue;
    if (token->lstrip)
      begin = done + StripSpace(text.substr(done, begin - done), false, true).size();
    if (token->rstrip) end = text.size() - StripSpace(text.substr(end), true, false).size();
    if (begin > done) segments.push_back({done, begin, -1});
    segments.push_back({begin, end, token->id});
    done = at = end;
  }
  if (done < text.size()) segments.push_back({done, text.size(), -1});
  return segments;
}

}  // namespace isthmus
