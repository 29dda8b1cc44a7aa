#include "compression/spec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr size_t kMaxSpecChars = 1024;
constexpr size_t kMaxArguments = 64;

bool IsNameStart(char c) { return c >= 'a' && c <= 'z'; }
bool IsNameChar(char c) { return IsNameStart(c) || (c >= '0' && c <= '9') || c == '_' || c == '-'; }
bool IsValueChar(char c) { return IsNameChar(c) || (c >= 'A' && c <= 'Z') || c == '.'; }

// Reads the grammar from left to right; every failure names the character it stopped at.
class SpecReader {
 public:
  explicit SpecReader(absl::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<SpecPart>> Parts() {
    std::vector<SpecPart> parts;
    do {
      ISTHMUS_ASSIGN_OR_RETURN(SpecPart part, Part());
      parts.push_back(std::move(part));
    } while (Accept('+'));
    if (at_ != text_.size()) return Expected("'+', '(' or the end");
    return parts;
  }

 private:
  absl::StatusOr<SpecPart> Part() {
    SpecPart part;
    if (at_ == text_.size() || !IsNameStart(text_[at_])) return Expected("the name of a codec");
    part.name = Take(IsNameChar);
    if (!Accept('(')) return part;
    do {
      if (part.arguments.size() == kMaxArguments) return Expected("at most 64 arguments");
      ISTHMUS_ASSIGN_OR_RETURN(SpecArgument argument, Argument());
      part.arguments.push_back(std::move(argument));
    } while (Accept(','));
    if (!Accept(')')) return Expected("',' or ')'");
    return part;
  }

  absl::StatusOr<SpecArgument> Argument() {
    SpecArgument argument;
    argument.value = Take(IsValueChar);
    if (argument.value.empty()) return Expected("an argument");
    if (!Accept('=')) return argument;
    argument.key = std::move(argument.value);
    argument.value = Take(IsValueChar);
    if (argument.value.empty()) return Expected(absl::StrCat("a value after ", argument.key, "="));
    return argument;
  }

  bool Accept(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string Take(bool (*belongs)(char)) {
    const size_t begin = at_;
    while (at_ < text_.size() && belongs(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  absl::Status Expected(absl::string_view what) const {
    const std::string got =
        at_ == text_.size() ? "the end" : absl::StrCat("'", text_.substr(at_, 1), "'");
    return InvalidArgument("codec ", text_, ": expected ", what, ", got ", got, " (character ",
                           at_ + 1, ")");
  }

  absl::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string WithoutSpaces(absl::string_view text) {
  std::string out;
  for (char c : text)
    if (c != ' ' && c != '\t') out.push_back(c);
  return out;
}

absl::StatusOr<std::vector<SpecPart>> ParseSpec(absl::string_view text) {
  if (text.size() > kMaxSpecChars) {
    return InvalidArgument("codec: expected at most ", kMaxSpecChars, " characters, got ",
                           text.size());
  }
  const std::string dense = WithoutSpaces(text);
  return SpecReader(dense).Parts();
}

absl::StatusOr<SpecArguments> SpecArguments::Bind(const SpecPart& part,
                                                  std::vector<std::string> keys,
                                                  std::vector<std::string> flags,
                                                  std::vector<std::string> only_keyed) {
  SpecArguments bound;
  bound.name_ = part.name;
  const size_t positional = keys.size();
  keys.insert(keys.end(), only_keyed.begin(), only_keyed.end());
  size_t next_positional = 0;
  for (const SpecArgument& argument : part.arguments) {
    if (argument.key.empty() &&
        std::find(flags.begin(), flags.end(), argument.value) != flags.end()) {
      if (bound.Flag(argument.value)) {
        return InvalidArgument("codec ", part.name, ": expected ", argument.value,
                               " once, got it twice");
      }
      bound.flags_.push_back(argument.value);
      continue;
    }
    std::string key = argument.key;
    if (key.empty() && next_positional < positional) key = keys[next_positional++];
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      std::vector<std::string> known = keys;
      known.insert(known.end(), flags.begin(), flags.end());
      return InvalidArgument(
          "codec ", part.name, ": expected ",
          known.empty() ? "no argument" : "the arguments " + absl::StrJoin(known, ", "), ", got ",
          argument.key.empty() ? argument.value : argument.key);
    }
    if (bound.Has(key))
      return InvalidArgument("codec ", part.name, ": expected ", key, " once, got it twice");
    bound.values_.push_back({std::move(key), argument.value});
  }
  return bound;
}

const std::string* SpecArguments::Find(absl::string_view key) const {
  for (const SpecArgument& argument : values_)
    if (argument.key == key) return &argument.value;
  return nullptr;
}

bool SpecArguments::Has(absl::string_view key) const { return Find(key) != nullptr; }

bool SpecArguments::Flag(absl::string_view flag) const {
  return std::find(flags_.begin(), flags_.end(), flag) != flags_.end();
}

absl::StatusOr<int64_t> SpecArguments::Int(absl::string_view key, int64_t low, int64_t high,
                                           int64_t otherwise) const {
  return Has(key) ? RequiredInt(key, low, high) : otherwise;
}

absl::StatusOr<int64_t> SpecArguments::RequiredInt(absl::string_view key, int64_t low,
                                                   int64_t high) const {
  const std::string* value = Find(key);
  int64_t number = 0;
  if (value == nullptr || !absl::SimpleAtoi(*value, &number) || number < low || number > high) {
    return InvalidArgument("codec ", name_, ": ", key, ": expected a whole number from ", low,
                           " to ", high, ", got ", value == nullptr ? "nothing" : *value);
  }
  return number;
}

absl::StatusOr<double> SpecArguments::Number(absl::string_view key, double low, double high,
                                             double otherwise) const {
  const std::string* value = Find(key);
  if (value == nullptr) return otherwise;
  double number = 0;
  if (!absl::SimpleAtod(*value, &number) || !(number >= low && number <= high)) {
    return InvalidArgument("codec ", name_, ": ", key, ": expected a number from ", low, " to ",
                           high, ", got ", *value);
  }
  return number;
}

std::string SpecArguments::Word(absl::string_view key, absl::string_view otherwise) const {
  return std::string(Has(key) ? absl::string_view(*Find(key)) : otherwise);
}

absl::StatusOr<int> SpecArguments::Choice(absl::string_view key,
                                          const std::vector<std::string>& choices,
                                          int otherwise) const {
  const std::string* value = Find(key);
  if (value == nullptr) return otherwise;
  const auto found = std::find(choices.begin(), choices.end(), *value);
  if (found == choices.end()) {
    return InvalidArgument("codec ", name_, ": ", key, ": expected one of ",
                           absl::StrJoin(choices, ", "), ", got ", *value);
  }
  return static_cast<int>(found - choices.begin());
}

}  // namespace isthmus
