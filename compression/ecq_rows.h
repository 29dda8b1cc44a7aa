// What both ends of an ecq edge do row by row, in the same order: predict the row, say which class
// every place belongs to, turn codes into values, and learn from them. Only the sender sees the row
// itself, and only the codes travel.
//
// A class comes from the expected |q| of its channel under the row's mode, moved by how active the
// row has been so far: the codes of earlier chunks of this row, and a little of the row before.
#ifndef ISTHMUS_COMPRESSION_ECQ_ROWS_H_
#define ISTHMUS_COMPRESSION_ECQ_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "compression/ecq_state.h"

namespace isthmus {

class EcqRows {
 public:
  EcqRows(const EdgeShape& shape, EcqState* state);

  // `start` is the header's code of the expected magnitude
  // where nothing was learned yet.
  void BeginFrame(float step, uint8_t start);
  void BeginSample();

  // What a row is predicted from. `slot` needs visits where the mode is kEcqSlot.
  struct Source {
    bool has_slot = false;
    uint32_t slot = 0;
    const float* sample = nullptr;   // the last visit's row
    const float* earlier = nullptr;  // the earlier edge's row
  };
  // The prediction under a mode; valid until the next call with the same mode.
  const float* Predict(EcqMode mode, const Source& source);

  // A row: BeginRow, then chunk by chunk Classes and Coded, then FinishRow.
  void BeginRow(EcqMode mode);
  size_t chunk() const { return chunk_; }
  const uint8_t* Classes(size_t column, size_t n);  // n classes
  void Coded(const int32_t* q, size_t n);
  // x: the decoded row.
  void FinishRow(EcqMode mode, const Source& source, const int32_t* q, const float* x);

  const float* steps() const { return steps_.data(); }
  const float* inverse_steps() const { return inverse_steps_.data(); }
  const float* gaps() const { return gaps_.data(); }
  const uint8_t* row_classes() const { return classes_.data(); }

  // The expected magnitude behind a start code, and the code next to a magnitude.
  static float StartMagnitude(uint8_t start);
  static uint8_t StartCode(double magnitude);

 private:
  void Rescale(float step);
  void FitFactors();
  void LearnFactors(const float* x);
  const float* Base(EcqMode mode, const Source& source);

  const size_t width_, row_width_, chunk_;
  const bool forward_;
  EcqState* const state_;
  std::vector<float> steps_, inverse_steps_, gaps_;
  float start_magnitude_ = 0.0f, inverse_step_ = 0.0f;
  // By mode: the prediction and, for mean and slot, what it started from.
  std::vector<float> predictions_[kEcqModes], bases_[kEcqModes];
  std::vector<float> before_;  // the row before's distance from its base; zero: none
  // The earlier edge's distance from its base, by mode.
  std::vector<float> features_[2];
  std::vector<float> row_, scaled_d_, scaled_y_, scaled_f_;
  std::vector<uint8_t> classes_;
  EcqMode mode_ = kEcqMean;
  int64_t active_ = 0, expected_ = 0;                  // of this row so far
  int64_t carried_active_ = 0, carried_expected_ = 0;  // of the row before
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_ROWS_H_
