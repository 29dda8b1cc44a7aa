// Rows of a long measurement, one JSON object a line, kept as they come: a run that was stopped
// goes on where it was.
#ifndef ISTHMUS_BENCH_RESULT_FILE_H_
#define ISTHMUS_BENCH_RESULT_FILE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

class ResultFile {
 public:
  // Reads what is there; a torn last line is left out. A missing file is an empty one.
  static absl::StatusOr<ResultFile> Open(const std::string& path);

  // The row of this key; null: not measured yet.
  const nlohmann::json* Find(const std::string& key) const;
  // Appends at once. `row` gets the member "key".
  absl::Status Add(const std::string& key, nlohmann::json row);
  std::vector<nlohmann::json> rows() const;  // in the order of their keys

 private:
  std::string path_;
  std::map<std::string, nlohmann::json> rows_;
};

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_RESULT_FILE_H_
