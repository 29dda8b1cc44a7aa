#include "compression/frame_check.h"

#include <bit>
#include <string>

#include "base/status.h"

namespace isthmus {
namespace {

constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxElements = int64_t{1} << 40;

}  // namespace

absl::Status CheckShape(const EdgeShape& shape) {
  if (shape.width < 1 || shape.width > kMaxWidth) {
    return InvalidArgument("edge ", shape.edge, ": width: expected 1 to ", kMaxWidth, ", got ",
                           shape.width);
  }
  return absl::OkStatus();
}

std::string Where(const EdgeShape& shape, const FrameContext& context) {
  return absl::StrCat("(edge ", shape.edge, ", ", Name(shape.direction), ", step ", context.step,
                      ", micro-batch ", context.micro_batch, ")");
}

absl::StatusOr<int64_t> CheckFrame(const EdgeShape& shape, const FrameContext& context,
                                   size_t elements) {
  int64_t rows = 0;
  for (const SampleRows& sample : context.samples) {
    if (sample.begin != rows || sample.tokens < 0 ||
        sample.tokens > kMaxElements / shape.width - rows) {
      return InvalidArgument("frame: expected samples in row order without gaps, got rows ",
                             sample.begin, " + ", sample.tokens, " after row ", rows, " ",
                             Where(shape, context));
    }
    rows += sample.tokens;
  }
  if (static_cast<uint64_t>(rows) * static_cast<uint64_t>(shape.width) != elements) {
    return InvalidArgument("frame: expected ", rows, " tokens of width ", shape.width, ", got ",
                           elements, " values ", Where(shape, context));
  }
  return rows;
}

absl::Status NonFiniteError(const EdgeShape& shape, const FrameContext& context,
                            absl::Span<const float> x_TD, uint32_t largest) {
  for (size_t i = 0; i < x_TD.size(); ++i) {
    if ((std::bit_cast<uint32_t>(x_TD[i]) & 0x7FFFFFFFu) <= largest) continue;
    const size_t width = static_cast<size_t>(shape.width);
    return InvalidArgument(shape.direction == Direction::kForward ? "activation" : "gradient",
                           ": expected finite values up to 2^", (largest >> 23) - 127, ", got ",
                           x_TD[i], " at token ", i / width, ", channel ", i % width, " ",
                           Where(shape, context));
  }
  return Internal("frame: expected a non-finite value, got none ", Where(shape, context));
}

absl::Status CorruptFrame(const EdgeShape& shape, const FrameContext& context,
                          absl::string_view expected, absl::string_view got) {
  return InvalidArgument("frame: expected ", expected, ", got ", got, " ", Where(shape, context));
}

}  // namespace isthmus
