#include "compression/frame_estimate.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "compression/bit_ramp.h"
#include "compression/spec.h"
#include "compression/synthetic_source.h"

namespace isthmus {
namespace {

constexpr int64_t kMaxRows = 128;
constexpr int64_t kLongRun = int64_t{1} << 40;  // no width falls within two frames
constexpr float kChange = 0.1f;                 // of a value's size, from one visit to the next

bool FindNumber(const SpecPart& part, absl::string_view key, double* number) {
  for (const SpecArgument& argument : part.arguments)
    if (argument.key == key) return absl::SimpleAtod(argument.value, number);
  return false;
}

// What the widths of gates lose against those of the first frames, mean over the run.
absl::StatusOr<double> BitsLost(const Codec& codec, const EdgeShape& shape) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<SpecPart> parts, ParseSpec(codec.canonical()));
  double start = 0, target = 0;
  const bool ramps =
      FindNumber(parts[0], "start", &start) && FindNumber(parts[0], "target", &target);
  if (!ramps || start <= target) return 0.0;
  return (start - target) * (1.0 - BitRamp(shape.total_steps).MeanLeft());
}

}  // namespace

absl::StatusOr<FrameEstimate> EstimateFrame(const Codec& codec, const EdgeShape& shape) {
  const int64_t tokens = std::clamp<int64_t>(shape.max_sample_tokens, 1, kMaxRows);
  EdgeShape small = shape;
  small.num_samples = 1;
  small.max_sample_tokens = tokens;
  small.state_dir.clear();
  small.total_steps = kLongRun;
  // The place of a store changes no byte of a frame, and whoever plans need not be able to write.
  ISTHMUS_ASSIGN_OR_RETURN(
      const std::shared_ptr<const Codec> in_memory,
      Codec::Parse(absl::StrReplaceAll(codec.canonical(), {{"store=mmap", "store=ram"}})));
  ISTHMUS_ASSIGN_OR_RETURN(const std::unique_ptr<Encoder> encoder, in_memory->MakeEncoder(small));
  ISTHMUS_ASSIGN_OR_RETURN(std::vector<float> rows,
                           SyntheticValues("gaussian", tokens, shape.width));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<float> change,
                           SyntheticValues("gaussian", tokens, shape.width, /*seed=*/2));
  std::vector<uint32_t> ids(static_cast<size_t>(tokens));
  std::iota(ids.begin(), ids.end(), 0u);
  const SampleRows sample{0, 0, tokens};
  FrameEstimate estimate;
  for (uint64_t step = 0; step < 2; ++step) {
    FrameContext context;
    context.step = step;
    context.samples = {&sample, 1};
    context.row_ids = ids;
    Bytes bytes;
    ISTHMUS_RETURN_IF_ERROR(encoder->Encode(rows, context, &bytes).status());
    ISTHMUS_RETURN_IF_ERROR(encoder->CommitStep(step));
    (step == 0 ? estimate.first_bits : estimate.later_bits) =
        8.0 * static_cast<double>(bytes.size()) / static_cast<double>(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) rows[i] += kChange * change[i];
  }
  ISTHMUS_ASSIGN_OR_RETURN(const double lost, BitsLost(codec, shape));
  estimate.first_bits -= lost;
  estimate.later_bits -= lost;
  return estimate;
}

}  // namespace isthmus
