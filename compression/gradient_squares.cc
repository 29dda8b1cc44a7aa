#include "compression/gradient_squares.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace isthmus {
namespace {

constexpr double kMemory = 0.95;  // what stays of the past, a micro-batch

}  // namespace

void GradientSquares::Observe(absl::Span<const float> g_TD) {
  const size_t width = mean_square_.size();
  std::vector<double> squares(width);
  double total = 0;
  for (size_t i = 0; i < g_TD.size(); ++i) {
    const double v = double{g_TD[i]} * g_TD[i];
    squares[i % width] += v;
    total += v;
  }
  if (!(total > 0)) return;
  ++frames_;
  const double share = std::max(1 - kMemory, 1.0 / static_cast<double>(frames_));
  for (size_t c = 0; c < width; ++c) {
    const double relative = squares[c] / total * static_cast<double>(width);
    mean_square_[c] += (relative - mean_square_[c]) * share;
  }
}

void GradientSquares::Write(ByteWriter* out) const {
  out->Put(frames_);
  for (const double v : mean_square_) out->Put(v);
}

bool GradientSquares::Read(ByteReader* in) {
  GradientSquares read(mean_square_.size());
  const auto frames = in->Get<uint64_t>();
  if (!frames.ok()) return false;
  read.frames_ = *frames;
  for (double& v : read.mean_square_) {
    const auto value = in->Get<double>();
    if (!value.ok() || !std::isfinite(*value) || *value < 0) return false;
    v = *value;
  }
  *this = std::move(read);
  return true;
}

}  // namespace isthmus
