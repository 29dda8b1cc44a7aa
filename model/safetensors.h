// The safetensors format: 8 bytes header length, JSON header, tensor bytes. Reader over a memory
// map, and a writer.
#ifndef ISTHMUS_MODEL_SAFETENSORS_H_
#define ISTHMUS_MODEL_SAFETENSORS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"

namespace isthmus {

// A file or a byte range in that format. Tensors are views that keep the map alive (copies where
// the file does not align them to their element size). BOOL reads as U8. Every offset, size,
// overlap and gap is checked at Open: kInvalidArgument naming file and tensor.
class Safetensors {
 public:
  static absl::StatusOr<std::shared_ptr<const Safetensors>> Open(const std::string& path);
  static absl::StatusOr<std::shared_ptr<const Safetensors>> Parse(absl::Span<const uint8_t> bytes,
                                                                  std::shared_ptr<const void> owner,
                                                                  const std::string& where);
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// What a writer says of a tensor before it has its bytes.
struct TensorHeader {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
};

// Tensors that come one at a time: what there is, and each when it is asked for. The order of
// asking is that of `headers`, each once.
struct TensorStream {
  std::vector<TensorHeader> headers;
  std::function<absl::StatusOr<Tensor>(size_t)> load;
};
TensorStream StreamOf(std::vector<NamedTensor> tensors);

// Writes the tensors in the given order, asking `load` for each when its turn comes, so that only
// one has to be in memory. The header is padded with spaces so that the tensors begin at a
// multiple of 64 bytes. Atomic: the file
// appears whole or not at all.
absl::Status WriteSafetensors(const std::string& path, absl::Span<const TensorHeader> headers,
                              absl::FunctionRef<absl::StatusOr<Tensor>(size_t)> load,
                              const std::map<std::string, std::string>& metadata = {});

// The same for tensors that are there already.
absl::Status WriteSafetensors(const std::string& path, absl::Span<const NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_SAFETENSORS_H_
