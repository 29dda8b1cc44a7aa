// The safetensors format: 8 bytes header length, JSON header, tensor bytes. Reader over a memory map, and a writer.
#ifndef ISTHMUS_MODEL_SAFETENSORS_H_
#define ISTHMUS_MODEL_SAFETENSORS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"

namespace isthmus {

// A file or a byte range in that format. Tensors are views that keep the map alive. Every offset, size, overlap and gap is checked
// at Open: kInvalidArgument naming file and tensor.
class Safetensors {
 public:
  static absl::StatusOr<std::shared_ptr<const Safetensors>> Open(const std::string& path);
  static absl::StatusOr<std::shared_ptr<const Safetensors>> Parse(absl::Span<const uint8_t> bytes, std::shared_ptr<const void> owner,
                                                                  const std::string& where);
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Tensors in the given order; the header is padded with spaces to a multiple of 8. Written atomically.
absl::Status WriteSafetensors(const std::string& path, absl::Span<const NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_SAFETENSORS_H_
