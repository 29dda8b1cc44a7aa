#include "model/config_fields.h"

#include <cmath>

#include "base/status.h"

namespace isthmus {

std::string Excerpt(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

absl::StatusOr<ConfigFields> ConfigFields::Parse(absl::string_view text, absl::string_view where) {
  nlohmann::json json =
      nlohmann::json::parse(text.data(), text.data() + text.size(), nullptr, /*exceptions=*/false);
  if (json.is_discarded()) {
    return InvalidArgument("JSON: expected an object, got text that does not parse (", where, ")");
  }
  if (!json.is_object()) {
    return InvalidArgument("JSON: expected an object, got ", Excerpt(json), " (", where, ")");
  }
  return ConfigFields(std::move(json), std::string(where));
}

const nlohmann::json* ConfigFields::Find(absl::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool ConfigFields::Has(absl::string_view key) const { return Find(key) != nullptr; }

bool ConfigFields::IsText(absl::string_view key) const {
  const nlohmann::json* value = Find(key);
  return value != nullptr && value->is_string();
}

absl::Status ConfigFields::Expected(absl::string_view key, absl::string_view expected) const {
  const nlohmann::json* value = Find(key);
  return InvalidArgument(key, ": expected ", expected, ", got ",
                         value == nullptr ? "nothing" : Excerpt(*value), " (", where_, ")");
}

absl::StatusOr<int64_t> ConfigFields::Int(absl::string_view key, int64_t low, int64_t high,
                                          std::optional<int64_t> otherwise) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr && otherwise.has_value()) return *otherwise;
  const auto refuse = [&] {
    return Expected(key, absl::StrCat("an integer from ", low, " to ", high));
  };
  if (value == nullptr || !value->is_number_integer()) return refuse();
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return refuse();
  }
  const int64_t number = value->get<int64_t>();
  if (number < low || number > high) return refuse();
  return number;
}

absl::StatusOr<double> ConfigFields::Number(absl::string_view key, double low, double high,
                                            std::optional<double> otherwise) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr && otherwise.has_value()) return *otherwise;
  const auto refuse = [&] {
    return Expected(key, absl::StrCat("a number from ", low, " to ", high));
  };
  if (value == nullptr || !value->is_number()) return refuse();
  const double number = value->get<double>();
  if (!(number >= low && number <= high)) return refuse();
  return number;
}

absl::StatusOr<bool> ConfigFields::Flag(absl::string_view key, bool otherwise) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) return Expected(key, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> ConfigFields::Text(absl::string_view key,
                                               std::optional<std::string> otherwise) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr && otherwise.has_value()) return *otherwise;
  if (value == nullptr || !value->is_string()) return Expected(key, "a string");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<int64_t>> ConfigFields::Ints(absl::string_view key) const {
  const nlohmann::json* value = Find(key);
  std::vector<int64_t> numbers;
  if (value == nullptr) return numbers;
  const auto append = [&](const nlohmann::json& number) {
    if (!number.is_number_integer()) return false;
    if (number.is_number_unsigned() && number.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      return false;
    }
    numbers.push_back(number.get<int64_t>());
    return true;
  };
  bool good = true;
  if (value->is_array()) {
    for (const nlohmann::json& number : *value) good = good && append(number);
  } else {
    good = append(*value);
  }
  if (!good) return Expected(key, "an integer or a list of integers");
  return numbers;
}

absl::StatusOr<std::vector<std::string>> ConfigFields::Texts(absl::string_view key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || !value->is_array()) return Expected(key, "a list of strings");
  std::vector<std::string> texts;
  for (const nlohmann::json& text : *value) {
    if (!text.is_string()) return Expected(key, "a list of strings");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

absl::StatusOr<std::optional<ConfigFields>> ConfigFields::Object(absl::string_view key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::optional<ConfigFields>();
  if (!value->is_object()) return Expected(key, "an object");
  return std::optional<ConfigFields>(ConfigFields(*value, absl::StrCat(where_, ", ", key)));
}

absl::Status ConfigFields::RefuseFeatures(std::initializer_list<absl::string_view> keys) const {
  for (absl::string_view key : keys) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) continue;
    const bool asks_for_nothing =
        (value->is_boolean() && !value->get<bool>()) ||
        (value->is_number() && value->get<double>() == 0.0) ||
        (value->is_string() && value->get_ref<const std::string&>().empty()) ||
        (value->is_structured() && value->empty());
    if (!asks_for_nothing) return Expected(key, "nothing (this feature is not supported)");
  }
  return absl::OkStatus();
}

}  // namespace isthmus
