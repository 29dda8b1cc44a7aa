// Typed, bounded reading of one JSON object that somebody else wrote (config.json,
// adapter_config.json, …). Every error is kInvalidArgument, names the key and says what was
// expected and what is there. null reads as absent.
#ifndef ISTHMUS_MODEL_CONFIG_FIELDS_H_
#define ISTHMUS_MODEL_CONFIG_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace isthmus {

class ConfigFields {
 public:
  // `where` goes into every message: "config.json".
  static absl::StatusOr<ConfigFields> Parse(absl::string_view text, absl::string_view where);

  bool Has(absl::string_view key) const;  // there and not null

  // Without a default the key must be there.
  absl::StatusOr<int64_t> Int(absl::string_view key, int64_t low, int64_t high,
                              std::optional<int64_t> otherwise = std::nullopt) const;
  // Finite, low <= value <= high.
  absl::StatusOr<double> Number(absl::string_view key, double low, double high,
                                std::optional<double> otherwise = std::nullopt) const;
  absl::StatusOr<bool> Flag(absl::string_view key, bool otherwise) const;
  absl::StatusOr<std::string> Text(absl::string_view key,
                                   std::optional<std::string> otherwise = std::nullopt) const;
  // One integer, a list of integers, or nothing.
  absl::StatusOr<std::vector<int64_t>> Ints(absl::string_view key) const;
  // A list of strings.
  absl::StatusOr<std::vector<std::string>> Texts(absl::string_view key) const;
  // Empty when the key is absent.
  absl::StatusOr<std::optional<ConfigFields>> Object(absl::string_view key) const;

  bool IsText(absl::string_view key) const;

  // Refuses each of `keys` that is there with a value that asks for something: not null, false, 0,
  // "", [] or {}.
  absl::Status RefuseFeatures(std::initializer_list<absl::string_view> keys) const;
  // "KEY: expected EXPECTED, got VALUE (where)".
  absl::Status Expected(absl::string_view key, absl::string_view expected) const;

  const std::string& where() const { return where_; }
  const nlohmann::json& json() const { return object_; }

 private:
  ConfigFields(nlohmann::json object, std::string where)
      : object_(std::move(object)), where_(std::move(where)) {}
  const nlohmann::json* Find(absl::string_view key) const;

  nlohmann::json object_;
  std::string where_;
};

// A JSON value in a message: one line, at most 60 bytes.
std::string Excerpt(const nlohmann::json& value);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_CONFIG_FIELDS_H_
