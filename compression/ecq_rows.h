// What both ends of an ecq edge do row by row in one band of columns, in the same order: predict
// the row, code its places or read them, turn codes into values, and learn from them. Only the
// sender sees the row itself, and only the codes travel.
//
// Threads: bands of one state may be worked on at the same time. A band changes its own columns of
// the state only.
#ifndef ISTHMUS_COMPRESSION_ECQ_ROWS_H_
#define ISTHMUS_COMPRESSION_ECQ_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "compression/ecq_bands.h"
#include "compression/ecq_kernels.h"
#include "compression/ecq_row_codes.h"
#include "compression/ecq_state.h"

namespace isthmus {

class EcqRows {
 public:
  EcqRows(const EdgeShape& shape, const EcqBand& band, EcqState* state);

  // `start` is the header's code of the expected magnitude where nothing was learned yet. The
  // state's step is still the last frame's.
  void BeginFrame(float step, uint8_t start);
  void BeginSample();

  // What a row is predicted from; pointers to the band's columns.
  struct Source {
    EcqSlots::Place place;
    const float* sample = nullptr;   // the last visit's row
    const float* earlier = nullptr;  // the earlier edge's row
  };
  // Whether a forward row can have this mode.
  static bool Possible(EcqMode mode, const Source& source);
  // The sender's: which mode is likely to cost the least.
  EcqMode Choose(const float* x, const Source& source);

  // A row: BeginRow, then its codes into row() by *activity(), then FinishRow, which writes the
  // values and returns the bits of the largest magnitude. The prediction is valid until the next
  // row. Where a lesson is given out the coding learns it, and there is no prediction:
  // `in_sight` keeps the prediction. `counts`: factors learn from the row. `dither` for gradients
  // only.
  void BeginRow(EcqMode mode, const Source& source, bool in_sight, bool counts);
  const float* prediction() const { return prediction_; }
  const EcqRow& row() const { return row_; }
  EcqActivity* activity() { return &activity_; }
  const EcqLesson* fused_lesson() const { return fused_ ? &lesson_ : nullptr; }
  uint32_t* fused_largest() { return &largest_; }
  uint32_t FinishRow(const Source& source, const float* dither, float* x);

  const float* inverse_steps() const { return inverse_steps_.data(); }

  // The expected magnitude behind a start code, and the code next to a magnitude.
  static float StartMagnitude(uint8_t start);
  static uint8_t StartCode(double magnitude);

 private:
  void Rescale(float step);
  void FitFactors();
  EcqPredictor PredictorOf(EcqMode mode, const Source& source) const;
  const float* Predict(EcqMode mode, const Source& source);
  EcqLesson LessonOf(const Source& source, bool counts);
  void KeepBase();
  void LearnEarlier(const Source& source, const float* x);

  const EcqBand band_;
  const size_t earlier_;  // where the earlier edge's part of this band begins
  const bool forward_, has_earlier_;
  EcqState* const state_;
  std::vector<float> steps_, inverse_steps_, gaps_;
  float start_magnitude_ = 0.0f, inverse_step_ = 0.0f;
  std::vector<float> predicted_;
  const float* prediction_ = nullptr;
  std::vector<float> before_;  // the row before's distance from its base; zero: none
  // With an earlier edge: what the row started from, and the earlier row's distance from its own.
  std::vector<float> base_, feature_;
  std::vector<float> scaled_d_, scaled_y_, scaled_f_;
  std::vector<uint8_t> classes_;
  std::vector<int32_t> q_;
  EcqRow row_{};
  EcqMode mode_ = kEcqMean;
  EcqLesson lesson_{};
  bool fused_ = false;
  uint32_t largest_ = 0;
  EcqActivity activity_;  // of this row so far
  EcqActivity carried_;   // of the row before
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_ROWS_H_
