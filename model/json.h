// JSON without exceptions: parsing that returns a status, and getters that check before they touch.
//
// Every getter's error names the key, what was expected and what was found, and ends with
// `(where)`: pass the file's path. A key whose value is null counts as absent, as in Hugging Face's
// configuration files.
#ifndef ISTHMUS_MODEL_JSON_H_
#define ISTHMUS_MODEL_JSON_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace isthmus {

using Json = nlohmann::json;

// kInvalidArgument names the byte at which the text stops being JSON. Nesting deeper than 256 is
// refused.
absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view where);
// kNotFound when the file is not there.
absl::StatusOr<Json> ReadJsonFile(const std::string& path);

// Never throws: bytes that are not UTF-8 become U+FFFD. indent < 0: one line.
std::string DumpJson(const Json& value, int indent = -1);
std::string DumpJson(const nlohmann::ordered_json& value, int indent = -1);

// "an object", "a string" …, with the value itself when it is short.
std::string Describe(const Json& value);

// The member, or null when `object` is no object, has no such key, or the value is null.
const Json* FindMember(const Json& object, absl::string_view key);

// kInvalidArgument when absent or of another type. An integer that does not fit int64 is refused; a
// number with a fraction part of zero (4096.0) is an integer.
absl::StatusOr<int64_t> GetInt(const Json& object, absl::string_view key, absl::string_view where);
absl::StatusOr<double> GetDouble(const Json& object, absl::string_view key,
                                 absl::string_view where);
absl::StatusOr<bool> GetBool(const Json& object, absl::string_view key, absl::string_view where);
absl::StatusOr<std::string> GetString(const Json& object, absl::string_view key,
                                      absl::string_view where);
absl::StatusOr<const Json*> GetArray(const Json& object, absl::string_view key,
                                     absl::string_view where);
absl::StatusOr<const Json*> GetObject(const Json& object, absl::string_view key,
                                      absl::string_view where);
absl::StatusOr<std::vector<int64_t>> GetInts(const Json& object, absl::string_view key,
                                             absl::string_view where);

// The same with a value for an absent key; of another type is still an error.
absl::StatusOr<int64_t> GetIntOr(const Json& object, absl::string_view key, int64_t absent,
                                 absl::string_view where);
absl::StatusOr<double> GetDoubleOr(const Json& object, absl::string_view key, double absent,
                                   absl::string_view where);
absl::StatusOr<bool> GetBoolOr(const Json& object, absl::string_view key, bool absent,
                               absl::string_view where);
absl::StatusOr<std::string> GetStringOr(const Json& object, absl::string_view key,
                                        absl::string_view absent, absl::string_view where);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_JSON_H_
