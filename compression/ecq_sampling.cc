#include "compression/ecq_sampling.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

constexpr int kMostWeight = 8;         // 2^(8/4): a factor of 4
constexpr int kWorthSending = 2;       // quarters of an octave
constexpr uint64_t kFirstFrames = 16;  // the gradients of fewer say little

}  // namespace

EcqSampling::EcqSampling(const EcqOptions& options, const EdgeShape& shape)
    : shape_(shape),
      keep_(options.keep),
      active_(options.keep < 1.0 && shape.direction == Direction::kBackward) {}

// c by bisection: the mean of min(1, max(c |g|, keep / 10)) rises with it.
void EcqSampling::FindChances(const std::vector<double>& norms) {
  const double largest = *std::max_element(norms.begin(), norms.end());
  const size_t live = static_cast<size_t>(
      std::count_if(norms.begin(), norms.end(), [](double n) { return n > 0; }));
  chances_.assign(norms.size(), 0.0);
  if (live == 0) return;
  const auto set = [&](double c) {
    double sum = 0;
    for (size_t t = 0; t < norms.size(); ++t) {
      if (norms[t] > 0) chances_[t] = std::min(1.0, std::max(c * (norms[t] / largest), keep_ / 10));
      sum += chances_[t];
    }
    return sum;
  };
  double low = 0.0, high = 1.0;
  const double wanted = keep_ * static_cast<double>(norms.size());
  while (set(high) < wanted && high < 1e12) high *= 2;
  for (int i = 0; i < 50; ++i) {
    const double middle = 0.5 * (low + high);
    (set(middle) < wanted ? low : high) = middle;
  }
  set(high);
}

const float* EcqSampling::Draw(absl::Span<const float> g_TD, const FrameContext& context) {
  const size_t width = static_cast<size_t>(shape_.width), rows = g_TD.size() / width;
  norms_.assign(rows, 0.0);
  for (size_t t = 0; t < rows; ++t) {
    double square = 0;
    for (size_t c = 0; c < width; ++c) {
      const double v = g_TD[t * width + c];
      square += v * v;
    }
    norms_[t] = std::sqrt(square);
  }
  FindChances(norms_);
  kept_rows_.assign(rows, 0);
  kept_ = 0;
  float* out = Room(&rows_, g_TD.size());
  std::fill(out, out + g_TD.size(), 0.0f);
  const uint64_t path = uint64_t{shape_.edge} << 1 | static_cast<uint64_t>(shape_.direction);
  for (const SampleRows& sample : context.samples) {
    const uint64_t key = RandomKey(shape_.seed, "codec.keep", path, context.step, sample.sample);
    for (int64_t i = 0; i < sample.tokens; ++i) {
      const size_t t = static_cast<size_t>(sample.begin + i);
      const double draw = UniformFloat(Philox(key, static_cast<uint64_t>(i))[0]);
      if (chances_[t] <= 0 || draw >= chances_[t]) continue;
      kept_rows_[t] = 1;
      ++kept_;
      const float gain = static_cast<float>(1.0 / chances_[t]);
      for (size_t c = 0; c < width; ++c) out[t * width + c] = g_TD[t * width + c] * gain;
    }
  }
  return out;
}

EcqSensitivity::EcqSensitivity(size_t width) : now_(width), boundary_(width) {}

void EcqSensitivity::Commit() {
  if (now_.squares.frames() >= kFirstFrames) {
    const std::vector<double>& mean_square = now_.squares.mean_square();
    double mean_log = 0;
    for (const double m : mean_square) mean_log += std::log2(std::max(m, 1e-6));
    mean_log /= static_cast<double>(mean_square.size());
    for (size_t c = 0; c < now_.wanted.size(); ++c) {
      // sqrt of the mean square, in quarters of an octave: half of four times its log2.
      const double quarters = 2 * (std::log2(std::max(mean_square[c], 1e-6)) - mean_log);
      const int wanted = static_cast<int>(
          std::lround(std::clamp(quarters, -double{kMostWeight}, double{kMostWeight})));
      if (std::abs(wanted - now_.sent[c]) >= kWorthSending)
        now_.wanted[c] = static_cast<int8_t>(wanted);
    }
  }
  boundary_ = now_;
}

void EcqSensitivity::Put(EcqCore* core, SideEncoder* side) const {
  for (size_t c = 0; c < now_.wanted.size(); ++c) {
    side->Put(&core->weight_counts,
              static_cast<size_t>(now_.wanted[c] - core->weights[c] + 2 * kMostWeight));
    core->weights[c] = now_.wanted[c];
  }
}

bool EcqSensitivity::Get(EcqCore* core, SideDecoder* side) {
  for (int8_t& weight : core->weights) {
    const int next = weight + static_cast<int>(side->Get(&core->weight_counts)) - 2 * kMostWeight;
    if (next < -kMostWeight || next > kMostWeight) return false;
    weight = static_cast<int8_t>(next);
  }
  return true;
}

void EcqSensitivity::Forget() {
  std::fill(now_.sent.begin(), now_.sent.end(), int8_t{0});
  boundary_.sent = now_.sent;
}

void EcqSensitivity::Write(Bytes* out) const {
  ByteWriter writer(out);
  now_.squares.Write(&writer);
  for (const int8_t v : now_.wanted) writer.Put(v);
  for (const int8_t v : now_.sent) writer.Put(v);
}

bool EcqSensitivity::Read(ByteReader* in) {
  Memory read = now_;
  if (!read.squares.Read(in)) return false;
  for (auto* weights : {&read.wanted, &read.sent}) {
    for (int8_t& v : *weights) {
      const auto value = in->Get<int8_t>();
      if (!value.ok() || std::abs(*value) > kMostWeight) return false;
      v = *value;
    }
  }
  now_ = boundary_ = std::move(read);
  return true;
}

}  // namespace isthmus
