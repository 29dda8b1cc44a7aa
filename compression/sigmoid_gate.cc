#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "compression/bit_policy.h"
#include "compression/bit_ramp.h"

namespace isthmus {
namespace {

constexpr uint32_t kFewestMicroBatches =
    16;                               // one gradient of 3 or 4 bits says little about a gate
constexpr double kLossRate = 0.1;     // root mean square move of Q per loss step: 0.08 to 0.15 bit
constexpr double kLargestGate = 6.0;  // sigmoid 0.0025 from its end: a gate can still come back

class SigmoidGate final : public BitPolicy {
 public:
  SigmoidGate(const BitRange& range, int64_t width, int64_t total_steps)
      : range_(range),
        ramp_(total_steps),
        gates_(static_cast<size_t>(width)),
        sums_(static_cast<size_t>(width), 0.0) {
    const double share = static_cast<double>(range.start - range.min) / (range.max - range.min);
    std::fill(gates_.begin(), gates_.end(), std::log(share / (1.0 - share)));
  }

  std::unique_ptr<BitPolicy> Clone() const override { return std::make_unique<SigmoidGate>(*this); }

  void ObserveFrame(const float*, size_t) override {}

  void ObserveGradient(const float* g_TD, const float* error_TD, size_t rows,
                       absl::Span<const uint8_t> bits) override {
    AddGateGradient(g_TD, error_TD, rows, bits, sums_.data());
    ++micro_batches_;
    observed_ = true;
  }

  void Step() override {
    if (!observed_) return;
    observed_ = false;
    PullToTarget(ramp_.Pull(steps_++));
    if (micro_batches_ >= kFewestMicroBatches) DescendLoss();
    for (double& q : gates_) q = std::clamp(q, -kLargestGate, kLargestGate);
  }

  std::vector<double> Bits() const override {
    std::vector<double> bits(gates_.size());
    for (size_t c = 0; c < bits.size(); ++c)
      bits[c] = range_.min + (range_.max - range_.min) * Sigmoid(gates_[c]);
    return bits;
  }

  void Write(ByteWriter* out) const override {
    WriteDoubles(gates_, out);
    WriteDoubles(sums_, out);
    out->Put(micro_batches_);
    out->Put(steps_);
  }
  absl::Status Read(ByteReader* in) override {
    ISTHMUS_RETURN_IF_ERROR(ReadDoubles(in, absl::MakeSpan(gates_)));
    ISTHMUS_RETURN_IF_ERROR(ReadDoubles(in, absl::MakeSpan(sums_)));
    ISTHMUS_ASSIGN_OR_RETURN(micro_batches_, in->Get<uint32_t>());
    ISTHMUS_ASSIGN_OR_RETURN(steps_, in->Get<uint64_t>());
    observed_ = false;
    return absl::OkStatus();
  }
  int64_t StateBytes() const override {
    return static_cast<int64_t>(2 * sizeof(double) * gates_.size());
  }

 private:
  static double Sigmoid(double q) { return 1.0 / (1.0 + std::exp(-q)); }
  // d b / d Q.
  double Slope(double q) const {
    const double s = Sigmoid(q);
    return (range_.max - range_.min) * s * (1.0 - s);
  }

  // One step down the hinge max(0, mean b - target)^2, scaled so that the mean width moves by
  // `pull` of its distance.
  void PullToTarget(double pull) {
    double mean = 0, slope_squares = 0;
    for (double b : Bits()) mean += b;
    for (double q : gates_) slope_squares += Slope(q) * Slope(q);
    const double count = static_cast<double>(gates_.size());
    const double excess = mean / count - range_.target;
    if (excess <= 0) return;
    for (double& q : gates_) q -= pull * excess * Slope(q) * count / slope_squares;
  }

  // One step down the loss. The gradient's own size says nothing (it scales with the loss): only
  // its shape over channels does.
  void DescendLoss() {
    double squares = 0;
    for (size_t c = 0; c < gates_.size(); ++c) {
      sums_[c] *= Slope(gates_[c]) / micro_batches_;
      squares += sums_[c] * sums_[c];
    }
    const double size = std::sqrt(squares / static_cast<double>(gates_.size()));
    if (size > 0 && std::isfinite(size)) {
      for (size_t c = 0; c < gates_.size(); ++c) gates_[c] -= kLossRate * sums_[c] / size;
    }
    std::fill(sums_.begin(), sums_.end(), 0.0);
    micro_batches_ = 0;
  }

  BitRange range_;
  BitRamp ramp_;
  std::vector<double> gates_;
  std::vector<double> sums_;  // d loss / d b since the last loss step
  uint32_t micro_batches_ = 0;
  uint64_t steps_ = 0;
  bool observed_ = false;
};

}  // namespace

void WriteDoubles(absl::Span<const double> values, ByteWriter* out) {
  for (double v : values) out->Put(v);
}

absl::Status ReadDoubles(ByteReader* in, absl::Span<double> values) {
  for (double& v : values) {
    ISTHMUS_ASSIGN_OR_RETURN(v, in->Get<double>());
    if (!std::isfinite(v))
      return InvalidArgument("codec amaq: snapshot: expected finite values, got others");
  }
  return absl::OkStatus();
}

// s(b) = (hi - lo) / (2^b - 1), so ds/db = -s ln 2 * 2^b / (2^b - 1); dx^/db = r ds/db, and s r is
// the error itself.
void AddGateGradient(const float* g_TD, const float* error_TD, size_t rows,
                     absl::Span<const uint8_t> bits, double* out) {
  std::vector<double> sums(bits.size(), 0.0);
  for (size_t r = 0; r < rows; ++r) {
    const float* g = g_TD + r * bits.size();
    const float* error = error_TD + r * bits.size();
    for (size_t c = 0; c < bits.size(); ++c) sums[c] += static_cast<double>(g[c]) * error[c];
  }
  for (size_t c = 0; c < bits.size(); ++c) {
    const double levels = static_cast<double>(1 << bits[c]);
    out[c] -= sums[c] * 0.6931471805599453 * levels / (levels - 1.0);
  }
}

std::unique_ptr<BitPolicy> MakeSigmoidGate(const BitRange& range, int64_t width,
                                           int64_t total_steps) {
  return std::make_unique<SigmoidGate>(range, width, total_steps);
}

}  // namespace isthmus
