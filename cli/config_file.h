// A --config file: a YAML map from flag names to values; a list where a flag may be repeated.
#ifndef ISTHMUS_CLI_CONFIG_FILE_H_
#define ISTHMUS_CLI_CONFIG_FILE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace isthmus {

using ConfigEntries = std::vector<std::pair<std::string, std::vector<std::string>>>;

// Names are not checked here. kInvalidArgument names the file and the line.
absl::StatusOr<ConfigEntries> ReadConfigFile(const std::string& path);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_CONFIG_FILE_H_
