#include "compression/ecq_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace isthmus {
namespace {

constexpr float kLeastExpected = 0x1p-9f, kMostExpected = 0x1p22f;
constexpr uint32_t kMeanLimit = 256;      // rows that a channel's mean remembers
constexpr uint32_t kExpectedLimit = 192;  // … an expected magnitude
constexpr uint32_t kVisitLimit = 16;      // … a slot
constexpr float kSlotDoubt = 0.15f;       // how much a mean counts against a slot's first visits
constexpr int64_t kCarriedPlaces = 1;     // what the row before counts, in places
constexpr float kFactorDecay = 0.9375f;   // of the sums behind the factors, a frame
constexpr uint32_t kStartBits = (127 - 9) * 4;  // quarter octaves below 2^-9

// 2^(-k/4) for k = -8 .. 8
constexpr std::array<float, 17> kStepOfWeight = {
    4.0f,        3.36358566f,  2.82842712f,  2.37841423f,  2.0f,         1.68179283f,
    1.41421356f, 1.18920712f,  1.0f,         0.840896415f, 0.707106781f, 0.594603558f,
    0.5f,        0.420448208f, 0.353553391f, 0.297301779f, 0.25f};

bool AllFinite(const float* values, size_t n) {
  uint32_t most = 0;
  for (size_t i = 0; i < n; ++i)
    most = std::max(most, std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu);
  return most < 0x7F800000u;
}

}  // namespace

EcqRows::EcqRows(const EdgeShape& shape, const EcqBand& band, EcqState* state)
    : band_(band),
      earlier_(static_cast<size_t>(shape.width) + band.begin),
      forward_(shape.direction == Direction::kForward),
      has_earlier_(shape.shared_earlier),
      state_(state),
      steps_(band.width),
      inverse_steps_(band.width),
      gaps_(kEcqCentroids * 32),
      predicted_(band.width),
      before_(band.width),
      base_(band.width),
      feature_(band.width),
      scaled_d_(band.width),
      scaled_y_(band.width),
      scaled_f_(band.width),
      classes_(band.width),
      q_(band.width) {}

float EcqRows::StartMagnitude(uint8_t start) {
  return std::bit_cast<float>((kStartBits + start) << 21);
}

uint8_t EcqRows::StartCode(double magnitude) {
  const float bounded = static_cast<float>(std::clamp(magnitude, 0x1p-9, 0x1p20));
  return static_cast<uint8_t>((std::bit_cast<uint32_t>(bounded) >> 21) - kStartBits);
}

void EcqRows::BeginFrame(float step, uint8_t start) {
  const EcqCore& core = state_->core;
  start_magnitude_ = StartMagnitude(start);
  inverse_step_ = 1.0f / step;
  for (size_t c = 0; c < band_.width; ++c) {
    steps_[c] = step * kStepOfWeight[static_cast<size_t>(core.weights[band_.begin + c] + 8)];
    inverse_steps_[c] = 1.0f / steps_[c];
  }
  for (size_t cls = 0; cls < static_cast<size_t>(kEcqPlainClasses); ++cls) {
    for (size_t level = 0; level < kEcqCentroids; ++level) {
      gaps_[level * 32 + cls] =
          static_cast<float>(state_->tables.centroid(cls, level)) * kEcqCentroidUnit;
    }
  }
  Rescale(step);
  if (forward_) FitFactors();
  carried_ = {};
}

// Expected magnitudes are in steps of the frame they came from.
void EcqRows::Rescale(float step) {
  EcqCore& core = state_->core;
  const float ratio = core.step > 0.0f ? core.step / step : 1.0f;
  for (size_t mode = 0; mode < kEcqModes && ratio != 1.0f; ++mode) {
    if (core.rows[band_.index][mode] == 0) continue;
    for (size_t c = band_.begin; c < band_.begin + band_.width; ++c) {
      const float scaled = core.expected[mode][c] * ratio;
      const float low = scaled > kLeastExpected ? scaled : kLeastExpected;
      core.expected[mode][c] = low < kMostExpected ? low : kMostExpected;
    }
  }
}

