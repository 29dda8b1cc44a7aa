// TensorBoard's event files: scalars over steps.
//
// A file is a sequence of records (TensorFlow's TFRecord framing), each an Event in protobuf form:
//   u64 length | u32 masked crc32c(length) | length bytes | u32 masked crc32c(bytes)
// The first event carries the file version; every other one a step and a Summary of scalars.
#ifndef ISTHMUS_CLIENT_TENSORBOARD_H_
#define ISTHMUS_CLIENT_TENSORBOARD_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

struct Scalar {
  std::string tag;  // "loss", "wire/bits_per_element_forward"
  double value = 0.0;
};

class TensorboardWriter {
 public:
  // Goes on with the newest event file of `folder`, or makes one.
  static absl::StatusOr<std::unique_ptr<TensorboardWriter>> Open(const std::string& folder);
  ~TensorboardWriter();
  TensorboardWriter(const TensorboardWriter&) = delete;
  TensorboardWriter& operator=(const TensorboardWriter&) = delete;

  // One event, one write(2).
  absl::Status Append(int64_t step, absl::Span<const Scalar> scalars);

  // Drops events after `step`, and a torn or damaged tail, from every event file of `folder`. No
  // writer may be open.
  static absl::Status DropAfter(const std::string& folder, int64_t step);

  static constexpr char kPrefix[] = "events.out.tfevents.";

 private:
  TensorboardWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_;
};

// The framing of one record, appended to *out.
void AppendRecord(absl::Span<const uint8_t> event, Bytes* out);
// CRC-32C as the framing has it: rotated and offset, so that a checksum of bytes that contain their
// own checksum stays useful.
uint32_t MaskedCrc32c(absl::Span<const uint8_t> bytes);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_TENSORBOARD_H_
