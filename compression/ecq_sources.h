// What the rows of a band are predicted from, as both ends of an ecq edge look it up.
#ifndef ISTHMUS_COMPRESSION_ECQ_SOURCES_H_
#define ISTHMUS_COMPRESSION_ECQ_SOURCES_H_

#include <array>
#include <cstddef>
#include <vector>

#include "compression/codec.h"
#include "compression/ecq_rows.h"
#include "compression/ecq_visits.h"
#include "compression/ecq_wire.h"

namespace isthmus {

class EcqSources {
 public:
  EcqSources(const EdgeShape& shape, const EcqBand& band, const EcqState* state);

  // Of the frame in work; they outlive it.
  void BeginFrame(const FrameContext* context, const EcqPlaces* places, const EcqVisits* visits);

  // Of token t of the index-th sample; valid until the next call.
  EcqRows::Source Of(size_t index, size_t t);
  // The values and the slot of the row after `row` in a matrix of `rows` rows: what the caches are
  // asked for ahead of time.
  std::array<const float*, 2> Next(const float* matrix, size_t rows, size_t row) const;

 private:
  const EcqBand band_;
  const size_t width_;  // of the frame
  const bool forward_;
  const EcqState* const state_;
  const FrameContext* context_ = nullptr;
  const EcqPlaces* places_ = nullptr;
  const EcqVisits* visits_ = nullptr;
  std::vector<float> visit_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_SOURCES_H_
