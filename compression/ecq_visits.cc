#include "compression/ecq_visits.h"

#include "compression/ecq_snapshot.h"
#include "compression/kernels.h"
#include "compression/scratch.h"

namespace isthmus {

EcqVisits::EcqVisits(const EcqOptions& options, const EdgeShape& shape, EcqState* state)
    : width_(static_cast<size_t>(shape.width)),
      stores_(StoresSamples(options, shape)),
      most_tokens_(options.mapped ? static_cast<size_t>(shape.max_sample_tokens) : SIZE_MAX),
      state_(state) {}

void EcqVisits::BeginFrame(const FrameContext& context) {
  active_ = stores_ && context.training;
  visits_.clear();
  if (!active_) return;
  size_t rows = 0;
  for (const SampleRows& sample : context.samples) {
    SampleStore::Row row;
    const bool known = sample.tokens > 0 && state_->samples.Find(sample.sample, &row) &&
                       row.tokens == static_cast<uint64_t>(sample.tokens);
    visits_.push_back(known ? row.bytes.data() : nullptr);
    rows += static_cast<size_t>(sample.tokens);
  }
  Room(&rows_, rows * width_);
}

bool EcqVisits::Read(size_t index, size_t t, const EcqBand& band, float* values) const {
  if (!active_ || visits_[index] == nullptr) return false;
  const auto* visit = reinterpret_cast<const uint16_t*>(visits_[index]);
  FloatsFromBf16(visit + t * width_ + band.begin, band.width, values);
  return true;
}

void EcqVisits::Keep(size_t row, const EcqBand& band, const float* values) {
  if (active_) Bf16FromFloats(values, band.width, rows_.data() + row * width_ + band.begin);
}

void EcqVisits::FinishFrame(const FrameContext& context) {
  if (!active_) return;
  for (const SampleRows& sample : context.samples) {
    const size_t tokens = static_cast<size_t>(sample.tokens), n = tokens * width_;
    if (tokens == 0 || tokens > most_tokens_) continue;
    const uint16_t* rows = rows_.data() + static_cast<size_t>(sample.begin) * width_;
    state_->samples.Put(sample.sample,
                        {static_cast<uint32_t>(tokens),
                         0,
                         {reinterpret_cast<const uint8_t*>(rows), n * sizeof(uint16_t)}});
  }
}

}  // namespace isthmus
