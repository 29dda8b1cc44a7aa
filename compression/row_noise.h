// Rounding noise by row of a frame. Keys are (seed, edge, direction, step, sample) and the counter
// is the position within the sample: a retry, another micro-batch size or another placement draws
// the same numbers.
#ifndef ISTHMUS_COMPRESSION_ROW_NOISE_H_
#define ISTHMUS_COMPRESSION_ROW_NOISE_H_

#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "compression/codec.h"
#include "compression/kernels.h"

namespace isthmus {

class RowNoise {
 public:
  explicit RowNoise(const EdgeShape& shape)
      : RowNoise(shape, 0, static_cast<size_t>(shape.width)) {}
  // Of `columns` columns from `begin` on, a multiple of 4.
  RowNoise(const EdgeShape& shape, size_t begin, size_t columns)
      : shape_(shape), begin_(begin), row_(columns) {}

  void Begin(uint64_t step, absl::Span<const SampleRows> samples) {
    step_ = step;
    samples_ = samples;
    at_ = 0;
    keyed_ = false;
  }

  // The values for one row, valid until the next call. Rising rows are the fast order.
  const float* Row(int64_t row) {
    if (row < samples_[at_].begin) {
      at_ = 0;
      keyed_ = false;
    }
    while (at_ + 1 < samples_.size() && row >= samples_[at_].begin + samples_[at_].tokens) {
      ++at_;
      keyed_ = false;
    }
    if (!keyed_) {
      const uint64_t path = uint64_t{shape_.edge} << 1 | static_cast<uint64_t>(shape_.direction);
      key_ = RandomKey(shape_.seed, "codec.round", path, step_, samples_[at_].sample);
      keyed_ = true;
    }
    const uint64_t stride = (static_cast<uint64_t>(shape_.width) + 3) / 4 * 4;
    const uint64_t first = static_cast<uint64_t>(row - samples_[at_].begin) * stride + begin_;
    FillNoise(key_, first, 0, row_.size(), row_.data());
    return row_.data();
  }

 private:
  EdgeShape shape_;
  size_t begin_;
  std::vector<float> row_;
  absl::Span<const SampleRows> samples_;
  uint64_t step_ = 0, key_ = 0;
  size_t at_ = 0;
  bool keyed_ = false;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ROW_NOISE_H_
