// schedule(bits, steps): other widths for the first steps of a run, from then on the format's own:
// warm-up of training (AQ-SGD's uncompressed first epoch, made cheaper), or coarse first steps
// where later ones correct them (Leveraging Early-Stage Robustness). Both ends know the step: no
// side information.
#include <cstring>
#include <memory>

#include "compression/part_table.h"

namespace isthmus {
namespace {

struct ScheduleOptions {
  int bits = 8;
  uint64_t steps = 100;
};

class StepSchedule final : public WidthPolicy {
 public:
  explicit StepSchedule(const ScheduleOptions& options) : options_(options) {}
  bool ByRow() const override { return true; }
  void Choose(const PartFrame& frame, RowBlock rows, const float*, const TileGrid& grid, int bits,
              uint8_t* widths, Bytes*) override {
    const int now = frame.step < options_.steps ? options_.bits : bits;
    std::memset(widths, now, grid.Count(rows.count, frame.width));
  }
  absl::Status Read(const PartFrame& frame, RowBlock rows, const TileGrid& grid, int bits,
                    ByteReader*, uint8_t* widths) override {
    Choose(frame, rows, nullptr, grid, bits, widths, nullptr);
    return absl::OkStatus();
  }

 private:
  ScheduleOptions options_;
};

class ScheduleSpec final : public PartSpec {
 public:
  explicit ScheduleSpec(const ScheduleOptions& options) : options_(options) {}
  std::string canonical() const override {
    return absl::StrCat("schedule(bits=", options_.bits, ",steps=", options_.steps, ")");
  }
  std::unique_ptr<WidthPolicy> MakePolicy(const EdgeShape&) const override {
    return std::make_unique<StepSchedule>(options_);
  }

 private:
  ScheduleOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeSchedulePart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"bits", "steps"}));
  ScheduleOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 1, 8, 8));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t steps, arguments.Int("steps", 1, INT64_MAX / 2, 100));
  options.bits = static_cast<int>(bits);
  options.steps = static_cast<uint64_t>(steps);
  return std::make_shared<ScheduleSpec>(options);
}

}  // namespace isthmus
