#include "compression/ecq_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "compression/ecq_kernels.h"

namespace isthmus {
namespace {

constexpr float kLeastExpected = 0x1p-9f, kMostExpected = 0x1p22f;
constexpr uint32_t kMeanLimit = 256;         // rows that a channel's mean remembers
constexpr uint32_t kExpectedLimit = 192;     // … an expected magnitude
constexpr uint32_t kVisitLimit = 16;         // … a slot
constexpr float kSlotDoubt = 0.15f;          // how much a mean counts against a slot's first visits
constexpr int64_t kActivityPrior = 3 << 12;  // three codes of size 1: few codes say little
constexpr int64_t kCarriedPlaces = 1;        // what the row before counts, in places
constexpr float kFactorDecay = 0.9375f;      // of the sums behind the factors, a frame
constexpr uint32_t kStartBits = (127 - 9) * 4;  // quarter octaves below 2^-9

// 2^(-k/4) for k = -8 .. 8
constexpr std::array<float, 17> kStepOfWeight = {
    4.0f,        3.36358566f,  2.82842712f,  2.37841423f,  2.0f,         1.68179283f,
    1.41421356f, 1.18920712f,  1.0f,         0.840896415f, 0.707106781f, 0.594603558f,
    0.5f,        0.420448208f, 0.353553391f, 0.297301779f, 0.25f};

int32_t Log(int64_t value) { return std::bit_cast<int32_t>(static_cast<float>(value)); }

bool AllFinite(const std::vector<float>& values) {
  uint32_t most = 0;
  for (const float v : values) most = std::max(most, std::bit_cast<uint32_t>(v) & 0x7FFFFFFFu);
  return most < 0x7F800000u;
}

}  // namespace

EcqRows::EcqRows(const EdgeShape& shape, EcqState* state)
    : width_(static_cast<size_t>(shape.width)),
      row_width_(width_ * (shape.shared_earlier ? 2 : 1)),
      chunk_(width_ < 128 ? 8 : (width_ < 512 ? 16 : 32)),
      forward_(shape.direction == Direction::kForward),
      state_(state),
      steps_(width_),
      inverse_steps_(width_),
      gaps_(kEcqClasses * 4),
      before_(width_),
      row_(row_width_),
      scaled_d_(width_),
      scaled_y_(width_),
      scaled_f_(width_),
      classes_(width_) {
  for (auto& p : predictions_) p.assign(width_, 0.0f);
  for (auto& f : features_) f.assign(width_, 0.0f);
  for (auto& b : bases_) b.assign(row_width_, 0.0f);
}

float EcqRows::StartMagnitude(uint8_t start) {
  return std::bit_cast<float>((kStartBits + start) << 21);
}

uint8_t EcqRows::StartCode(double magnitude) {
  const float bounded = static_cast<float>(std::clamp(magnitude, 0x1p-9, 0x1p20));
  return static_cast<uint8_t>((std::bit_cast<uint32_t>(bounded) >> 21) - kStartBits);
}

void EcqRows::BeginFrame(float step, uint8_t start) {
  EcqCore& core = state_->core;
  start_magnitude_ = StartMagnitude(start);
  inverse_step_ = 1.0f / step;
  for (size_t c = 0; c < width_; ++c) {
    steps_[c] = step * kStepOfWeight[static_cast<size_t>(core.weights[c] + 8)];
    inverse_steps_[c] = 1.0f / steps_[c];
  }
  for (int cls = 0; cls < kEcqPlainClasses; ++cls) {
    for (size_t level = 0; level < kEcqCentroids; ++level) {
      gaps_[static_cast<size_t>(cls) * 4 + level + 1] =
          static_cast<float>(state_->tables.centroid(static_cast<size_t>(cls), level)) *
          kEcqCentroidUnit;
    }
  }
  Rescale(step);
  if (forward_) FitFactors();
  carried_active_ = carried_expected_ = 0;
}

// Expected magnitudes are in steps of the frame they came from.
void EcqRows::Rescale(float step) {
  EcqCore& core = state_->core;
  const float ratio = core.step > 0.0f ? core.step / step : 1.0f;
  for (size_t mode = 0; mode < kEcqModes && ratio != 1.0f; ++mode) {
    if (core.rows[mode] == 0) continue;
    for (float& e : core.expected[mode]) {
      const float scaled = e * ratio;
      const float low = scaled > kLeastExpected ? scaled : kLeastExpected;
      e = low < kMostExpected ? low : kMostExpected;
    }
  }
  core.step = step;
}

// Least squares of y on d and f per channel, from the sums so far; a channel whose sums say nothing
// sane goes without.
void EcqRows::FitFactors() {
  EcqCore& core = state_->core;
  const bool two = !core.sum_ff.empty();
  const bool sane = AllFinite(core.sum_dd) && AllFinite(core.sum_dy) && AllFinite(core.sum_ff) &&
                    AllFinite(core.sum_fd) && AllFinite(core.sum_fy);
  for (auto* sums : {&core.sum_dd, &core.sum_dy, &core.sum_ff, &core.sum_fd, &core.sum_fy}) {
    for (float& s : *sums) s = sane ? s * kFactorDecay : 0.0f;
  }
  for (size_t c = 0; c < width_; ++c) {
    const float dd = core.sum_dd[c] + 1.0f, dy = core.sum_dy[c];
    float d = dy / dd, f = 0.0f;
    if (two) {
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

const float* EcqRows::Base(EcqMode mode, const Source& source) {
  const EcqCore& core = state_->core;
  if (mode != kEcqSlot) return core.mean.data();
  const float visits = static_cast<float>(state_->slots.visits(source.slot));
  EcqBlend(core.mean.data(), state_->slots.mean(source.slot), visits / (visits + kSlotDoubt),
           row_width_, bases_[kEcqSlot].data());
  return bases_[kEcqSlot].data();
}

const float* EcqRows::Predict(EcqMode mode, const Source& source) {
  if (mode == kEcqSample) return source.sample;
  float* prediction = predictions_[mode].data();
  if (!forward_) return prediction;
  const EcqCore& core = state_->core;
  const float* base = Base(mode, source);
  if (base != bases_[mode].data())
    std::memcpy(bases_[mode].data(), base, row_width_ * sizeof(float));
  EcqAddProduct(base, core.factor_d.data(), before_.data(), width_, prediction);
  if (source.earlier != nullptr && row_width_ > width_) {
    std::vector<float>& feature = features_[mode];
    for (size_t c = 0; c < width_; ++c) feature[c] = source.earlier[c] - base[width_ + c];
    EcqAddProduct(prediction, core.factor_f.data(), feature.data(), width_, prediction);
  }
  return prediction;
}

void EcqRows::BeginRow(EcqMode mode) {
  EcqCore& core = state_->core;
  mode_ = mode;
  if (core.rows[mode] == 0) {
    const auto most = std::max_element(core.rows.begin(), core.rows.end());
    if (*most > 0) {
      core.expected[mode] = core.expected[static_cast<size_t>(most - core.rows.begin())];
    } else {
      std::fill(core.expected[mode].begin(), core.expected[mode].end(), start_magnitude_);
    }
    core.rows[mode] = 1;
  }
  active_ = carried_active_;
  expected_ = carried_expected_;
}

const uint8_t* EcqRows::Classes(size_t column, size_t n) {
  const float* expected = state_->core.expected[mode_].data() + column;
  const int32_t ratio = Log(active_ + kActivityPrior) - Log(expected_ + kActivityPrior);
  const int shift = std::clamp((ratio + (1 << 21)) >> 22, -12, 12);
  EcqClassify(expected, shift, n, classes_.data() + column);
  expected_ += EcqSumExpected(expected, n);
  return classes_.data() + column;
}

void EcqRows::Coded(const int32_t* q, size_t n) { active_ += EcqSumCodes(q, n); }

void EcqRows::FinishRow(EcqMode mode, const Source& source, const int32_t* q, const float* x) {
  EcqCore& core = state_->core;
  const int64_t width = static_cast<int64_t>(width_);
  carried_active_ = (active_ - carried_active_) * kCarriedPlaces / width;
  carried_expected_ = (expected_ - carried_expected_) * kCarriedPlaces / width;
  const uint32_t rows = std::min(core.rows[mode] + 1, kExpectedLimit);
  EcqLearnExpected(q, 1.0f / static_cast<float>(rows), width_, core.expected[mode].data());
  core.rows[mode] = rows;
  if (!forward_) return;
  if (mode == kEcqSample) {
    BeginSample();
  } else {
    LearnFactors(x);
  }
  std::memcpy(row_.data(), x, width_ * sizeof(float));
  if (row_width_ > width_ && source.earlier != nullptr)
    std::memcpy(row_.data() + width_, source.earlier, width_ * sizeof(float));
  core.mean_rows = std::min(core.mean_rows + 1, kMeanLimit);
  EcqMoveToward(row_.data(), 1.0f / static_cast<float>(core.mean_rows), row_width_,
                core.mean.data());
  if (source.has_slot) state_->slots.Learn(source.slot, row_.data(), kVisitLimit);
}

// Distances in steps: sums stay in range whatever the values' scale.
void EcqRows::LearnFactors(const float* x) {
  EcqCore& core = state_->core;
  const float* base = bases_[mode_].data();
  if (row_width_ == width_) {
    EcqLearnShift(x, base, inverse_step_, width_, before_.data(), core.sum_dd.data(),
                  core.sum_dy.data());
    return;
  }
  for (size_t c = 0; c < width_; ++c) {
    scaled_d_[c] = before_[c] * inverse_step_;
    scaled_f_[c] = features_[mode_][c] * inverse_step_;
  }
  EcqLearnShift(x, base, inverse_step_, width_, before_.data(), core.sum_dd.data(),
                core.sum_dy.data());
  for (size_t c = 0; c < width_; ++c) scaled_y_[c] = before_[c] * inverse_step_;
  EcqAccumulate(scaled_f_.data(), scaled_f_.data(), width_, core.sum_ff.data());
  EcqAccumulate(scaled_f_.data(), scaled_d_.data(), width_, core.sum_fd.data());
  EcqAccumulate(scaled_f_.data(), scaled_y_.data(), width_, core.sum_fy.data());
}

}  // namespace isthmus
