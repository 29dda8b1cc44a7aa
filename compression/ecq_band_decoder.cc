#include "compression/ecq_band_decoder.h"

#include <algorithm>

namespace isthmus {

EcqBandDecoder::EcqBandDecoder(const EdgeShape& shape, const EcqBand& band, EcqState* state)
    : band_(band),
      width_(static_cast<size_t>(shape.width)),
      forward_(shape.direction == Direction::kForward),
      state_(state),
      rows_(shape, band, state),
      sources_(shape, band, state),
      noise_(shape, band.begin, band.width),
      histogram_(2 * kEcqCounters) {}

void EcqBandDecoder::BeginFrame(const EcqFrameOutput& output, absl::Span<const uint8_t> modes) {
  out_ = output;
  modes_ = modes;
  stride_ = EcqCountStride(output.rows, band_.width);
  std::fill(histogram_.begin(), histogram_.end(), 0u);
  rows_.BeginFrame(output.step, output.start);
  sources_.BeginFrame(output.context, output.places, output.visits);
  noise_.Begin(output.context->step, output.context->samples);
}

bool EcqBandDecoder::Decode(EcqStream* stream) {
  for (size_t i = 0; i < out_.context->samples.size(); ++i) {
    if (!DecodeSample(i, stream)) return false;
  }
  EcqFoldCounts(histogram_.data());
  return true;
}

bool EcqBandDecoder::DecodeSample(size_t index, EcqStream* stream) {
  rows_.BeginSample();
  const SampleRows& sample = out_.context->samples[index];
  const size_t begin = static_cast<size_t>(sample.begin);
  for (size_t t = 0; t < static_cast<size_t>(sample.tokens); ++t) {
    const size_t row = begin + t;
    const EcqRows::Source source = sources_.Of(index, t);
    const EcqMode mode = static_cast<EcqMode>(modes_[row]);
    if (!DecodeRow(mode, row, source, stream)) return false;
  }
  return true;
}

bool EcqBandDecoder::ReadPlaces(size_t row, float* x, EcqStream* stream) {
  const RansTables& tables = state_->tables.rans();
  const EcqLesson* lesson = rows_.fused_lesson();
  if (lesson == nullptr)
    return EcqReadRow(tables, rows_.row(), rows_.activity(), &stream->coder, &stream->raw);
  return EcqReadAndLearnRow(
      tables, rows_.row(), rows_.activity(), &stream->coder, &stream->raw,
      {lesson, x, rows_.fused_largest(), sources_.Next(out_.x, out_.rows, row)});
}

bool EcqBandDecoder::DecodeRow(EcqMode mode, size_t row, const EcqRows::Source& source,
                               EcqStream* stream) {
  float* x = out_.x + row * width_ + band_.begin;
  if (mode == kEcqDropped && !forward_) {
    std::fill_n(x, band_.width, 0.0f);
    return true;
  }
  if (!EcqRows::Possible(mode, source)) return false;
  rows_.BeginRow(mode, source, false, row % stride_ == 0);
  if (!ReadPlaces(row, x, stream)) return false;
  if (row % stride_ == 0) EcqCountSymbols(rows_.row(), histogram_.data());
  const float* dither = forward_ ? nullptr : noise_.Row(static_cast<int64_t>(row));
  if (rows_.FinishRow(source, dither, x) > kEcqLargestValue) return false;
  out_.visits->Keep(row, band_, x);
  return true;
}

}  // namespace isthmus
