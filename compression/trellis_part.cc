// trellis(db): dependent quantisation (Marcellin and Fischer, 1990; Joshi, Crump and Fischer, 1995,
// for the entropy-coded form; the four-state machine of H.266's dependent quantiser): two
// interleaved grids of 2 steps, of which the parities of the levels so far say which one is next.
// The sender takes the path of least error plus rate through the whole matrix. On a Gaussian 0.1
// bit above R(D), where one step and the best entropy coder is 0.25.
//
//   step bf16 | 2 x 3 i8: how far |level| = 1, 2 and beyond of either grid lie below it, 1/128 step
//   SymbolCoder bytes of the zigzag levels, a table for each state
//
// Grid 0 has 2 k steps, grid 1 2 k - sign(k). The rounding follows the rates and is biased: for
// activations. Sender and receiver go value by value: some 100 and 10 ns each.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

#include "compression/decimal.h"
#include "compression/frame_check.h"
#include "compression/half_float.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/sums.h"
#include "compression/symbol_coder.h"

namespace isthmus {
namespace {

constexpr size_t kStates = 8;
constexpr uint8_t kNext[kStates][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4},
                                       {2, 0}, {4, 6}, {3, 1}, {7, 5}};  // by the level's parity
constexpr size_t GridOf(size_t state) { return state & 1; }

constexpr int kPasses = 6;
constexpr double kFirstStep = 1.1;      // of the root of the error wanted: settles in the passes
constexpr double kErrorPerBit = 0.8;    // of the error wanted; by trial
constexpr size_t kGaps = 3;             // of |level| = 1, 2 and beyond
constexpr float kGapUnit = 1.0f / 128;  // of a step
constexpr int32_t kMostLevel = 1 << 28;

using Gaps = std::array<int8_t, 2 * kGaps>;

size_t GapOf(size_t grid, int32_t magnitude) {
  return grid * kGaps + static_cast<size_t>(std::min(magnitude, 3) - 1);
}

// What a level of a grid stands for.
float ValueOf(size_t grid, int32_t level, const Gaps& gaps, float step) {
  if (level == 0) return 0.0f;
  const int32_t magnitude = level < 0 ? -level : level;
  const float steps = static_cast<float>(2 * magnitude - static_cast<int32_t>(grid));
  const float value = (steps - static_cast<float>(gaps[GapOf(grid, magnitude)]) * kGapUnit) * step;
  return level < 0 ? -value : value;
}

// The path through one matrix.
class TrellisSearch {
 public:
  // Levels of x for an error of `wanted` a value, in the mean.
  void Run(const float* x, size_t n, double wanted) {
    n_ = n;
    gaps_.fill(0);
    for (auto& by_state : costs_)
      for (size_t s = 0; s < kRansSymbols; ++s)
        by_state[s] = 1.0 + 2.0 * std::log2(1.0 + static_cast<double>((s + 1) / 2));
    double step = kFirstStep * std::sqrt(wanted);
    for (int pass = 0; pass < kPasses; ++pass) {
      step_ = FloatFromBf16(Bf16FromFloat(static_cast<float>(step)));
      FindPath(x, kErrorPerBit * wanted);
      const double error = Learn(x);
      if (error > 0) step *= std::clamp(std::sqrt(wanted / error), 0.25, 4.0);
    }
  }
  float step() const { return step_; }
  const Gaps& gaps() const { return gaps_; }
  const int32_t* levels() const { return levels_.data(); }
  const uint8_t* states() const { return states_.data(); }

 private:
  struct Arc {
    int32_t level;
    uint8_t from;
  };

  double Rate(size_t state, int32_t level) const {
    const uint32_t value = ZigZag(level);
    const uint16_t symbol = SymbolCoder::SymbolOf(value);
    return costs_[state][symbol] + SymbolCoder::RawBits(symbol);
  }

  void FindPath(const float* x, double error_per_bit) {
    constexpr double kNever = std::numeric_limits<double>::infinity();
    Arc* arcs = Room(&arcs_, n_ * kStates);
    std::array<double, kStates> best;
    best.fill(kNever);
    best[0] = 0.0;
    const float inverse = 0.5f / step_;
    for (size_t i = 0; i < n_; ++i, arcs += kStates) {
      std::array<double, kStates> next;
      next.fill(kNever);
      for (size_t s = 0; s < kStates; ++s) {
        if (best[s] == kNever) continue;
        const float half = GridOf(s) == 0 ? 0.0f : (x[i] < 0.0f ? -0.5f : 0.5f);
        const auto near = static_cast<int32_t>(std::nearbyintf(
            std::clamp(x[i] * inverse + half, -float{kMostLevel}, float{kMostLevel})));
        for (const int32_t level : {near, near - 1, near + 1, 0}) {
          const double miss = double{x[i]} - ValueOf(GridOf(s), level, gaps_, step_);
          const double cost = best[s] + miss * miss + error_per_bit * Rate(s, level);
          const size_t to = kNext[s][level & 1];
          if (!(cost < next[to])) continue;
          next[to] = cost;
          arcs[to] = {level, static_cast<uint8_t>(s)};
        }
      }
      best = next;
    }
    Trace(static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin()));
  }

  void Trace(size_t state) {
    int32_t* levels = Room(&levels_, n_);
    uint8_t* states = Room(&states_, n_);
    for (size_t i = n_; i-- > 0;) {
      const Arc& arc = arcs_[i * kStates + state];
      levels[i] = arc.level;
      states[i] = arc.from;
      state = arc.from;
    }
  }

