// The text form of codecs (docs/wire_format.md):
//   spec := part ('+' part)*;  part := name ['(' arg (',' arg)* ')'];  arg := value | key '='
//   value;  name := [a-z][a-z0-9_-]*
// Spaces are ignored. A bare value is a flag word where the codec has one of that name, else the
// next positional argument.
#ifndef ISTHMUS_COMPRESSION_SPEC_H_
#define ISTHMUS_COMPRESSION_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace isthmus {

struct SpecArgument {
  std::string key;  // "" for a bare value
  std::string value;
};

struct SpecPart {
  std::string name;
  std::vector<SpecArgument> arguments;
};

// At most 1024 characters and 64 arguments; kInvalidArgument says what was expected and at which
// character.
absl::StatusOr<std::vector<SpecPart>> ParseSpec(absl::string_view text);
// `text` without its spaces.
std::string WithoutSpaces(absl::string_view text);

// The arguments of one part, bound to the codec's documented keys (in positional order, then those
// that must be named) and flag words.
class SpecArguments {
 public:
  static absl::StatusOr<SpecArguments> Bind(const SpecPart& part, std::vector<std::string> keys,
                                            std::vector<std::string> flags = {},
                                            std::vector<std::string> only_keyed = {});

  bool Has(absl::string_view key) const;
  bool Flag(absl::string_view flag) const;  // was the word given?
  // The integer under `key` in [low, high]; `otherwise` when it was not given.
  absl::StatusOr<int64_t> Int(absl::string_view key, int64_t low, int64_t high,
                              int64_t otherwise) const;
  absl::StatusOr<int64_t> RequiredInt(absl::string_view key, int64_t low, int64_t high) const;
  // The decimal number under `key` in [low, high]; `otherwise` when it was not given.
  absl::StatusOr<double> Number(absl::string_view key, double low, double high,
                                double otherwise) const;
  std::string Word(absl::string_view key, absl::string_view otherwise) const;
  // The index in `choices` of the word under `key`.
  absl::StatusOr<int> Choice(absl::string_view key, const std::vector<std::string>& choices,
                             int otherwise) const;

 private:
  const std::string* Find(absl::string_view key) const;

  std::string name_;
  std::vector<SpecArgument> values_;  // keyed
  std::vector<std::string> flags_;    // given
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SPEC_H_
