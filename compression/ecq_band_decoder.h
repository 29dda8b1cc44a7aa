// The receiver's work on one band of a frame.
#ifndef ISTHMUS_COMPRESSION_ECQ_BAND_DECODER_H_
#define ISTHMUS_COMPRESSION_ECQ_BAND_DECODER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "compression/codec.h"
#include "compression/ecq_rows.h"
#include "compression/ecq_sources.h"
#include "compression/ecq_visits.h"
#include "compression/ecq_wire.h"
#include "compression/row_noise.h"

namespace isthmus {

// One entropy-coded stream of a frame and the bits beside it.
struct EcqStream {
  RansDecoder coder;
  RawBitReader raw{{}};
};

// What the bands of a frame have in common.
struct EcqFrameOutput {
  float* x = nullptr;  // rows x width
  size_t rows = 0;
  const FrameContext* context = nullptr;
  const EcqPlaces* places = nullptr;
  EcqVisits* visits = nullptr;
  float step = 0.0f;
  uint8_t start = 0;
};

class EcqBandDecoder {
 public:
  EcqBandDecoder(const EdgeShape& shape, const EcqBand& band, EcqState* state);

  // Before Decode, which several bands may do at once when their streams differ. `modes` by row.
  void BeginFrame(const EcqFrameOutput& output, absl::Span<const uint8_t> modes);
  // False for what no sender writes; the state is half changed then.
  bool Decode(EcqStream* stream);

  // Counts of symbols, kEcqCounters of them.
  const std::vector<uint32_t>& histogram() const { return histogram_; }

 private:
  bool DecodeSample(size_t index, EcqStream* stream);
  bool ReadPlaces(size_t row, float* x, EcqStream* stream);
  bool DecodeRow(EcqMode mode, size_t row, const EcqRows::Source& source, EcqStream* stream);

  const EcqBand band_;
  const size_t width_;  // of the frame
  const bool forward_;
  EcqState* const state_;
  EcqRows rows_;
  EcqSources sources_;
  RowNoise noise_;
  EcqFrameOutput out_;
  absl::Span<const uint8_t> modes_;
  size_t stride_ = 1;
  std::vector<uint32_t> histogram_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_BAND_DECODER_H_
