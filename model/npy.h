// NumPy's .npy files, as far as captured activations need them: one array of '<f4' or '<i4' values
// in C order.
#ifndef ISTHMUS_MODEL_NPY_H_
#define ISTHMUS_MODEL_NPY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"

namespace isthmus {

// A whole file of format version 1 or 2 with at least one dimension, none of them 0, at most 2^32
// values and nothing behind them. The tensor is a view of `bytes`, which `owner` keeps alive, or a
// copy where the values lie at an odd place. kInvalidArgument names `path` and what differs.
absl::StatusOr<Tensor> ParseNpy(absl::Span<const uint8_t> bytes, std::shared_ptr<const void> owner,
                                const std::string& path);
absl::StatusOr<Tensor> ReadNpy(const std::string& path);

// `tensor` is F32 or I32. Never replaces a file (kAlreadyExists) and leaves no part of one behind;
// kResourceExhausted when the disk is full.
absl::Status WriteNpy(const std::string& path, const Tensor& tensor);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_NPY_H_
