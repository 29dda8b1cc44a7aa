// The sender's work on one band of a frame: codes its rows, and turns what came out into streams.
#ifndef ISTHMUS_COMPRESSION_ECQ_BAND_ENCODER_H_
#define ISTHMUS_COMPRESSION_ECQ_BAND_ENCODER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "compression/codec.h"
#include "compression/ecq_control.h"
#include "compression/ecq_rows.h"
#include "compression/ecq_sampling.h"
#include "compression/ecq_sources.h"
#include "compression/ecq_visits.h"
#include "compression/ecq_wire.h"
#include "compression/row_noise.h"

namespace isthmus {

// What the bands of a frame have in common.
struct EcqFrameInput {
  const float* x = nullptr;  // rows x width
  size_t rows = 0;
  const FrameContext* context = nullptr;
  const EcqControl* control = nullptr;
  const EcqSampling* sampling = nullptr;
  const EcqPlaces* places = nullptr;
  EcqVisits* visits = nullptr;
  float* errors = nullptr;  // rows x width, decoded - x; null: nobody asks
};

class EcqBandEncoder {
 public:
  EcqBandEncoder(const EdgeShape& shape, const EcqBand& band, EcqState* state);

  // Before Code, which several bands may do at once.
  void BeginFrame(const EcqFrameInput& input);
  // One pass over the rows. False when a code or value is out of reach.
  bool Code();

  absl::Span<const EcqMode> modes() const { return modes_; }
  const EcqMeasure& measure() const { return measure_; }
  // Counts of symbols, kEcqCounters of them.
  const std::vector<uint32_t>& histogram() const { return histogram_; }
  // The rows' symbols by `coder`, before those that it already has.
  void PutSymbols(RansEncoder* coder) const;
  size_t symbols() const { return ops_; }
  // Where codes beyond their tables go: shared with the band before, or its own.
  void set_raw(RawBitWriter* raw) { raw_ = raw; }

 private:
  bool CodeSample(size_t index);
  bool CodeRow(size_t row, const EcqRows::Source& source);
  uint32_t CodePlaces(size_t row, const EcqRowInput& input);
  void KeepError(size_t row);
  void Measure(size_t row, const EcqRowInput& input);
  void EstimateBits();

  const EcqBand band_;
  const size_t width_;  // of the frame
  const bool forward_;
  EcqState* const state_;
  EcqRows rows_;
  EcqSources sources_;
  RowNoise noise_;
  EcqFrameInput in_;
  RawBitWriter* raw_ = nullptr;
  size_t stride_ = 1;
  std::vector<EcqMode> modes_;
  std::vector<uint16_t> codes_;
  size_t ops_ = 0;
  std::vector<float> x_hat_;
  std::vector<uint32_t> histogram_;
  int64_t counted_ = 0;
  EcqMeasure measure_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_BAND_ENCODER_H_
