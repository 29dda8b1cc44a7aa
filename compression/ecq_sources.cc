#include "compression/ecq_sources.h"

namespace isthmus {

EcqSources::EcqSources(const EdgeShape& shape, const EcqBand& band, const EcqState* state)
    : band_(band),
      width_(static_cast<size_t>(shape.width)),
      forward_(shape.direction == Direction::kForward),
      state_(state),
      visit_(band.width) {}

void EcqSources::BeginFrame(const FrameContext* context, const EcqPlaces* places,
                            const EcqVisits* visits) {
  context_ = context;
  places_ = places;
  visits_ = visits;
}

EcqRows::Source EcqSources::Of(size_t index, size_t t) {
  const size_t row = static_cast<size_t>(context_->samples[index].begin) + t;
  EcqRows::Source source;
  if (forward_) source.place = places_->at(row);
  if (visits_->Read(index, t, band_, visit_.data())) source.sample = visit_.data();
  if (!context_->earlier_TD.empty())
    source.earlier = context_->earlier_TD.data() + row * width_ + band_.begin;
  return source;
}

std::array<const float*, 2> EcqSources::Next(const float* matrix, size_t rows, size_t row) const {
  const size_t next = row + 1 < rows ? row + 1 : row;
  const float* values = matrix + next * width_ + band_.begin;
  const EcqSlots::Place& place = places_->at(next);
  return {values, place.named ? state_->slots.mean(place.slot) + band_.begin : values};
}

}  // namespace isthmus