  // Rates and gaps of the path for the next pass; the mean error with the new gaps.
  double Learn(const float* x) {
    std::array<std::array<double, kRansSymbols>, kStates> counts{};
    std::array<double, 2 * kGaps> seen{}, below{};
    for (size_t i = 0; i < n_; ++i) {
      counts[states_[i]][SymbolCoder::SymbolOf(ZigZag(levels_[i]))] += 1;
      const int32_t magnitude = std::abs(levels_[i]);
      if (magnitude == 0) continue;
      const size_t grid = GridOf(states_[i]), at = GapOf(grid, magnitude);
      seen[at] += 1;
      below[at] += 2.0 * magnitude - static_cast<double>(grid) - std::fabs(double{x[i]} / step_);
    }
    for (size_t g = 0; g < gaps_.size(); ++g) {
      const double gap = seen[g] > 0 ? below[g] / seen[g] / kGapUnit : 0.0;
      gaps_[g] = static_cast<int8_t>(std::lround(std::clamp(gap, -127.0, 127.0)));
    }
    for (size_t s = 0; s < kStates; ++s) {
      double total = 0;
      for (const double c : counts[s]) total += c + 0.1;
      for (size_t k = 0; k < kRansSymbols; ++k)
        costs_[s][k] = std::log2(total / (counts[s][k] + 0.1));
    }
    double error = 0;
    for (size_t i = 0; i < n_; ++i) {
      const double miss = double{x[i]} - ValueOf(GridOf(states_[i]), levels_[i], gaps_, step_);
      error += miss * miss;
    }
    return error / static_cast<double>(n_);
  }

  size_t n_ = 0;
  float step_ = 0.0f;
  Gaps gaps_{};
  std::array<std::array<double, kRansSymbols>, kStates> costs_{};
  std::vector<Arc> arcs_;
  std::vector<int32_t> levels_;
  std::vector<uint8_t> states_;
};

class TrellisFormat final : public ValueFormat {
 public:
  explicit TrellisFormat(double db) : db_(db) {}

  bool ByRow() const override { return false; }

  int64_t Encode(const PartFrame& frame, RowBlock rows, const float* x, const uint8_t*, RowNoise*,
                 Bytes* out) override {
    const size_t n = rows.count * frame.width;
    if (ScanExtent(x, n).magnitude > kLargestMagnitude) return -1;
    const double wanted =
        SumMoments(x, n).squares / static_cast<double>(n) * std::pow(10.0, -db_ / 10);
    ByteWriter writer(out);
    // Below, steps are no numbers of bf16; a matrix of zeros is one of them.
    if (!(wanted > 0x1p-220)) {
      writer.Put(uint16_t{0});
      return 0;
    }
    search_.Run(x, n, wanted);
    writer.Put(Bf16FromFloat(search_.step()));
    for (const int8_t gap : search_.gaps()) writer.Put(gap);
    uint32_t* symbols = Room(&symbols_, n);
    for (size_t i = 0; i < n; ++i) symbols[i] = ZigZag(search_.levels()[i]);
    return coder_.Encode(symbols, search_.states(), rows.count, frame.width, out);
  }

  absl::Status Decode(const PartFrame& frame, RowBlock rows, const uint8_t*, ByteReader* in,
                      float* x) override {
    const size_t n = rows.count * frame.width;
    ISTHMUS_ASSIGN_OR_RETURN(const uint16_t stored, in->Get<uint16_t>());
    const float step = FloatFromBf16(stored);
    if (stored == 0) {
      std::fill(x, x + n, 0.0f);
      return absl::OkStatus();
    }
    if (!(step >= 0x1p-120f && step <= 0x1p126f))
      return CorruptPart("trellis", "a step", "another number");
    Gaps gaps;
    for (int8_t& gap : gaps) {
      ISTHMUS_ASSIGN_OR_RETURN(gap, in->Get<int8_t>());
    }
    uint32_t* symbols = Room(&symbols_, n);
    size_t state = 0;
    float* to = x;
    const auto next = [&](uint32_t symbol) {
      const int32_t level = UnZigZag(symbol);
      *to++ = ValueOf(GridOf(state), level, gaps, step);
      state = kNext[state][level & 1];
      return static_cast<uint8_t>(state);
    };
    if (coder_.DecodeInOrder(in, rows.count, frame.width, symbols, next)) return absl::OkStatus();
    return CorruptPart("trellis", "a coded matrix", "other bytes");
  }

 private:
  double db_;
  TrellisSearch search_;
  SymbolCoder coder_;
  std::vector<uint32_t> symbols_;
};

class TrellisSpec final : public PartSpec {
 public:
  explicit TrellisSpec(double db) : db_(db) {}
  std::string canonical() const override { return absl::StrCat("trellis(db=", Decimal(db_), ")"); }
  PartTraits traits() const override { return {.forward_only = true}; }
  absl::Status CheckEdge(const EdgeShape& shape) const override {
    if (shape.direction == Direction::kForward) return absl::OkStatus();
    return InvalidArgument(
        "codec trellis: expected the forward direction, got backward: its "
        "rounding is biased");
  }
  Rounding rounding() const override { return Rounding::kNearest; }
  std::unique_ptr<ValueFormat> MakeFormat(const EdgeShape&) const override {
    return std::make_unique<TrellisFormat>(db_);
  }

 private:
  double db_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeTrellisPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"db"}));
  ISTHMUS_ASSIGN_OR_RETURN(const double db, arguments.Number("db", 0.0, 60.0, 20.0));
  return std::make_shared<TrellisSpec>(db);
}

}  // namespace isthmus
