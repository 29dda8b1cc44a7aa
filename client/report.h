// report.json: what a run says of itself when it ends, and the rows of bytes in it.
#ifndef ISTHMUS_CLIENT_REPORT_H_
#define ISTHMUS_CLIENT_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "compression/codec.h"

namespace isthmus {

// Everything one edge put on the socket in one direction. Resent bytes are inside payload, side and
// header and shown again.
struct WireRow {
  uint32_t edge = 0;
  Direction direction = Direction::kForward;
  std::string codec;       // as the user wrote it
  std::string codec_full;  // the canonical composition
  int64_t elements = 0;    // of real tokens
  int64_t payload_bytes = 0;
  int64_t side_bytes = 0;
  int64_t header_bytes = 0;
  int64_t key_frames = 0;
  int64_t resends = 0;
  int64_t resend_bytes = 0;

  int64_t wire_bytes() const { return payload_bytes + side_bytes + header_bytes; }
};

// Sums of all rows of a direction: 8 * wire bytes / elements, 0 without elements.
double BitsPerElementOf(const std::vector<WireRow>& rows, Direction direction);

struct Report {
  enum class Outcome : uint8_t { kCompleted, kInterrupted, kFailed };

  struct Loss {  // nats per predicted token; absent ones are null
    std::optional<double> train_first, train_last;
    std::optional<double> eval_before, eval_after, eval_after_uncompressed_cut;
  };
  struct Time {
    double wall_s =
        0.0;  // start of the first step to end of the last, without evaluation and checkpoints
    double total_s = 0.0;           // of the process
    double predicted_step_s = 0.0;  // by the plan, mean over the run: beside wall_s / steps
    double compute_s = 0.0, encode_s = 0.0, decode_s = 0.0, wait_s = 0.0;
  };
  // codec: auto. Decibels against the codec's own target from the step after `step` on, and the
  // step time over computing alone that led there.
  struct QualityChange {
    int64_t step = 0;
    double offset_db = 0.0;
    double ratio = 0.0;
  };
  struct Process {
    std::string role;  // "client", "worker w0"
    int64_t peak_rss_bytes = 0;
  };

  std::string isthmus_version;
  uint64_t seed = 0;
  std::string job_json = "{}";  // the resolved job, one JSON object
  Outcome outcome = Outcome::kFailed;
  int64_t steps = 0;
  std::optional<int64_t> resumed_from_step;
  Loss loss;
  std::vector<WireRow> wire;       // training traffic only
  std::vector<WireRow> wire_eval;  // the same rows for evaluation
  Time time;
  std::optional<std::vector<QualityChange>> quality;  // absent when the job names its codec
  int64_t tokens = 0;
  double tokens_per_s = 0.0;
  std::vector<Process> processes;
  int64_t recoveries = 0;

  std::string ToJson() const;   // indented, ends with a newline
  std::string Summary() const;  // a few lines for people
  // kInvalidArgument naming the key that is missing or of another type.
  static absl::StatusOr<Report> Parse(absl::string_view json);
};

absl::string_view Name(Report::Outcome outcome);  // "completed", "interrupted", "failed"

// The program's version, "0.1.0".
absl::string_view IsthmusVersion();

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_REPORT_H_