// Least squares of y on d and f per channel, from the sums so far; a band whose sums say nothing
// sane goes without.
void EcqRows::FitFactors() {
  EcqCore& core = state_->core;
  const size_t begin = band_.begin, end = begin + band_.width;
  bool sane = true;
  for (auto* sums : {&core.sum_dd, &core.sum_dy, &core.sum_ff, &core.sum_fd, &core.sum_fy})
    sane = sane && (sums->empty() || AllFinite(sums->data() + begin, band_.width));
  for (auto* sums : {&core.sum_dd, &core.sum_dy, &core.sum_ff, &core.sum_fd, &core.sum_fy}) {
    for (size_t c = begin; c < end && !sums->empty(); ++c)
      (*sums)[c] = sane ? (*sums)[c] * kFactorDecay : 0.0f;
  }
  for (size_t c = begin; c < end; ++c) {
    const float dd = core.sum_dd[c] + 1.0f, dy = core.sum_dy[c];
    float d = dy / dd, f = 0.0f;
    if (has_earlier_) {
      const float ff = core.sum_ff[c] + 1.0f, fd = core.sum_fd[c], fy = core.sum_fy[c];
      const float determinant = ff * dd - fd * fd;
      const float a = (fy * dd - dy * fd) / determinant, b = (dy * ff - fy * fd) / determinant;
      const bool solved =
          determinant > 1e-3f * (ff * dd) && a < 8.0f && a > -8.0f && b < 8.0f && b > -8.0f;
      f = solved ? a : 0.0f;
      d = solved ? b : d;
      core.factor_f[c] = f;
    }
    core.factor_d[c] = d < 1.0f && d > -1.0f ? d : 0.0f;
  }
}

void EcqRows::BeginSample() { std::fill(before_.begin(), before_.end(), 0.0f); }

bool EcqRows::Possible(EcqMode mode, const Source& source) {
  switch (mode) {
    case kEcqMean:
      return true;
    case kEcqSlot:
      return source.place.named && source.place.visits > 0;
    case kEcqSample:
      return source.sample != nullptr;
    default:
      return false;
  }
}

EcqPredictor EcqRows::PredictorOf(EcqMode mode, const Source& source) const {
  const EcqCore& core = state_->core;
  EcqPredictor from{core.mean.data() + band_.begin, nullptr, 0.0f,
                    core.factor_d.data() + band_.begin, before_.data()};
  if (mode != kEcqSlot) return from;
  const float visits = static_cast<float>(source.place.visits);
  from.slot = state_->slots.mean(source.place.slot) + band_.begin;
  from.blend = visits / (visits + kSlotDoubt);
  return from;
}

const float* EcqRows::Predict(EcqMode mode, const Source& source) {
  if (mode == kEcqSample) return source.sample;
  if (!forward_) return nullptr;
  const EcqPredictor from = PredictorOf(mode, source);
  EcqPredict(from, band_.width, predicted_.data());
  if (!has_earlier_ || source.earlier == nullptr) return predicted_.data();
  const EcqCore& core = state_->core;
  const float* of_mean = core.mean.data() + earlier_;
  if (mode == kEcqSlot) {
    const float* of_slot = state_->slots.mean(source.place.slot) + earlier_;
    EcqBlend(of_mean, of_slot, from.blend, band_.width, feature_.data());
    of_mean = feature_.data();
  }
  for (size_t c = 0; c < band_.width; ++c) feature_[c] = source.earlier[c] - of_mean[c];
  EcqAddProduct(predicted_.data(), core.factor_f.data() + band_.begin, feature_.data(), band_.width,
                predicted_.data());
  return predicted_.data();
}

EcqMode EcqRows::Choose(const float* x, const Source& source) {
  const bool slot = Possible(kEcqSlot, source);
  if (!slot && source.sample == nullptr) return kEcqMean;
  const float* inverse = inverse_steps_.data();
  EcqRoughChoice bits;
  if (slot && (!has_earlier_ || source.earlier == nullptr)) {
    bits = EcqRoughBitsOf(x, PredictorOf(kEcqSlot, source), inverse, band_.width);
  } else {
    bits.mean = EcqRoughBits(x, Predict(kEcqMean, source), inverse, band_.width);
    if (slot) bits.slot = EcqRoughBits(x, Predict(kEcqSlot, source), inverse, band_.width);
  }
  EcqMode best = slot && bits.slot < bits.mean ? kEcqSlot : kEcqMean;
  if (source.sample == nullptr) return best;
  const double least = best == kEcqSlot ? bits.slot : bits.mean;
  return EcqRoughBits(x, source.sample, inverse, band_.width) < least ? kEcqSample : best;
}

void EcqRows::BeginRow(EcqMode mode, const Source& source, bool in_sight, bool counts) {
  EcqCore& core = state_->core;
  auto& rows = core.rows[band_.index];
  mode_ = mode;
  float* expected = core.expected[mode].data() + band_.begin;
  if (rows[mode] == 0) {
    const auto most = std::max_element(rows.begin(), rows.end());
    if (*most > 0) {
      const auto& known = core.expected[static_cast<size_t>(most - rows.begin())];
      std::copy_n(known.data() + band_.begin, band_.width, expected);
    } else {
      std::fill_n(expected, band_.width, start_magnitude_);
    }
    rows[mode] = 1;
  }
  fused_ = forward_ && !in_sight && !has_earlier_ && mode != kEcqSample &&
           EcqLeastChunk(band_.width) >= kEcqLeastFusedChunk;
  prediction_ = fused_ ? nullptr : Predict(mode, source);
  row_ = {expected, band_.width, classes_.data(), q_.data()};
  activity_ = carried_;
  rows[mode] = std::min(rows[mode] + 1, kExpectedLimit);
  if (forward_) lesson_ = LessonOf(source, counts);
}

