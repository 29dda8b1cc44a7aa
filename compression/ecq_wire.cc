#include "compression/ecq_wire.h"

#include <algorithm>
#include <cstring>

#include "compression/band_threads.h"
#include "compression/ecq_bands.h"

namespace isthmus {

void EcqPlaces::Begin(const FrameContext& context) {
  const size_t rows =
      context.samples.empty()
          ? 0
          : static_cast<size_t>(context.samples.back().begin + context.samples.back().tokens);
  places_.assign(rows, {});
  ids_.clear();
}

void EcqPlaces::End() {
  EcqSlots& slots = state_->slots;
  slots.Announce(absl::MakeSpan(places_));
  const size_t width = static_cast<size_t>(shape_.width), bands = EcqBands(width);
  const auto save = [&](size_t b) {
    const EcqBand band = EcqBandOf(width, b);
    slots.Save(band.begin, band.width);
    if (shape_.shared_earlier) slots.Save(width + band.begin, band.width);
  };
  if (EcqStreams(places_.size(), width) > 1) {
    ForBands(bands, save);
  } else {
    for (size_t b = 0; b < bands; ++b) save(b);
  }
  for (const EcqSlots::Place& place : places_) {
    if (!place.named) break;
    ids_.push_back(place.slot);
  }
  if (ids_.size() < places_.size()) ids_.clear();
}

// The slot numbers of the sample's last visit, if it had as many rows.
bool EcqPlaces::Known(const SampleRows& sample, std::vector<uint16_t>* slots) const {
  SampleStore::Row row;
  if (!state_->ids.Find(sample.sample, &row) ||
      row.tokens != static_cast<uint64_t>(sample.tokens)) {
    return false;
  }
  slots->resize(row.tokens);
  if (row.tokens > 0) std::memcpy(slots->data(), row.bytes.data(), row.tokens * 2);
  return true;
}

void EcqPlaces::Keep(const SampleRows& sample) {
  const bool bounded = options_.capacity > 0 || shape_.num_samples > 0;
  if (!bounded || sample.tokens == 0) return;
  slots_.clear();
  for (int64_t t = sample.begin; t < sample.begin + sample.tokens; ++t)
    slots_.push_back(static_cast<uint16_t>(places_[static_cast<size_t>(t)].slot));
  state_->ids.Put(sample.sample,
                  {static_cast<uint32_t>(sample.tokens),
                   0,
                   {reinterpret_cast<const uint8_t*>(slots_.data()), slots_.size() * 2}});
}

void EcqPlaces::Assign(const FrameContext& context, SideEncoder* side) {
  Begin(context);
  AdaptiveCounts* counts = &state_->core.slot_counts;
  for (const SampleRows& sample : context.samples) {
    if (context.row_ids.empty() || !options_.slots) {
      if (side != nullptr && options_.slots) side->Put(&state_->core.id_counts, kEcqNoIds);
      continue;
    }
    const bool stored = context.training && side != nullptr;
    const bool known = stored && Known(sample, &known_);
    bool same = known;
    for (size_t i = 0; i < static_cast<size_t>(sample.tokens); ++i) {
      const size_t row = static_cast<size_t>(sample.begin) + i;
      places_[row] = state_->slots.PlaceOf(context.row_ids[row]);
      same = same && !places_[row].fresh && places_[row].slot == known_[i];
    }
    if (side == nullptr) continue;
    side->Put(&state_->core.id_counts, same ? kEcqKnownIds : kEcqSentIds);
    for (size_t i = 0; i < static_cast<size_t>(sample.tokens) && !same; ++i) {
      const EcqSlots::Place place = places_[static_cast<size_t>(sample.begin) + i];
      side->Put(counts, place.fresh ? state_->slots.capacity() : place.slot);
      if (!place.fresh) continue;
      counts->Add(place.slot, -int64_t{counts->Count(place.slot)});
      counts->Bump(place.slot);
    }
    if (stored && !same) Keep(sample);
  }
  End();
}

bool EcqPlaces::Receive(const FrameContext& context, SideDecoder* side) {
  Begin(context);
  AdaptiveCounts* counts = &state_->core.slot_counts;
  for (const SampleRows& sample : context.samples) {
    if (!options_.slots) continue;
    const size_t how = side->Get(&state_->core.id_counts);
    if (how == kEcqNoIds) continue;
    const bool known = how == kEcqKnownIds;
    if (known && (!context.training || !Known(sample, &known_))) return false;
    for (size_t i = 0; i < static_cast<size_t>(sample.tokens); ++i) {
      const size_t row = static_cast<size_t>(sample.begin) + i;
      const size_t symbol = known ? known_[i] : side->Get(counts);
      const bool fresh = symbol == state_->slots.capacity();
      if (!fresh && symbol >= state_->slots.used()) return false;
      places_[row] = state_->slots.Take(fresh, static_cast<uint32_t>(symbol));
      if (!fresh) continue;
      const uint32_t slot = places_[row].slot;
      counts->Add(slot, -int64_t{counts->Count(slot)});
      counts->Bump(slot);
    }
    if (context.training && !known) Keep(sample);
  }
  End();
  return true;
}

}  // namespace isthmus
