#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "compression/bit_policy.h"
#include "compression/bit_ramp.h"

namespace isthmus {
namespace {

constexpr double kForget = 0.1;  // weight of a step in the running variance

class WaterFilling final : public BitPolicy {
 public:
  WaterFilling(const BitRange& range, int64_t width, int64_t total_steps)
      : range_(range),
        ramp_(total_steps),
        mean_bits_(range.start),
        variance_(static_cast<size_t>(width), 0.0),
        squares_(static_cast<size_t>(width), 0.0) {}

  std::unique_ptr<BitPolicy> Clone() const override {
    return std::make_unique<WaterFilling>(*this);
  }

  // Gradients have no mean to speak of: the mean square is their variance.
  void ObserveFrame(const float* x_TD, size_t rows) override {
    const size_t width = squares_.size();
    for (size_t r = 0; r < rows; ++r) {
      const float* x = x_TD + r * width;
      for (size_t c = 0; c < width; ++c) squares_[c] += static_cast<double>(x[c]) * x[c];
    }
    rows_ += rows;
  }
  void ObserveGradient(const float*, const float*, size_t, absl::Span<const uint8_t>) override {}

  void Step() override {
    if (rows_ == 0) return;
    const double weight = steps_ == 0 ? 1.0 : kForget;
    for (size_t c = 0; c < variance_.size(); ++c) {
      variance_[c] += weight * (squares_[c] / static_cast<double>(rows_) - variance_[c]);
      squares_[c] = 0;
    }
    rows_ = 0;
    mean_bits_ -= ramp_.Pull(steps_++) * std::max(0.0, mean_bits_ - range_.target);
  }

  // The level is found by bisection: the mean of the clipped widths rises with it.
  std::vector<double> Bits() const override {
    std::vector<double> shape(variance_.size(), 0.0);
    const double largest = *std::max_element(variance_.begin(), variance_.end());
    if (largest > 0) {
      for (size_t c = 0; c < shape.size(); ++c) {
        shape[c] = 0.5 * std::log2(std::max(variance_[c] / largest,
                                            0x1p-40));  // 20 bits below: at min anyway
      }
    }
    double low = range_.min, high = range_.max + 20.0;
    for (int i = 0; i < 50; ++i) {
      const double level = 0.5 * (low + high);
      (MeanAt(level, shape) < mean_bits_ ? low : high) = level;
    }
    for (double& b : shape) b = Clip(high + b);
    return shape;
  }

  void Write(ByteWriter* out) const override {
    WriteDoubles(variance_, out);
    WriteDoubles({&mean_bits_, 1}, out);
    out->Put(steps_);
  }
  absl::Status Read(ByteReader* in) override {
    ISTHMUS_RETURN_IF_ERROR(ReadDoubles(in, absl::MakeSpan(variance_)));
    ISTHMUS_RETURN_IF_ERROR(ReadDoubles(in, {&mean_bits_, 1}));
    ISTHMUS_ASSIGN_OR_RETURN(steps_, in->Get<uint64_t>());
    std::fill(squares_.begin(), squares_.end(), 0.0);
    rows_ = 0;
    return absl::OkStatus();
  }
  int64_t StateBytes() const override {
    return static_cast<int64_t>(2 * sizeof(double) * variance_.size());
  }

 private:
  double Clip(double b) const {
    return std::clamp(b, static_cast<double>(range_.min), static_cast<double>(range_.max));
  }
  double MeanAt(double level, const std::vector<double>& shape) const {
    double sum = 0;
    for (double s : shape) sum += Clip(level + s);
    return sum / static_cast<double>(shape.size());
  }

  BitRange range_;
  BitRamp ramp_;
  double mean_bits_;
  std::vector<double> variance_;
  std::vector<double> squares_;  // of this step
  uint64_t rows_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<BitPolicy> MakeWaterFilling(const BitRange& range, int64_t width,
                                            int64_t total_steps) {
  return std::make_unique<WaterFilling>(range, width, total_steps);
}

}  // namespace isthmus