EcqLesson EcqRows::LessonOf(const Source& source, bool counts) {
  EcqCore& core = state_->core;
  const size_t begin = band_.begin;
  uint32_t& mean_rows = core.mean_rows[band_.index];
  mean_rows = std::min(mean_rows + 1, kMeanLimit);
  EcqLesson lesson{};
  lesson.q = q_.data();
  lesson.classes = classes_.data();
  lesson.prediction = prediction_;
  lesson.from = PredictorOf(mode_, source);
  lesson.step = steps_.data();
  lesson.gaps = gaps_.data();
  lesson.expected = core.expected[mode_].data() + begin;
  lesson.expected_share = 1.0f / static_cast<float>(core.rows[band_.index][mode_]);
  lesson.mean = core.mean.data() + begin;
  lesson.mean_share = 1.0f / static_cast<float>(mean_rows);
  if (source.place.named) {
    lesson.slot = state_->slots.mean(source.place.slot) + begin;
    lesson.slot_share = EcqSlots::ShareOf(source.place.visits, kVisitLimit);
    lesson.from.slot = lesson.slot;  // of no weight where the mode is another
  }
  if (mode_ == kEcqSample || has_earlier_) return lesson;
  lesson.before = before_.data();
  lesson.inverse_step = inverse_step_;
  if (!counts) return lesson;
  lesson.sum_dd = core.sum_dd.data() + begin;
  lesson.sum_de = core.sum_dy.data() + begin;
  return lesson;
}

uint32_t EcqRows::FinishRow(const Source& source, const float* dither, float* x) {
  const int64_t width = static_cast<int64_t>(band_.width);
  carried_.active = (activity_.active - carried_.active) * kCarriedPlaces / width;
  carried_.expected = (activity_.expected - carried_.expected) * kCarriedPlaces / width;
  if (fused_) return largest_;
  EcqCore& core = state_->core;
  if (!forward_) {
    const float share = 1.0f / static_cast<float>(core.rows[band_.index][mode_]);
    return EcqLearnDitheredRow(q_.data(), steps_.data(), dither, share, band_.width,
                               core.expected[mode_].data() + band_.begin, x);
  }
  if (has_earlier_ && mode_ != kEcqSample) KeepBase();
  const uint32_t largest = EcqLearnRow(lesson_, band_.width, x);
  if (mode_ == kEcqSample) BeginSample();
  if (has_earlier_) LearnEarlier(source, x);
  return largest;
}

// What the row started from, before its mean and slot move on.
void EcqRows::KeepBase() {
  if (lesson_.from.slot != nullptr) {
    EcqBlend(lesson_.mean, lesson_.slot, lesson_.from.blend, band_.width, base_.data());
  } else {
    std::copy_n(lesson_.mean, band_.width, base_.data());
  }
}

// Distances in steps: sums stay in range whatever the values' scale.
void EcqRows::LearnEarlier(const Source& source, const float* x) {
  EcqCore& core = state_->core;
  const size_t n = band_.width, begin = band_.begin;
  if (mode_ != kEcqSample) {
    const bool known = source.earlier != nullptr;
    for (size_t c = 0; c < n; ++c) {
      scaled_d_[c] = before_[c] * inverse_step_;
      scaled_f_[c] = known ? feature_[c] * inverse_step_ : 0.0f;
    }
    EcqLearnShift(x, base_.data(), inverse_step_, n, before_.data(), core.sum_dd.data() + begin,
                  core.sum_dy.data() + begin);
    for (size_t c = 0; c < n; ++c) scaled_y_[c] = before_[c] * inverse_step_;
    EcqAccumulate(scaled_f_.data(), scaled_f_.data(), n, core.sum_ff.data() + begin);
    EcqAccumulate(scaled_f_.data(), scaled_d_.data(), n, core.sum_fd.data() + begin);
    EcqAccumulate(scaled_f_.data(), scaled_y_.data(), n, core.sum_fy.data() + begin);
  }
  if (source.earlier == nullptr) return;
  const float mean_share = 1.0f / static_cast<float>(core.mean_rows[band_.index]);
  EcqMoveToward(source.earlier, mean_share, n, core.mean.data() + earlier_);
  if (!source.place.named) return;
  EcqMoveToward(source.earlier, EcqSlots::ShareOf(source.place.visits, kVisitLimit), n,
                state_->slots.mean(source.place.slot) + earlier_);
}

}  // namespace isthmus
