// The gate that chooses among widths: a softmax over min .. max per channel, whose expected width
// is the channel's. Differentiable choice among precisions as in EdMIPS (arXiv 2004.05795) and DNAS
// (arXiv 1812.00090), learned by the sender alone.
#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "compression/bit_policy.h"
#include "compression/bit_ramp.h"

namespace isthmus {
namespace {

constexpr uint32_t kFewestMicroBatches = 16;  // as the sigmoid gate's
constexpr double kLossMove = 0.1;             // root mean square move of a width per loss step
constexpr double kLogitMove = 0.5;            // at most, at once
constexpr int kMostPieces = 20;
constexpr double kLeastLogit = -6.0;  // under the largest: a choice can still come back

class SoftmaxGate final : public BitPolicy {
 public:
  SoftmaxGate(const BitRange& range, int64_t width, int64_t total_steps)
      : range_(range),
        choices_(static_cast<size_t>(range.max - range.min + 1)),
        ramp_(total_steps),
        sums_(static_cast<size_t>(width)) {
    for (int64_t c = 0; c < width; ++c) {
      for (int bits = range.min; bits <= range.max; ++bits)
        logits_.push_back(-0.5 * (bits - range.start) * (bits - range.start));
    }
    shares_.resize(logits_.size());
    widths_.resize(sums_.size());
    Choose();
    MoveMeanTo(range.start);  // a bell near an end of the range is cut there
  }

  std::unique_ptr<BitPolicy> Clone() const override { return std::make_unique<SoftmaxGate>(*this); }

  void ObserveFrame(const float*, size_t) override {}

  // With b bits the error is that of the width in use times (2^used - 1) / (2^b - 1), the rounding
  // residual held fixed: one number a channel tells what every choice would have done to the loss.
  void ObserveGradient(const float* g_TD, const float* error_TD, size_t rows,
                       absl::Span<const uint8_t> bits) override {
    const size_t width = sums_.size();
    std::vector<double> products(width);
    for (size_t i = 0; i < rows * width; ++i)
      products[i % width] += static_cast<double>(g_TD[i]) * error_TD[i];
    for (size_t c = 0; c < width; ++c) sums_[c] += products[c] * ((1 << bits[c]) - 1);
    ++micro_batches_;
    observed_ = true;
  }

  void Step() override {
    if (!observed_) return;
    observed_ = false;
    PullToTarget(ramp_.Pull(steps_++));
    if (micro_batches_ >= kFewestMicroBatches) DescendLoss();
  }

  std::vector<double> Bits() const override { return widths_; }

  void Write(ByteWriter* out) const override {
    WriteDoubles(logits_, out);
    WriteDoubles(sums_, out);
    out->Put(micro_batches_);
    out->Put(steps_);
  }
  absl::Status Read(ByteReader* in) override {
    ISTHMUS_RETURN_IF_ERROR(ReadDoubles(in, absl::MakeSpan(logits_)));
    ISTHMUS_RETURN_IF_ERROR(ReadDoubles(in, absl::MakeSpan(sums_)));
    ISTHMUS_ASSIGN_OR_RETURN(micro_batches_, in->Get<uint32_t>());
    ISTHMUS_ASSIGN_OR_RETURN(steps_, in->Get<uint64_t>());
    observed_ = false;
    Choose();
    return absl::OkStatus();
  }
  int64_t StateBytes() const override {
    return static_cast<int64_t>((2 * logits_.size() + 2 * sums_.size()) * sizeof(double));
  }

 private:
  double BitsOf(size_t choice) const { return range_.min + static_cast<double>(choice); }

  // Shares of the choices and expected widths from the logits, whose largest becomes 0.
  void Choose() {
    for (size_t c = 0; c < sums_.size(); ++c) {
      double* logits = &logits_[c * choices_];
      double* shares = &shares_[c * choices_];
      const double top = *std::max_element(logits, logits + choices_);
      double total = 0;
      for (size_t k = 0; k < choices_; ++k) {
        logits[k] = std::max(logits[k] - top, kLeastLogit);
        shares[k] = std::exp(logits[k]);
        total += shares[k];
      }
      widths_[c] = 0;
      for (size_t k = 0; k < choices_; ++k) {
        shares[k] /= total;
        widths_[c] += shares[k] * BitsOf(k);
      }
    }
  }

  double MeanBits() const {
    double mean = 0;
    for (const double b : widths_) mean += b;
    return mean / static_cast<double>(widths_.size());
  }

  // Along the slope of the mean width, in pieces over which it is nearly straight, until the mean
  // is within a thousandth of a bit.
  void MoveMeanTo(double bits) {
    for (int piece = 0; piece < kMostPieces; ++piece) {
      const double missing = bits - MeanBits();
      double squares = 0, steepest = 0;
      for (size_t i = 0; i < logits_.size(); ++i) {
        squares += Slope(i) * Slope(i);
        steepest = std::max(steepest, std::fabs(Slope(i)));
      }
      if (std::fabs(missing) < 1e-3 || !(squares > 0)) return;
      const double rate = missing * static_cast<double>(widths_.size()) / squares;
      const double bound = kLogitMove / steepest;
      for (size_t i = 0; i < logits_.size(); ++i)
        logits_[i] += std::clamp(rate, -bound, bound) * Slope(i);
      Choose();
    }
  }
  // d width / d logit of its channel.
  double Slope(size_t i) const {
    return shares_[i] * (BitsOf(i % choices_) - widths_[i / choices_]);
  }

  void PullToTarget(double pull) {
    const double mean = MeanBits(), excess = mean - range_.target;
    if (excess > 0) MoveMeanTo(mean - pull * excess);
  }

  // One step down the loss; its size is set by how far it moves the widths, for the gradient's own
  // size says nothing.
  void DescendLoss() {
    std::vector<double> down(logits_.size());
    double squares = 0, steepest = 0;
    for (size_t c = 0; c < sums_.size(); ++c) {
      double mean = 0, move = 0;
      for (size_t k = 0; k < choices_; ++k) mean += shares_[c * choices_ + k] * LossAt(c, k);
      for (size_t k = 0; k < choices_; ++k) {
        const size_t i = c * choices_ + k;
        down[i] = shares_[i] * (mean - LossAt(c, k));
        move += Slope(i) * down[i];
        steepest = std::max(steepest, std::fabs(down[i]));
      }
      squares += move * move;
    }
    const double size = std::sqrt(squares / static_cast<double>(sums_.size()));
    if (size > 0 && std::isfinite(size)) {
      const double rate = std::min(kLossMove / size, kLogitMove / steepest);
      for (size_t i = 0; i < down.size(); ++i) logits_[i] += rate * down[i];
      Choose();
    }
    std::fill(sums_.begin(), sums_.end(), 0.0);
    micro_batches_ = 0;
  }
  double LossAt(size_t channel, size_t choice) const {
    return sums_[channel] / (std::exp2(BitsOf(choice)) - 1.0);
  }

  BitRange range_;
  size_t choices_;
  BitRamp ramp_;
  std::vector<double> logits_, shares_;  // by channel, then choice
  std::vector<double> sums_;             // gradient x rounding residual x range, by channel
  std::vector<double> widths_;
  uint32_t micro_batches_ = 0;
  uint64_t steps_ = 0;
  bool observed_ = false;
};

}  // namespace

std::unique_ptr<BitPolicy> MakeSoftmaxGate(const BitRange& range, int64_t width,
                                           int64_t total_steps) {
  return std::make_unique<SoftmaxGate>(range, width, total_steps);
}

}  // namespace isthmus
