// Everything that both ends of an ecq edge remember, with its undo: what a frame changes is kept or
// undone as a whole (FinishFrame, AbandonFrame), and a step is committed or rolled back.
#ifndef ISTHMUS_COMPRESSION_ECQ_STATE_H_
#define ISTHMUS_COMPRESSION_ECQ_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "compression/codec.h"
#include "compression/ecq_bands.h"
#include "compression/ecq_options.h"
#include "compression/ecq_side_coder.h"
#include "compression/ecq_slots.h"
#include "compression/ecq_tables.h"
#include "compression/sample_store.h"
#include "compression/slot_memory.h"

namespace isthmus {

// How a row is predicted, or that it is not there.
enum EcqMode : uint8_t {
  kEcqMean = 0,    // the channel's running mean (gradients: zero)
  kEcqSlot = 1,    // the mean of its slot
  kEcqSample = 2,  // the sample's last visit
  kEcqDropped = 3  // gradients: the row is zero
};
inline constexpr size_t kEcqModes = 4;

// The small part: copied whole at the begin of a frame and of a step.
struct EcqCore {
  // `width` channels, of which the running mean has `row_width` (twice as many where an earlier
  // edge's rows go along).
  EcqCore(size_t width, size_t row_width, size_t num_slots);

  uint64_t lineage = 0;  // a hash over the bytes of all training frames so far; 0: none
  uint64_t frames = 0;
  EcqTables::State tables;
  float step = 0.0f;  // of the last frame; 0: none yet
  // Per mode the expected |q| of every channel, and how many rows taught it, by band.
  std::array<std::vector<float>, kEcqModes> expected;
  std::array<std::array<uint32_t, kEcqModes>, kEcqMostBands> rows{};
  // Running mean per channel.
  std::vector<float> mean;
  std::array<uint32_t, kEcqMostBands> mean_rows{};
  // Per channel: what of the row before's distance from its mean or slot carries over, and what of
  // the earlier edge's. Sums of products and the factors that were made of them.
  std::vector<float> sum_dd, sum_dy, factor_d;
  std::vector<float> sum_ff, sum_fd, sum_fy, factor_f;
  // log2 of the channel's weight, in quarters.
  std::vector<int8_t> weights;
  std::vector<AdaptiveCounts> mode_counts;  // by the row before's mode
  AdaptiveCounts slot_counts, id_counts, weight_counts;

  void Write(Bytes* out) const;
  bool Read(ByteReader* in);  // false for what Write does not write; half read then
  int64_t StateBytes() const;
};

// Memory for the rows of a store of samples: in RAM, or in a file under the shape's folder.
absl::StatusOr<std::unique_ptr<SlotMemory>> MakeEcqRows(const EcqOptions& options,
                                                        const EdgeShape& shape);

class EcqState {
 public:
  // `rows` holds the samples' decoded rows.
  EcqState(const EcqOptions& options, const EdgeShape& shape, std::unique_ptr<SlotMemory> rows);

  EcqCore core;
  EcqTables tables;
  EcqSlots slots;       // of rows; twice the width where an earlier edge's rows go along
  SampleStore samples;  // decoded rows, bf16
  SampleStore ids;      // slot numbers of a sample's rows

  void BeginFrame();
  void FinishFrame();  // keeps what the frame changed
  // … and writes its bytes into the lineage.
  void FinishTraining(absl::Span<const uint8_t> frame);
  void AbandonFrame();  // undoes it
  void Commit();
  void Rollback();
  void Clear();  // as new, a boundary of its own
  // What *other holds, its undo included; the rows of samples stay in our memory.
  void Adopt(EcqState&& other);

  bool in_step() const { return in_step_; }
  void Write(Bytes* out) const;
  absl::Status Read(ByteReader* in);
  uint64_t Hash() const;
  // Of what every frame depends on, without the stores of samples: what a frame's check is of.
  uint64_t CheckHash() const;
  int64_t StateBytes() const;
  static Codec::StateSize StateSizeFor(const EcqOptions& options, const EdgeShape& shape);

 private:
  void SetCore(const EcqCore& from);

  EcqOptions options_;
  EdgeShape shape_;
  EcqCore frame_start_, boundary_;
  size_t slots_mark_ = 0, samples_mark_ = 0, ids_mark_ = 0;
  bool in_step_ = false;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_STATE_H_
