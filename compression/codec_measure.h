// Rate, distortion and speed of one codec on one matrix or on captured frames: what `isthmus codec
// bench` prints.
#ifndef ISTHMUS_COMPRESSION_CODEC_MEASURE_H_
#define ISTHMUS_COMPRESSION_CODEC_MEASURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "compression/codec.h"

namespace isthmus {

struct CodecMeasure {
  std::string codec_full;
  int64_t elements = 0;
  double bits_per_element = 0;  // payload and side information; no frame header
  double snr_db = 0;            // +infinity where nothing is lost
  double encode_gb_per_s = 0;   // of fp32, by the thread's processor time
  double decode_gb_per_s = 0;
  int64_t state_bytes = 0;  // of the encoder after the run
};

// Codes x_TD (rows of `width` values, one frame of samples of 128 rows) as activations. Rate and
// distortion are those of the first visit of every sample: nothing is known before. Times are
// medians over `turns` later frames, whose values moved by a tenth of their size, as training moves
// them.
absl::StatusOr<CodecMeasure> MeasureCodec(absl::string_view spec, absl::Span<const float> x_TD,
                                          int64_t width, int turns = 3);

// A frame as it went over an edge, before encoding.
struct CapturedFrame {
  std::vector<float> x_TD;
  std::vector<SampleRows> samples;
  std::vector<uint32_t> row_ids;  // may be empty
  uint64_t step = 0;
  uint32_t micro_batch = 0;
};
struct CapturedEdge {
  int64_t width = 0;
  Direction direction = Direction::kForward;
  bool shared_row_ids = false;
  std::vector<CapturedFrame> frames;  // in the order they were sent, every one of whole rows
};

// Replays the frames from a cold start, state advancing as in the run. Rate and distortion are of
// all of them; times are the sum over the frames.
absl::StatusOr<CodecMeasure> MeasureCapture(absl::string_view spec, const CapturedEdge& edge);

// Copies of the same size, median of `turns`.
double MemcpyGbPerS(int64_t elements, int turns = 5);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_CODEC_MEASURE_H_
