// The last visits of a frame's samples, as the store has them, and the frame's own decoded rows on
// their way there. All rows of a frame are coded against what was there before it.
#ifndef ISTHMUS_COMPRESSION_ECQ_VISITS_H_
#define ISTHMUS_COMPRESSION_ECQ_VISITS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "compression/codec.h"
#include "compression/ecq_bands.h"
#include "compression/ecq_options.h"
#include "compression/ecq_state.h"

namespace isthmus {

class EcqVisits {
 public:
  EcqVisits(const EcqOptions& options, const EdgeShape& shape, EcqState* state);

  void BeginFrame(const FrameContext& context);
  // A band's columns of token t of the index-th sample; false when there is no visit of as many
  // tokens.
  bool Read(size_t index, size_t t, const EcqBand& band, float* values) const;
  // A decoded row of the frame.
  void Keep(size_t row, const EcqBand& band, const float* values);
  // All rows are kept: they replace their samples' visits. A sample longer than the data has any is
  // not kept.
  void FinishFrame(const FrameContext& context);

 private:
  const size_t width_;
  const bool stores_;
  const size_t most_tokens_;
  EcqState* const state_;
  bool active_ = false;                 // the frame in work reads and is kept
  std::vector<const uint8_t*> visits_;  // by sample; null: none
  std::vector<uint16_t> rows_;          // of the frame, bf16
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_VISITS_H_
