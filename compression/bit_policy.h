// What decides the widths of channels: learned gates for activations, reverse water-filling for
// gradients. Only the sender runs one; what it decides reaches the other end as a table.
#ifndef ISTHMUS_COMPRESSION_BIT_POLICY_H_
#define ISTHMUS_COMPRESSION_BIT_POLICY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/bytes.h"

namespace isthmus {

struct BitRange {
  int min = 2;
  int max = 8;
  int target = 4;
  int start = 7;  // strictly between min and max
};

// What learns the widths of activations.
enum class GateKind : uint8_t { kSigmoid = 0, kSoftmax = 1 };

// A value: copying it is the snapshot of a step boundary.
class BitPolicy {
 public:
  virtual ~BitPolicy() = default;
  virtual std::unique_ptr<BitPolicy> Clone() const = 0;

  // What a training frame sent (rows x width, row-major).
  virtual void ObserveFrame(const float* x_TD, size_t rows) = 0;
  // The gradient of a sent frame and the error (decoded - x) it was sent with. `bits` are the
  // widths it was sent with.
  virtual void ObserveGradient(const float* g_TD, const float* error_TD, size_t rows,
                               absl::Span<const uint8_t> bits) = 0;
  // A step is over: widths may move. Nothing moves in a step that observed nothing.
  virtual void Step() = 0;
  // Continuous widths, one per channel, in [min, max].
  virtual std::vector<double> Bits() const = 0;

  virtual void Write(ByteWriter* out) const = 0;
  virtual absl::Status Read(ByteReader* in) = 0;  // leaves the policy unfinished when it fails
  virtual int64_t StateBytes() const = 0;
};

// Doubles of a known count, finite.
void WriteDoubles(absl::Span<const double> values, ByteWriter* out);
absl::Status ReadDoubles(ByteReader* in, absl::Span<double> values);

// AMAQ's gates (Song et al., arXiv 2510.05468, as completed in docs/numerics.md):
//   b_c = min + (max - min) sigmoid(Q_c)
// Q has its own optimizer, gradient descent with two terms: the loss gradient through the surrogate
// x^ = x + s(b) r with the rounding residual r held fixed, averaged over at least 16 micro-batches,
// and a hinge that pulls the mean width to the target.
std::unique_ptr<BitPolicy> MakeSigmoidGate(const BitRange& range, int64_t width,
                                           int64_t total_steps);

// A softmax over the widths min .. max per channel, whose expected width is the channel's. The same
// optimizer: the loss by the error that each width would have left, and the hinge.
std::unique_ptr<BitPolicy> MakeSoftmaxGate(const BitRange& range, int64_t width,
                                           int64_t total_steps);

// d loss / d b_c of one frame: the sum over tokens of g * error, times -ln 2 * 2^b / (2^b - 1).
// Adds to `out` (width values).
void AddGateGradient(const float* g_TD, const float* error_TD, size_t rows,
                     absl::Span<const uint8_t> bits, double* out);

// Reverse water-filling on the running variance of each channel: b_c = mean + 1/2 log2(var_c /
// geometric mean), clipped to [min, max], with the level set so that the mean width follows the
// ramp from start to target.
std::unique_ptr<BitPolicy> MakeWaterFilling(const BitRange& range, int64_t width,
                                            int64_t total_steps);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_BIT_POLICY_H_
