// YAML text as a JSON tree: the one place that meets yaml-cpp and its exceptions.
#ifndef ISTHMUS_CLIENT_JOB_YAML_H_
#define ISTHMUS_CLIENT_JOB_YAML_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json.h"

namespace isthmus {

// Plain scalars are typed as the YAML 1.2 core schema does (null, booleans, decimal integers,
// decimal floats, else text); quoted ones are text. kInvalidArgument names line and column; a
// repeated key, and a text whose aliases unfold to more than 100,000 nodes, are refused.
absl::StatusOr<Json> YamlToJson(absl::string_view text);

// The other way: block style, keys in the order given.
std::string JsonToYaml(const nlohmann::ordered_json& value);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_JOB_YAML_H_
