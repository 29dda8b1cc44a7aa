// Leaving out tokens of a gradient without bias.
#ifndef ISTHMUS_COMPRESSION_ECQ_SAMPLING_H_
#define ISTHMUS_COMPRESSION_ECQ_SAMPLING_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "compression/codec.h"
#include "compression/ecq_options.h"

namespace isthmus {

// Importance-sampled tokens: row t is kept with p_t = min(1, c |g_t|), p_t >= keep / 10 unless g_t
// is exactly 0, c solved for the mean share, and kept rows are divided by p_t. Draws are keyed by
// (seed, edge, step, sample, position).
class EcqSampling {
 public:
  EcqSampling(const EcqOptions& options, const EdgeShape& shape);

  bool active() const { return active_; }
  // The rows to code, valid until the next call: kept ones over their p, zeros elsewhere.
  const float* Draw(absl::Span<const float> g_TD, const FrameContext& context);
  bool keeps(size_t row) const { return !active_ || kept_rows_[row] != 0; }
  size_t kept(size_t rows) const { return active_ ? kept_ : rows; }

 private:
  void FindChances(const std::vector<double>& norms);

  const EdgeShape shape_;
  const double keep_;
  const bool active_;
  std::vector<double> norms_, chances_;
  std::vector<uint8_t> kept_rows_;
  std::vector<float> rows_;
  size_t kept_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_SAMPLING_H_
