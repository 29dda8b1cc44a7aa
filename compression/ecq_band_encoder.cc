#include "compression/ecq_band_encoder.h"

#include <algorithm>
#include <cmath>

#include "compression/ecq_snapshot.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

// Where cells have their centroids is known after as many places; of the others a quarter will do.
constexpr size_t kAllGaps = 16384;

}  // namespace

EcqBandEncoder::EcqBandEncoder(const EdgeShape& shape, const EcqBand& band, EcqState* state)
    : band_(band),
      width_(static_cast<size_t>(shape.width)),
      forward_(shape.direction == Direction::kForward),
      state_(state),
      rows_(shape, band, state),
      sources_(shape, band, state),
      noise_(shape, band.begin, band.width),
      x_hat_(band.width),
      histogram_(2 * kEcqCounters) {}

void EcqBandEncoder::BeginFrame(const EcqFrameInput& input) {
  in_ = input;
  stride_ = EcqCountStride(input.rows, band_.width);
  modes_.clear();
  ops_ = 0;
  Room(&codes_, input.rows * band_.width);
  std::fill(histogram_.begin(), histogram_.end(), 0u);
  counted_ = 0;
  measure_ = EcqMeasure();
  rows_.BeginFrame(input.control->step(), input.control->start());
  sources_.BeginFrame(input.context, input.places, input.visits);
  noise_.Begin(input.context->step, input.context->samples);
}

bool EcqBandEncoder::Code() {
  for (size_t i = 0; i < in_.context->samples.size(); ++i) {
    if (!CodeSample(i)) return false;
  }
  EcqFoldCounts(histogram_.data());
  EstimateBits();
  return true;
}

bool EcqBandEncoder::CodeSample(size_t index) {
  rows_.BeginSample();
  const SampleRows& sample = in_.context->samples[index];
  const size_t begin = static_cast<size_t>(sample.begin);
  for (size_t t = 0; t < static_cast<size_t>(sample.tokens); ++t) {
    const size_t row = begin + t;
    if (!CodeRow(row, sources_.Of(index, t))) return false;
    in_.visits->Keep(row, band_, x_hat_.data());
    if (in_.errors != nullptr) KeepError(row);
  }
  return true;
}

void EcqBandEncoder::KeepError(size_t row) {
  const size_t at = row * width_ + band_.begin;
  for (size_t c = 0; c < band_.width; ++c) in_.errors[at + c] = x_hat_[c] - in_.x[at + c];
}

bool EcqBandEncoder::CodeRow(size_t row, const EcqRows::Source& source) {
  const float* x = in_.x + row * width_ + band_.begin;
  EcqMode mode = kEcqMean;
  if (forward_) {
    mode = rows_.Choose(x, source);
  } else if (!in_.sampling->keeps(row)) {
    mode = kEcqDropped;
  }
  modes_.push_back(mode);
  if (mode == kEcqDropped) return true;
  const bool measured = row % stride_ == 0;
  rows_.BeginRow(mode, source, measured, measured);
  const float* dither = forward_ ? nullptr : noise_.Row(static_cast<int64_t>(row));
  const EcqRowInput input = {x, rows_.prediction(), dither, rows_.inverse_steps()};
  if (CodePlaces(row, input) > kEcqMostReach) return false;
  if (rows_.FinishRow(source, dither, x_hat_.data()) > kEcqLargestValue) return false;
  if (measured) Measure(row, input);
  return true;
}

uint32_t EcqBandEncoder::CodePlaces(size_t row, const EcqRowInput& input) {
  uint16_t* codes = codes_.data() + ops_;
  ops_ += band_.width;
  const EcqLimits& limits = in_.control->limits();
  const EcqLesson* lesson = rows_.fused_lesson();
  if (lesson == nullptr)
    return EcqCodeRow(input, limits, rows_.row(), rows_.activity(), raw_, codes);
  return EcqCodeAndLearnRow(
      input, limits, rows_.row(), rows_.activity(), raw_, codes,
      {lesson, x_hat_.data(), rows_.fused_largest(), sources_.Next(in_.x, in_.rows, row)});
}

void EcqBandEncoder::Measure(size_t row, const EcqRowInput& input) {
  EcqCountSymbols(rows_.row(), histogram_.data());
  counted_ += static_cast<int64_t>(band_.width);
  if (!forward_) return;
  const bool gaps = row * band_.width < kAllGaps || row / stride_ % 4 == 0;
  measure_.AddRow(rows_.row(), input, x_hat_.data(), in_.control->step(), gaps);
}

// From the rows that were counted.
void EcqBandEncoder::EstimateBits() {
  measure_.elements = static_cast<int64_t>(ops_);
  const RansTables& rans = state_->tables.rans();
  double bits = 0.0;
  for (size_t i = 0; i < kEcqCounters; ++i) {
    if (histogram_[i] == 0) continue;
    const uint32_t frequency = rans.frequency(i / kRansSymbols, i % kRansSymbols);
    bits += histogram_[i] * (double{kRansScaleBits} - std::log2(static_cast<double>(frequency)));
  }
  if (counted_ > 0)
    measure_.bits = bits * static_cast<double>(ops_) / static_cast<double>(counted_);
}

void EcqBandEncoder::PutSymbols(RansEncoder* coder) const {
  coder->Put(state_->tables.rans(), {codes_.data(), ops_}, band_.width);
}

}  // namespace isthmus
