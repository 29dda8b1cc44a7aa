#include "model/tokenizer_bpe.h"

#include <algorithm>
#include <limits>
#include <queue>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// "a b", or ["a", "b"] in newer files (which allows spaces inside the parts).
bool SplitMerge(const Json& merge, absl::string_view* left, absl::string_view* right) {
  if (merge.is_string()) {
    const absl::string_view text = *merge.get_ptr<const std::string*>();
    const size_t space = text.find(' ');
    if (space == absl::string_view::npos) return false;
    *left = text.substr(0, space);
    *right = text.substr(space + 1);
    return true;
  }
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string())
    return false;
  *left = *merge[0].get_ptr<const std::string*>();
  *right = *merge[1].get_ptr<const std::string*>();
  return true;
}

// A symbol of the word in a doubly linked list over its positions; -1 as id: merged into its left
// neighbour.
struct Link {
  int32_t id;
  int32_t previous;
  int32_t next;
};

struct Candidate {
  uint32_t rank;
  int32_t position;
  uint64_t pair;  // what stood there when it was found: stale otherwise
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

absl::StatusOr<Bpe> Bpe::Parse(const Json& model, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string type, GetStringOr(model, "type", "BPE", where));
  if (type != "BPE")
    return InvalidArgument("model.type: expected BPE, got ", type, " (", where, ")");
  Bpe bpe;
  ISTHMUS_RETURN_IF_ERROR(bpe.ReadVocab(model, where));
  ISTHMUS_RETURN_IF_ERROR(bpe.ReadMerges(model, where));
  ISTHMUS_RETURN_IF_ERROR(bpe.ReadOptions(model, where));
  return bpe;
}

absl::Status Bpe::ReadVocab(const Json& model, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const Json* vocab, GetObject(model, "vocab", where));
  vocab_.reserve(vocab->size());
  for (const auto& [token, id] : vocab->items()) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() >= static_cast<uint64_t>(std::numeric_limits<int32_t>::max()))
      return InvalidArgument("model.vocab: expected ids from 0 to 2^31-2, got ", Describe(id), " (",
                             where, ")");
    vocab_[token] = static_cast<int32_t>(id.get<uint64_t>());
    if (!token.empty() && Utf8Length(token, 0) == token.size())
      characters_[CodePointAt(token, 0)] = vocab_[token];
  }
  for (int byte = 0; byte < 256; ++byte)
    byte_ids_[byte] = TokenId(absl::StrFormat("<0x%02X>", byte));
  return absl::OkStatus();
}

absl::Status Bpe::ReadMerges(const Json& model, absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const Json* merges, GetArray(model, "merges", where));
  merges_.reserve(merges->size());
  for (uint32_t rank = 0; rank < merges->size(); ++rank) {
    absl::string_view left, right;
    if (!SplitMerge((*merges)[rank], &left, &right))
      return InvalidArgument("model.merges[", rank, "]: expected two tokens, got ",
                             Describe((*merges)[rank]), " (", where, ")");
    const int32_t left_id = TokenId(left), right_id = TokenId(right);
    const int32_t id = TokenId(absl::StrCat(left, right));
    if (left_id < 0 || right_id < 0 || id < 0)
      return InvalidArgument("model.merges[", rank, "]: expected tokens of the vocabulary, got ",
                             Describe((*merges)[rank]), " (", where, ")");
    merges_.insert_or_assign(PairKey(left_id, right_id), Merge{rank, id});
  }
  return absl::OkStatus();
}

absl::Status Bpe::ReadOptions(const Json& model, absl::string_view where) {
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string text, GetStringOr(model, affix, "", where));
    if (!text.empty())
      return InvalidArgument("model.", affix, ": expected none, got \"", text, "\" (", where, ")");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const double dropout, GetDoubleOr(model, "dropout", 0, where));
  if (dropout != 0)
    return InvalidArgument("model.dropout: expected none, got ", dropout, " (", where, ")");
  ISTHMUS_ASSIGN_OR_RETURN(fuse_unknown_, GetBoolOr(model, "fuse_unk", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(byte_fallback_, GetBoolOr(model, "byte_fallback", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(ignore_merges_, GetBoolOr(model, "ignore_merges", false, where));
  ISTHMUS_ASSIGN_OR_RETURN(const std::string unknown, GetStringOr(model, "unk_token", "", where));
  unknown_ = TokenId(unknown);
  if (!unknown.empty() && unknown_ < 0)
    return InvalidArgument("model.unk_token: expected a token of the vocabulary, got \"", unknown,
                           "\" (", where, ")");
  return absl::OkStatus();
}

int32_t Bpe::TokenId(absl::string_view token) const {
  const auto found = vocab_.find(token);
  return found == vocab_.end() ? -1 : found->second;
}

void Bpe::Encode(absl::string_view word, std::vector<int32_t>* ids) const {
  if (ignore_merges_) {
    if (const int32_t id = TokenId(word); id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  std::vector<int32_t> symbols = Symbols(word);
  MergeAll(&symbols);
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

// One symbol per character; characters outside the vocabulary become their bytes, else the unknown
// token, else nothing.
std::vector<int32_t> Bpe::Symbols(absl::string_view word) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  bool after_unknown = false;
  for (size_t at = 0; at < word.size();) {
    const size_t length = Utf8Length(word, at);
    const auto found = characters_.find(CodePointAt(word, at));
    if (found != characters_.end()) {
      symbols.push_back(found->second);
      after_unknown = false;
    } else if (byte_fallback_ && AppendBytes(word.substr(at, length), &symbols)) {
      after_unknown = false;
    } else if (unknown_ >= 0) {
      if (!(fuse_unknown_ && after_unknown)) symbols.push_back(unknown_);
      after_unknown = true;
    }
    at += length;
  }
  return symbols;
}

// All bytes of the character or none.
bool Bpe::AppendBytes(absl::string_view character, std::vector<int32_t>* symbols) const {
  for (const char c : character)
    if (byte_ids_[static_cast<unsigned char>(c)] < 0) return false;
  for (const char c : character) symbols->push_back(byte_ids_[static_cast<unsigned char>(c)]);
  return true;
}

const Bpe::Merge* Bpe::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

// The lowest rank first, the leftmost among equals: a heap of candidates over a linked list.
void Bpe::MergeAll(std::vector<int32_t>* symbols) const {
  const auto n = static_cast<int32_t>(symbols->size());
  std::vector<Link> links(symbols->size());
  for (int32_t i = 0; i < n; ++i) links[i] = {(*symbols)[i], i - 1, i + 1 < n ? i + 1 : -1};

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](int32_t position) {
    if (position < 0 || links[position].next < 0) return;
    const int32_t left = links[position].id, right = links[links[position].next].id;
    if (const Merge* merge = FindMerge(left, right))
      queue.push({merge->rank, position, PairKey(left, right)});
  };
  for (int32_t i = 0; i < n; ++i) offer(i);

  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Link& left = links[best.position];
    if (left.id < 0 || left.next < 0) continue;
    Link& right = links[left.next];
    if (PairKey(left.id, right.id) != best.pair) continue;
    left.id = FindMerge(left.id, right.id)->id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) links[left.next].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  symbols->clear();
  for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = links[i].next) symbols->push_back(links[i].id);
}

}  // namespace isthmus
