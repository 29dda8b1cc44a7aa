#include "cli/config_file.h"

#include "base/file.h"
#include "base/status.h"
#include "yaml-cpp/yaml.h"

namespace isthmus {
namespace {

absl::StatusOr<std::vector<std::string>> Values(const YAML::Node& node, const std::string& where) {
  if (node.IsScalar()) return std::vector<std::string>{node.Scalar()};
  if (!node.IsSequence()) return InvalidArgument(where, ": expected a value or a list of values");
  std::vector<std::string> values;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) return InvalidArgument(where, ": expected a list of plain values");
    values.push_back(item.Scalar());
  }
  return values;
}

absl::StatusOr<ConfigEntries> Entries(const YAML::Node& root, const std::string& path) {
  ConfigEntries entries;
  if (root.IsNull()) return entries;
  if (!root.IsMap())
    return InvalidArgument(path, ": expected `flag: value` lines, got another form");
  for (const auto& item : root) {
    if (!item.first.IsScalar()) return InvalidArgument(path, ": expected flag names as keys");
    const std::string name = item.first.Scalar();
    ISTHMUS_ASSIGN_OR_RETURN(auto values, Values(item.second, absl::StrCat(path, ": ", name)));
    entries.emplace_back(name, std::move(values));
  }
  return entries;
}

}  // namespace

absl::StatusOr<ConfigEntries> ReadConfigFile(const std::string& path) {
  auto text = ReadFile(path, int64_t{1} << 20);
  if (!text.ok()) return Annotate(text.status(), "--config");
  try {
    return Entries(YAML::Load(*text), path);
  } catch (const YAML::Exception& e) {  // yaml-cpp's only way to say so
    return InvalidArgument(path, ": expected YAML, got ", e.msg, " (line ", e.mark.line + 1, ")");
  }
}

}  // namespace isthmus
