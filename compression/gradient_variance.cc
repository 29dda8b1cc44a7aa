#include "compression/gradient_variance.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"

namespace isthmus {
namespace {

constexpr size_t kMostInputs = 64;

using Key = std::pair<uint64_t, uint32_t>;  // step, micro-batch

// x (outer) g summed over rows: inputs x width.
std::vector<double> WeightGradient(absl::Span<const float> x, absl::Span<const float> g,
                                   size_t width) {
  const size_t stride = std::max<size_t>(1, width / kMostInputs);
  const size_t inputs = std::min(width, kMostInputs);
  std::vector<double> sum(inputs * width);
  for (size_t row = 0; row < g.size(); row += width) {
    for (size_t i = 0; i < inputs; ++i) {
      const double v = x[row + i * stride];
      for (size_t c = 0; c < width; ++c) sum[i * width + c] += v * g[row + c];
    }
  }
  return sum;
}

double SquaredDistance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// The micro-batches of one step.
class StepGradients {
 public:
  void Add(std::vector<double> gradient, const std::vector<double>& coded) {
    added_ += SquaredDistance(gradient, coded);
    gradients_.push_back(std::move(gradient));
  }
  // Adds the step's two variances, if it has any of its own.
  void AddTo(double* added, double* own) const {
    const auto m = static_cast<double>(gradients_.size());
    if (gradients_.size() < 2) return;
    std::vector<double> mean(gradients_[0].size());
    for (const auto& gradient : gradients_)
      for (size_t i = 0; i < mean.size(); ++i) mean[i] += gradient[i] / m;
    double spread = 0;
    for (const auto& gradient : gradients_) spread += SquaredDistance(gradient, mean);
    *own += spread * m / (m - 1);
    *added += added_;
  }

 private:
  std::vector<std::vector<double>> gradients_;
  double added_ = 0;
};

FrameContext ContextOf(const CapturedFrame& frame) {
  FrameContext context;
  context.step = frame.step;
  context.micro_batch = frame.micro_batch;
  context.samples = frame.samples;
  return context;
}

}  // namespace

absl::StatusOr<double> AddedVarianceShare(absl::string_view spec, const CapturedEdge& gradients,
                                          const CapturedEdge& activations) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const Codec> codec, Codec::Parse(spec));
  std::map<Key, const CapturedFrame*> below;
  for (const CapturedFrame& frame : activations.frames)
    below[{frame.step, frame.micro_batch}] = &frame;
  EdgeShape shape;
  shape.width = gradients.width;
  shape.direction = Direction::kBackward;
  shape.seed = 1;
  shape.total_steps = static_cast<int64_t>(gradients.frames.size());
  ISTHMUS_ASSIGN_OR_RETURN(const std::unique_ptr<Encoder> encoder, codec->MakeEncoder(shape));
  ISTHMUS_ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder, codec->MakeDecoder(shape));
  const auto width = static_cast<size_t>(gradients.width);
  double added = 0, own = 0;
  StepGradients step;
  for (size_t i = 0; i < gradients.frames.size(); ++i) {
    const CapturedFrame& frame = gradients.frames[i];
    const auto found = below.find({frame.step, frame.micro_batch});
    if (found == below.end() || found->second->x_TD.size() != frame.x_TD.size()) {
      return InvalidArgument("added variance: expected the activations of step ", frame.step,
                             ", micro-batch ", frame.micro_batch, ", got none of that size");
    }
    const FrameContext context = ContextOf(frame);
    Bytes bytes;
    std::vector<float> decoded(frame.x_TD.size());
    ISTHMUS_RETURN_IF_ERROR(encoder->Encode(frame.x_TD, context, &bytes).status());
    ISTHMUS_RETURN_IF_ERROR(decoder->Decode(bytes, context, absl::MakeSpan(decoded)));
    const std::vector<float>& x = found->second->x_TD;
    step.Add(WeightGradient(x, frame.x_TD, width), WeightGradient(x, decoded, width));
    if (i + 1 < gradients.frames.size() && gradients.frames[i + 1].step == frame.step) continue;
    step.AddTo(&added, &own);
    step = StepGradients();
    ISTHMUS_RETURN_IF_ERROR(encoder->CommitStep(frame.step));
    ISTHMUS_RETURN_IF_ERROR(decoder->CommitStep(frame.step));
  }
  if (own > 0) return added / own;
  return InvalidArgument("added variance: expected a step of at least two micro-batches, got none");
}

}  // namespace isthmus
