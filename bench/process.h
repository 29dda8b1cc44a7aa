// Runs a program and reads what it prints.
#ifndef ISTHMUS_BENCH_PROCESS_H_
#define ISTHMUS_BENCH_PROCESS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

// Standard output of `arguments` (the first is the program); its standard error is ours. kInternal
// when it does not end with 0.
absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& arguments);

// The one JSON document that it prints.
absl::StatusOr<nlohmann::json> RunJson(const std::vector<std::string>& arguments);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_PROCESS_H_
