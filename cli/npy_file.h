// NumPy's .npy files, as far as a matrix of fp32 needs them.
#ifndef ISTHMUS_CLI_NPY_FILE_H_
#define ISTHMUS_CLI_NPY_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace isthmus {

struct NpyMatrix {
  std::vector<float> values;  // rows x width
  int64_t width = 0;          // the last dimension; the others are rows
};

// A file of version 1 or 2 with '<f4' values in C order and at least one dimension.
// kInvalidArgument names the file and what differs.
absl::StatusOr<NpyMatrix> ReadNpy(const std::string& path);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_NPY_FILE_H_
