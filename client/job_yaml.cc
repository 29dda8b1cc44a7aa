#include "client/job_yaml.h"

#include <sstream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "base/status.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace isthmus {
namespace {

constexpr int kMaxNodes = 100000;
constexpr int kMaxDepth = 64;

bool LooksLikeNumber(absl::string_view text) {
  if (text.empty() || !(absl::ascii_isdigit(text.front()) || absl::StrContains("+-.", text[0])))
    return false;
  bool digit = false;
  for (const char c : text) {
    digit |= absl::ascii_isdigit(c);
    if (!absl::ascii_isdigit(c) && !absl::StrContains("+-.eE", absl::string_view(&c, 1)))
      return false;
  }
  return digit;
}

Json PlainScalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL")
    return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (!LooksLikeNumber(text)) return text;
  int64_t integer;
  if (absl::SimpleAtoi(text, &integer)) return integer;
  uint64_t natural;
  if (absl::SimpleAtoi(text, &natural)) return natural;
  double real;
  if (absl::SimpleAtod(text, &real)) return real;
  return text;  // an address, a version
}

class Conversion {
 public:
  absl::StatusOr<Json> Convert(const YAML::Node& node, int depth) {
    if (++nodes_ > kMaxNodes)
      return InvalidArgument("YAML: expected at most ", kMaxNodes, " nodes, got more");
    if (depth > kMaxDepth)
      return InvalidArgument("YAML: expected nesting of at most ", kMaxDepth, ", got more");
    switch (node.Type()) {
      case YAML::NodeType::Scalar:
        if (node.Tag() == "!") return Json(node.Scalar());
        return PlainScalar(node.Scalar());
      case YAML::NodeType::Sequence:
        return Sequence(node, depth);
      case YAML::NodeType::Map:
        return Map(node, depth);
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
    }
    return Json(nullptr);
  }

 private:
  absl::StatusOr<Json> Sequence(const YAML::Node& node, int depth) {
    Json list = Json::array();
    for (const YAML::Node& item : node) {
      ISTHMUS_ASSIGN_OR_RETURN(Json value, Convert(item, depth + 1));
      list.push_back(std::move(value));
    }
    return list;
  }

  absl::StatusOr<Json> Map(const YAML::Node& node, int depth) {
    Json object = Json::object();
    for (const auto& member : node) {
      const std::string at = absl::StrCat("line ", member.first.Mark().line + 1);
      if (!member.first.IsScalar())
        return InvalidArgument("YAML: expected a word as key, got a list or a mapping (", at, ")");
      const std::string& key = member.first.Scalar();
      if (object.contains(key))
        return InvalidArgument(key, ": expected once, got a second time (", at, ")");
      ISTHMUS_ASSIGN_OR_RETURN(Json value, Convert(member.second, depth + 1));
      object[key] = std::move(value);
    }
    return object;
  }

  int nodes_ = 0;
};

// Sees documents go by and keeps nothing.
class Silent : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// YAML::LoadAll never ends on a stray closing bracket (it finds empty documents for ever); this
// stops at the second.
bool HasSecondDocument(const std::string& text) {
  std::istringstream input(text);
  YAML::Parser parser(input);
  Silent silent;
  return parser.HandleNextDocument(silent) && parser.HandleNextDocument(silent);
}

void Emit(const nlohmann::ordered_json& value, YAML::Emitter* out) {
  if (value.is_object()) {
    *out << YAML::BeginMap;
    for (const auto& [key, member] : value.items()) {
      *out << YAML::Key << key << YAML::Value;
      Emit(member, out);
    }
    *out << YAML::EndMap;
  } else if (value.is_array()) {
    *out << YAML::Flow << YAML::BeginSeq;
    for (const auto& item : value) Emit(item, out);
    *out << YAML::EndSeq;
  } else if (value.is_string()) {
    // Quoted when the plain form would read as something else.
    const std::string& text = *value.get_ptr<const std::string*>();
    if (!PlainScalar(text).is_string()) *out << YAML::DoubleQuoted;
    *out << text;
  } else {
    *out << DumpJson(value);
  }
}

}  // namespace

absl::StatusOr<Json> YamlToJson(absl::string_view text) {
  try {
    const std::string copy(text);
    if (HasSecondDocument(copy)) return InvalidArgument("YAML: expected one document, got more");
    return Conversion().Convert(YAML::Load(copy), 0);
  } catch (const YAML::Exception& error) {
    return InvalidArgument("YAML: expected a well-formed text, got \"", error.msg, "\" (line ",
                           error.mark.line + 1, ", column ", error.mark.column + 1, ")");
  } catch (const std::exception& error) {
    return InvalidArgument("YAML: expected a well-formed text, got \"", error.what(), "\"");
  }
}

std::string JsonToYaml(const nlohmann::ordered_json& value) {
  YAML::Emitter out;
  Emit(value, &out);
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace isthmus
