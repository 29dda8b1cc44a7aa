// The sender's choices that both ends never derive: the step of a frame from the target, when a
// value rounds to zero although it is nearer to one, and which centroids are worth sending. All of
// it is sent, so it may use any arithmetic.
#ifndef ISTHMUS_COMPRESSION_ECQ_CONTROL_H_
#define ISTHMUS_COMPRESSION_ECQ_CONTROL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "compression/codec.h"
#include "compression/ecq_options.h"
#include "compression/ecq_row_codes.h"
#include "compression/ecq_state.h"

namespace isthmus {

struct EcqCentroid {
  uint8_t table;
  uint8_t level;
  int8_t value;
};

// What one pass over a frame, or a band of it, cost and lost.
struct EcqMeasure {
  int64_t elements = 0;
  double bits = 0.0;
  // Of the rows that were looked at.
  int64_t measured = 0;
  double error = 0.0;  // squared, of them all
  std::array<double, kEcqPlainClasses * kEcqCentroids> count{}, gap{};

  // Adds one coded row; `gaps`: to the statistics of cells too.
  void AddRow(const EcqRow& row, const EcqRowInput& input, const float* x_hat, float step,
              bool gaps);
  void Add(const EcqMeasure& other);
};

class EcqControl {
 public:
  EcqControl(const EcqOptions& options, const EdgeShape& shape);

  // Looks at the values, rows x width of them.
  Extent Look(const float* x, size_t rows);
  // For the values that were looked at, finite ones, of which `kept` rows are coded; `weights` are
  // the channels' (log2 in quarters). False where the values are too small for a step.
  bool BeginFrame(size_t kept, const FrameContext& context, const int8_t* weights);
  // Of the target, in decibels (6.02 of them a bit), until the next call.
  void SetOffset(double db) { offset_db_ = db; }
  float step() const { return step_; }
  uint8_t start() const { return start_; }

  // Before a pass: what centroids change with this frame, also in *tables; and where rounding to
  // zero ends, by class.
  void UpdateCentroids(EcqTables* tables, std::vector<EcqCentroid>* updates);
  const EcqLimits& limits() const { return limits_; }

  // After a pass: whether the frame meets its target, or else with which step it is tried again.
  bool Accepts(const EcqMeasure& measure);
  // The frame is sent.
  void Learn(const FrameContext& context);

  void Commit() { boundary_ = now_; }
  void Rollback() { now_ = boundary_; }
  void Clear();
  void Write(Bytes* out) const;
  bool Read(ByteReader* in);

 private:
  // What earlier frames taught.
  struct Memory {
    double signal = 0.0;      // variance of a value, 0: not known
    double share = 1.0 / 12;  // error of a value / step^2
    double log_step = 0.0;    // bits and bytes: log2(step / root of the signal)
    bool has_step = false;
    std::array<double, kEcqPlainClasses * kEcqCentroids> count{}, gap{};
  };

  double Signal(size_t kept, const int8_t* weights) const;
  void SetStep(double step);
  bool TryAgain(double miss, double slope_low, double slope_high, double tolerance);
  void FitThresholds(const EcqTables& tables);

  const EcqOptions options_;
  const size_t width_;
  const bool forward_;
  Memory now_, boundary_;
  // The gaps of the last pass; kept by Learn.
  std::array<double, kEcqPlainClasses * kEcqCentroids> count_{}, gap_{};
  std::vector<double> sums_, squares_;
  EcqLimits limits_{};
  double signal_ = 0.0, target_error_ = 0.0, target_bits_ = 0.0, most_step_ = 0.0;
  double offset_db_ = 0.0;
  double last_miss_ = 0.0, last_log_step_ = 0.0, share_ = 1.0 / 12;
  size_t rows_ = 0;
  int attempts_ = 0;
  float step_ = 0.0f;
  uint8_t start_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_CONTROL_H_
