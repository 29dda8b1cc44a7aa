#include "compression/ecq_control.h"

#include <algorithm>
#include <cmath>

#include "compression/band_threads.h"
#include "compression/ecq_bands.h"
#include "compression/ecq_kernels.h"
#include "compression/ecq_rows.h"
#include "compression/ecq_snapshot.h"
#include "compression/half_float.h"

namespace isthmus {
namespace {

constexpr size_t kFewRows = 8;  // below, a frame's own variance says little
constexpr int kMostAttempts = 5;
constexpr double kDbTolerance = 0.2, kBitsTolerance = 0.02;
// What a bit may cost in squared error, over the error of a value: half of the slope of the
// rate-distortion curve (2 ln 2), since what is rounded away also spoils later predictions.
constexpr double kErrorPerBit = 0.7;
// A centroid is 24 bits; it serves for more than the frame it comes with.
constexpr double kCentroidGain = 2.0 / 12 * 1.386;
constexpr double kStatisticsDecay = 0.75;

}  // namespace

EcqControl::EcqControl(const EcqOptions& options, const EdgeShape& shape)
    : options_(options),
      width_(static_cast<size_t>(shape.width)),
      forward_(shape.direction == Direction::kForward),
      sums_(width_),
      squares_(width_) {}

Extent EcqControl::Look(const float* x, size_t rows) {
  std::fill(sums_.begin(), sums_.end(), 0.0);
  std::fill(squares_.begin(), squares_.end(), 0.0);
  rows_ = rows;
  std::array<Extent, kEcqMostBands> of_band;
  const size_t bands = EcqBands(width_);
  const auto look = [&](size_t b) {
    const EcqBand band = EcqBandOf(width_, b);
    of_band[b] = EcqAddMoments(x + band.begin, rows, width_, band.width, &sums_[band.begin],
                               &squares_[band.begin]);
  };
  if (EcqStreams(rows, width_) > 1) {
    ForBands(bands, look);
  } else {
    for (size_t b = 0; b < bands; ++b) look(b);
  }
  Extent extent = of_band[0];
  for (size_t b = 1; b < bands; ++b) {
    extent.lo = std::min(extent.lo, of_band[b].lo);
    extent.hi = std::max(extent.hi, of_band[b].hi);
    extent.magnitude = std::max(extent.magnitude, of_band[b].magnitude);
  }
  return extent;
}

// Forward: the variance about the channels' means over the frame, weighted. Gradients: the mean
// square of the rows that are kept.
double EcqControl::Signal(size_t kept, const int8_t* weights) const {
  const size_t rows = rows_;
  double energy = 0.0, variance = 0.0;
  for (size_t c = 0; c < width_; ++c) {
    const double weight = std::exp2(0.5 * weights[c]);
    energy += weight * squares_[c];
    variance += weight * (squares_[c] - sums_[c] * sums_[c] / static_cast<double>(rows));
  }
  const double width = static_cast<double>(width_);
  if (!forward_) return kept > 0 ? energy / (static_cast<double>(kept) * width) : 0.0;
  energy /= static_cast<double>(rows) * width;
  if (rows < kFewRows) return now_.signal > 0 ? now_.signal : energy;
  return std::max(variance / (static_cast<double>(rows - 1) * width), 1e-6 * energy);
}

void EcqControl::SetStep(double step) {
  const double bounded = std::clamp(step, double{kEcqLeastStep}, double{kEcqMostStep} * 0.5);
  step_ = FloatFromBf16(Bf16FromFloat(static_cast<float>(bounded)));
  start_ = EcqRows::StartCode(0.8 * std::sqrt(signal_) / step_);
}

bool EcqControl::BeginFrame(size_t kept, const FrameContext& context, const int8_t* weights) {
  signal_ = Signal(kept, weights);
  attempts_ = 0;
  share_ = now_.share;
  if (signal_ > 0 && signal_ < 0x1p-200) return false;
  if (signal_ <= 0) signal_ = 1.0;
  const double finer_db = context.training ? 0.0 : options_.eval_db;
  const double root = std::sqrt(signal_);
  if (options_.target == EcqTarget::kDecibel) {
    target_error_ = signal_ * std::pow(10.0, -(options_.value + offset_db_ + finer_db) / 10);
    most_step_ = 3 * std::sqrt(12 * target_error_);
    const double share = forward_ && context.training ? now_.share : 1.0 / 12;
    SetStep(std::min(std::sqrt(target_error_ / share), most_step_));
    return true;
  }
  const double elements = static_cast<double>(rows_ * width_);
  const double per_element =
      options_.target == EcqTarget::kBits ? options_.value : 8 * options_.value / elements;
  target_bits_ = (per_element + finer_db / 6.02) * elements;
  const double bits = target_bits_ / elements;
  most_step_ = options_.has_floor
                   ? root * std::sqrt(12 * std::pow(10.0, -(options_.floor_db + finer_db) / 10))
                   : root * 16;
  // At high rate a uniform quantiser of step s spends 2.05 - log2(s / root) bits on a Gaussian.
  const double log_step = now_.has_step ? now_.log_step - finer_db / 6.02 : 2.05 - bits;
  SetStep(std::min(root * std::exp2(log_step), most_step_));
  return true;
}

void EcqControl::UpdateCentroids(EcqTables* tables, std::vector<EcqCentroid>* updates) {
  updates->clear();
  // A frame that is tried again knows its own gaps already.
  const auto& count = attempts_ > 0 ? count_ : now_.count;
  const auto& gap = attempts_ > 0 ? gap_ : now_.gap;
  for (size_t i = 0; i < count.size(); ++i) {
    if (count[i] < 1.0) continue;
    const uint8_t table = static_cast<uint8_t>(i / kEcqCentroids);
    const uint8_t level = static_cast<uint8_t>(i % kEcqCentroids);
    const double wanted = std::clamp(gap[i] / count[i] / kEcqCentroidUnit, -120.0, 120.0);
    const double miss = (wanted - tables->centroid(table, level)) * kEcqCentroidUnit;
    if (count[i] * miss * miss < kCentroidGain * 12) continue;
    const int8_t value = static_cast<int8_t>(std::lround(wanted));
    tables->set_centroid(table, level, value);
    updates->push_back({table, level, value});
  }
  FitThresholds(*tables);
}

// Between the levels 0 and 1 - gap, where the error saved equals what the dearer code costs.
void EcqControl::FitThresholds(const EcqTables& tables) {
  std::array<float, kEcqPlainClasses> thresholds;
  thresholds.fill(0.5f);
  const double error_per_bit = kErrorPerBit * std::min(share_, 1.0 / 12);
  for (size_t cls = 0; cls < static_cast<size_t>(kEcqPlainClasses); ++cls) {
    const auto frequency = [&](int q) {
      return static_cast<double>(tables.rans().frequency(cls, static_cast<size_t>(kEcqZero + q)));
    };
    const double dearer = std::log2(frequency(0)) - std::log2(0.5 * (frequency(-1) + frequency(1)));
    const double level = 1.0 - tables.centroid(cls, 0) * double{kEcqCentroidUnit};
    const double threshold = 0.5 * level + error_per_bit * dearer / (2 * level);
    thresholds[cls] = static_cast<float>(std::clamp(threshold, 0.5, 1.2));
  }
  limits_ = MakeEcqLimits(thresholds);
}

void EcqMeasure::AddRow(const EcqRow& row, const EcqRowInput& input, const float* x_hat, float step,
                        bool gaps) {
  error += EcqSquaredMiss(input.x, x_hat, input.inverse_step, row.width) * step * step;
  measured += static_cast<int64_t>(row.width);
  for (size_t c = 0; c < row.width && gaps; ++c) {
    const int level = std::abs(row.q[c]);
    if (level == 0 || row.classes[c] >= kEcqPlainClasses) continue;
    const size_t at = row.classes[c] * kEcqCentroids + static_cast<size_t>(std::min(level, 3) - 1);
    const float miss = (input.x[c] - input.prediction[c]) * input.inverse_step[c];
    count[at] += 1.0;
    gap[at] += level - std::fabs(static_cast<double>(miss));
  }
}

void EcqMeasure::Add(const EcqMeasure& other) {
  elements += other.elements;
  bits += other.bits;
  measured += other.measured;
  error += other.error;
  for (size_t i = 0; i < count.size(); ++i) {
    count[i] += other.count[i];
    gap[i] += other.gap[i];
  }
}

bool EcqControl::Accepts(const EcqMeasure& measure) {
  if (measure.elements == 0) return true;
  count_ = measure.count;
  gap_ = measure.gap;
  const double error = measure.error / static_cast<double>(std::max<int64_t>(measure.measured, 1));
  if (forward_) share_ = std::max(error / (double{step_} * step_), 1e-4);
  if (!forward_) {
    // The step never depends on the frame's own dither: only the next frame's follows the bits.
    if (options_.target != EcqTarget::kDecibel) {
      const double miss = (measure.bits - target_bits_) / static_cast<double>(measure.elements);
      now_.log_step = std::log2(step_ / std::sqrt(signal_)) + std::clamp(0.7 * miss, -1.0, 1.0);
      now_.has_step = true;
    }
    return true;
  }
  if (options_.target == EcqTarget::kDecibel) {
    const double miss = 10 * std::log10(std::max(error, 1e-300) / target_error_);
    if (miss < 0 && step_ > most_step_ * 0.98) return true;
    return !TryAgain(miss, 1.5, 6.02, kDbTolerance);
  }
  const double miss = (target_bits_ - measure.bits) / static_cast<double>(measure.elements);
  if (miss > 0 ? false : step_ > most_step_ * 0.98) return true;
  const double tolerance =
      kBitsTolerance * target_bits_ / static_cast<double>(measure.elements) + 0.002;
  return !TryAgain(miss, 0.2, 1.0, tolerance);
}

// The next step by the secant of the last two, per octave of the step; the miss grows with it.
bool EcqControl::TryAgain(double miss, double slope_low, double slope_high, double tolerance) {
  ++attempts_;
  if (std::fabs(miss) <= tolerance || attempts_ >= kMostAttempts) return false;
  const double log_step = std::log2(step_);
  double slope = slope_high;
  if (attempts_ > 1 && std::fabs(log_step - last_log_step_) > 1e-3)
    slope = std::clamp((miss - last_miss_) / (log_step - last_log_step_), slope_low, slope_high);
  last_miss_ = miss;
  last_log_step_ = log_step;
  const float before = step_;
  SetStep(std::min(std::exp2(log_step - std::clamp(miss / slope, -4.0, 4.0)), most_step_));
  return step_ != before;
}

void EcqControl::Learn(const FrameContext&) {
  now_.signal = signal_;
  if (!forward_) return;
  now_.share = share_;
  now_.log_step = std::log2(step_ / std::sqrt(signal_));
  now_.has_step = true;
  for (size_t i = 0; i < count_.size(); ++i) {
    now_.count[i] = now_.count[i] * kStatisticsDecay + count_[i];
    now_.gap[i] = now_.gap[i] * kStatisticsDecay + gap_[i];
  }
}

void EcqControl::Clear() { now_ = boundary_ = Memory(); }

void EcqControl::Write(Bytes* out) const {
  ByteWriter writer(out);
  for (const double v : {now_.signal, now_.share, now_.log_step}) writer.Put(v);
  writer.Put(static_cast<uint8_t>(now_.has_step));
  for (const double v : now_.count) writer.Put(v);
  for (const double v : now_.gap) writer.Put(v);
}

bool EcqControl::Read(ByteReader* in) {
  Memory read;
  bool good = true;
  const auto get = [&](double* v) {
    const auto value = in->Get<double>();
    good = good && value.ok() && std::isfinite(*value);
    if (good) *v = *value;
  };
  for (double* v : {&read.signal, &read.share, &read.log_step}) get(v);
  const auto has_step = in->Get<uint8_t>();
  for (double& v : read.count) get(&v);
  for (double& v : read.gap) get(&v);
  if (!good || !has_step.ok() || !(read.share > 0)) return false;
  read.has_step = *has_step != 0;
  now_ = boundary_ = read;
  return true;
}

}  // namespace isthmus
