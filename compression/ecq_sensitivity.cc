#include "compression/ecq_sensitivity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace isthmus {
namespace {

constexpr int kMostWeight = 8;         // 2^(8/4): a factor of 4
constexpr int kWorthSending = 2;       // quarters of an octave, of noisy squares
constexpr uint64_t kFirstFrames = 16;  // the gradients of fewer say little
// Two bits about the middle of a sigmoid: the same factor of 4. Only differences count.
constexpr BitRange kGateRange = {3, 7, 5, 5};

}  // namespace

EcqSensitivity::EcqSensitivity(const EcqOptions& options, const EdgeShape& shape)
    : weighting_(shape.direction == Direction::kForward ? options.weighting : EcqWeighting::kNone),
      now_(static_cast<size_t>(shape.width)),
      boundary_(static_cast<size_t>(shape.width)) {
  if (!wants_errors()) return;
  now_.gates = MakeSigmoidGate(kGateRange, shape.width, shape.total_steps);
  boundary_ = now_.Copy();
  bits_.assign(static_cast<size_t>(shape.width), 8);
}

EcqSensitivity::Memory EcqSensitivity::Memory::Copy() const {
  Memory copy(0);
  copy.squares = squares;
  if (gates != nullptr) copy.gates = gates->Clone();
  copy.wanted = wanted;
  copy.sent = sent;
  return copy;
}

// Frames that were sent as they are or constant left no error: gates learn nothing of them.
void EcqSensitivity::Observe(absl::Span<const float> g_TD, uint32_t micro_batch) {
  if (weighting_ == EcqWeighting::kSquares) return now_.squares.Observe(g_TD);
  const float* error = errors_.Find(micro_batch, g_TD.size());
  if (error == nullptr || g_TD.empty()) return;
  now_.gates->ObserveGradient(g_TD.data(), error, g_TD.size() / bits_.size(), bits_);
  errors_.Done(micro_batch);
}

std::vector<double> EcqSensitivity::Quarters() const {
  std::vector<double> quarters;
  if (wants_errors()) {
    quarters = now_.gates->Bits();
    for (double& q : quarters) q *= 4;
  } else if (now_.squares.frames() >= kFirstFrames) {
    // sqrt of the mean square, in quarters of an octave: half of four times its log2.
    for (const double m : now_.squares.mean_square())
      quarters.push_back(2 * std::log2(std::max(m, 1e-6)));
  }
  return quarters;
}

void EcqSensitivity::Commit() {
  errors_.Drop();
  if (wants_errors()) now_.gates->Step();
  const std::vector<double> quarters = Quarters();
  const double mean = std::accumulate(quarters.begin(), quarters.end(), 0.0) /
                      static_cast<double>(std::max<size_t>(quarters.size(), 1));
  const int worth_sending = wants_errors() ? 1 : kWorthSending;
  for (size_t c = 0; c < quarters.size(); ++c) {
    const int wanted = static_cast<int>(
        std::lround(std::clamp(quarters[c] - mean, -double{kMostWeight}, double{kMostWeight})));
    if (std::abs(wanted - now_.sent[c]) >= worth_sending)
      now_.wanted[c] = static_cast<int8_t>(wanted);
  }
  boundary_ = now_.Copy();
}

void EcqSensitivity::Rollback() {
  errors_.Drop();
  now_ = boundary_.Copy();
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
  if (wants_errors()) {
    boundary_.gates->Write(&writer);
  } else {
    now_.squares.Write(&writer);
  }
  for (const int8_t v : now_.wanted) writer.Put(v);
  for (const int8_t v : now_.sent) writer.Put(v);
}

bool EcqSensitivity::Read(ByteReader* in) {
  Memory read = now_.Copy();
  if (wants_errors() ? !read.gates->Read(in).ok() : !read.squares.Read(in)) return false;
  for (auto* weights : {&read.wanted, &read.sent}) {
    for (int8_t& v : *weights) {
      const auto value = in->Get<int8_t>();
      if (!value.ok() || std::abs(*value) > kMostWeight) return false;
      v = *value;
    }
  }
  now_ = std::move(read);
  boundary_ = now_.Copy();
  errors_.Drop();
  return true;
}

// Two copies of the weights, wanted and sent, and of squares or gates.
int64_t EcqSensitivity::StateBytes() const {
  if (!active()) return 0;
  const auto width = static_cast<int64_t>(now_.wanted.size());
  return 2 * (2 * width + (wants_errors() ? now_.gates->StateBytes() : 8 * width));
}

int64_t EcqSensitivity::StateBytesFor(const EcqOptions& options, const EdgeShape& shape) {
  if (shape.direction == Direction::kBackward || options.weighting == EcqWeighting::kNone) return 0;
  return 2 * shape.width * (2 + (options.weighting == EcqWeighting::kGates ? 16 : 8));
}

}  // namespace isthmus
