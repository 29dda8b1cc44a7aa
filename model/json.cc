#include "model/json.h"

#include <cmath>
#include <limits>

#include "base/file.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr int kMaxDepth = 256;

// Reads without keeping anything: finds where the text is wrong, which the parser keeps to itself
// when exceptions are off.
class FormCheck : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool start_array(size_t) override { return Enter(); }
  bool end_array() override { return Leave(); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    position_ = position;
    return false;
  }
  bool too_deep() const { return too_deep_; }
  size_t position() const { return position_; }

 private:
  bool Enter() {
    too_deep_ = ++depth_ > kMaxDepth;
    return !too_deep_;
  }
  bool Leave() {
    --depth_;
    return true;
  }
  int depth_ = 0;
  bool too_deep_ = false;
  size_t position_ = 0;
};

absl::Status Unexpected(absl::string_view key, absl::string_view expected, const Json* value,
                        absl::string_view where) {
  return InvalidArgument(key, ": expected ", expected, ", got ",
                         value == nullptr ? "nothing" : Describe(*value), " (", where, ")");
}

absl::StatusOr<int64_t> AsInt(const Json& value, absl::string_view key, absl::string_view where) {
  if (value.is_number_unsigned()) {
    const uint64_t number = *value.get_ptr<const Json::number_unsigned_t*>();
    if (number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return static_cast<int64_t>(number);
  } else if (value.is_number_integer()) {
    return *value.get_ptr<const Json::number_integer_t*>();
  } else if (value.is_number_float()) {
    const double number = *value.get_ptr<const Json::number_float_t*>();
    if (number == std::trunc(number) && std::abs(number) < 0x1p53)
      return static_cast<int64_t>(number);
  }
  return Unexpected(key, "an integer", &value, where);
}

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view where) {
  FormCheck check;
  if (!Json::sax_parse(text.begin(), text.end(), &check)) {
    if (check.too_deep())
      return InvalidArgument("JSON: expected nesting of at most ", kMaxDepth, ", got more (", where,
                             ")");
    return InvalidArgument("JSON: expected a well-formed value, got an error at byte ",
                           check.position(), " of ", text.size(), " (", where, ")");
  }
  Json value = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    return InvalidArgument("JSON: expected a well-formed value, got a damaged one (", where, ")");
  return value;
}

absl::StatusOr<Json> ReadJsonFile(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseJson(text, path);
}

std::string DumpJson(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string DumpJson(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string Describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = DumpJson(value);
  return text.size() <= 60 ? text : value.is_string() ? "a long string" : "a long number";
}

const Json* FindMember(const Json& object, absl::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<int64_t> GetInt(const Json& object, absl::string_view key, absl::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr) return Unexpected(key, "an integer", value, where);
  return AsInt(*value, key, where);
}

absl::StatusOr<double> GetDouble(const Json& object, absl::string_view key,
                                 absl::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr || !value->is_number()) return Unexpected(key, "a number", value, where);
  return value->get<double>();
}

absl::StatusOr<bool> GetBool(const Json& object, absl::string_view key, absl::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr || !value->is_boolean())
    return Unexpected(key, "true or false", value, where);
  return value->get<bool>();
}

absl::StatusOr<std::string> GetString(const Json& object, absl::string_view key,
                                      absl::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr || !value->is_string()) return Unexpected(key, "a string", value, where);
  return *value->get_ptr<const std::string*>();
}

absl::StatusOr<const Json*> GetArray(const Json& object, absl::string_view key,
                                     absl::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr || !value->is_array()) return Unexpected(key, "a list", value, where);
  return value;
}

absl::StatusOr<const Json*> GetObject(const Json& object, absl::string_view key,
                                      absl::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr || !value->is_object()) return Unexpected(key, "an object", value, where);
  return value;
}

absl::StatusOr<std::vector<int64_t>> GetInts(const Json& object, absl::string_view key,
                                             absl::string_view where) {
  ISTHMUS_ASSIGN_OR_RETURN(const Json* list, GetArray(object, key, where));
  std::vector<int64_t> numbers;
  numbers.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t number,
                             AsInt((*list)[i], absl::StrCat(key, "[", i, "]"), where));
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<int64_t> GetIntOr(const Json& object, absl::string_view key, int64_t absent,
                                 absl::string_view where) {
  if (FindMember(object, key) == nullptr) return absent;
  return GetInt(object, key, where);
}

absl::StatusOr<double> GetDoubleOr(const Json& object, absl::string_view key, double absent,
                                   absl::string_view where) {
  if (FindMember(object, key) == nullptr) return absent;
  return GetDouble(object, key, where);
}

absl::StatusOr<bool> GetBoolOr(const Json& object, absl::string_view key, bool absent,
                               absl::string_view where) {
  if (FindMember(object, key) == nullptr) return absent;
  return GetBool(object, key, where);
}

absl::StatusOr<std::string> GetStringOr(const Json& object, absl::string_view key,
                                        absl::string_view absent, absl::string_view where) {
  if (FindMember(object, key) == nullptr) return std::string(absent);
  return GetString(object, key, where);
}

}  // namespace isthmus
