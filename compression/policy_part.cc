// policy(score, allocate, high, low, share, over, mean, bytes, within): which tiles get more bits.
//
//   allocate=topk       the `share` percent with the largest scores get `high` bits, the others
//                       `low`; ranked within each token or over the frame
//   allocate=threshold  tiles whose score exceeds `over` get `high` bits (QuantMCU, COMET)
//   allocate=greedy     bit after bit where it removes the most error, to `mean` bits a value
//   allocate=knapsack   along the convex hulls of the errors, to `bytes` of codes a frame (HAWQ-V3,
//                       MixDQ)
//
// Every score goes with every allocator; tile_scores.h says what a score is where errors are asked
// for. score=loss learns from the gradients that come back, at step boundaries; until then it is
// score=error.
//
// High entropy first is what TAH-Quant publishes; on tiles that are not mixed first it is worse
// than chance, and error per bit is the best (docs/codecs.md has the figures).
//
// Side information: topk and threshold a bit per tile (none by position: both ends know it); greedy
// and knapsack 3 bits per tile. Whole bytes per block.
#include <memory>

#include "compression/decimal.h"
#include "compression/gradient_squares.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/tile_scores.h"
#include "compression/width_allocator.h"

namespace isthmus {
namespace {

enum class Allocate : uint8_t { kTopK, kThreshold, kGreedy, kKnapsack };

const std::vector<std::string>& AllocateWords() {
  static const auto* words =
      new std::vector<std::string>{"topk", "threshold", "greedy", "knapsack"};
  return *words;
}

struct PolicyOptions {
  TileScore score = TileScore::kError;
  Allocate allocate = Allocate::kGreedy;
  int high = 4, low = 3;
  double share = 80.0;
  double over = 4.0;
  double mean = 3.5;
  int64_t bytes = 0;
  bool within_frame = false;

  bool TwoWidths() const { return allocate == Allocate::kTopK || allocate == Allocate::kThreshold; }
};

// The widths of a tile follow from what both ends know: nothing is sent.
bool IsDerived(const PolicyOptions& options) {
  return options.score == TileScore::kPosition && options.TwoWidths();
}

class TilePolicy final : public WidthPolicy {
 public:
  TilePolicy(const PolicyOptions& options, const EdgeShape& shape)
      : options_(options),
        scorer_(options.score),
        now_(options.score == TileScore::kLoss ? static_cast<size_t>(shape.width) : 0),
        boundary_(now_) {}

  bool ByRow() const override {
    return options_.TwoWidths() && (options_.allocate == Allocate::kThreshold ||
                                    !options_.within_frame || IsDerived(options_));
  }

  void Choose(const PartFrame& frame, RowBlock rows, const float* x, const TileGrid& grid, int,
              uint8_t* widths, Bytes* side) override {
    const size_t tiles = grid.Count(rows.count, frame.width);
    uint8_t* marks = Room(&marks_, tiles);
    if (!options_.TwoWidths()) {
      Spend(frame, rows, x, grid, widths);
      for (size_t i = 0; i < tiles; ++i) marks[i] = static_cast<uint8_t>(widths[i] - 1);
      Append(marks, tiles, 3, side);
      return;
    }
    Mark(frame, rows, x, grid, marks);
    if (!IsDerived(options_)) Append(marks, tiles, 1, side);
    FromMarks(marks, tiles, widths);
  }

  absl::Status Read(const PartFrame& frame, RowBlock rows, const TileGrid& grid, int,
                    ByteReader* side, uint8_t* widths) override {
    const size_t tiles = grid.Count(rows.count, frame.width);
    uint8_t* marks = Room(&marks_, tiles);
    if (IsDerived(options_)) {
      Mark(frame, rows, nullptr, grid, marks);
      FromMarks(marks, tiles, widths);
      return absl::OkStatus();
    }
    const int bits = options_.TwoWidths() ? 1 : 3;
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> packed,
                             side->GetBytes(PackedBytes(tiles, bits)));
    UnpackBits(packed.data(), tiles, bits, marks);
    if (options_.TwoWidths()) {
      FromMarks(marks, tiles, widths);
      return absl::OkStatus();
    }
    for (size_t i = 0; i < tiles; ++i) {
      widths[i] = static_cast<uint8_t>(marks[i] + 1);
      if (widths[i] < options_.low || widths[i] > options_.high) {
        return CorruptPart("policy", absl::StrCat(options_.low, " to ", options_.high, " bits"),
                           static_cast<int>(widths[i]));
      }
    }
    return absl::OkStatus();
  }

  bool WantsGradient() const override { return options_.score == TileScore::kLoss; }
  void ObserveGradient(absl::Span<const float> g_TD) override { now_.Observe(g_TD); }
  // What was observed counts from the next step on: frames do not depend on when gradients come.
  void Commit() override {
    boundary_ = now_;
    if (boundary_.frames() > 0) scorer_.SetWorth(boundary_.mean_square());
  }
  void Rollback() override { now_ = boundary_; }
  void Snapshot(ByteWriter* out) const override {
    if (WantsGradient()) boundary_.Write(out);
  }
  absl::Status Restore(ByteReader* in) override {
    if (!WantsGradient()) return absl::OkStatus();
    if (!now_.Read(in)) return CorruptPart("policy", "mean squares of channels", "others");
    scorer_ = TileScorer(options_.score);
    Commit();
    return absl::OkStatus();
  }
  int64_t StateBytes() const override {
    return static_cast<int64_t>(2 * now_.mean_square().size() * sizeof(double));
  }

 private:
  static void Append(const uint8_t* codes, size_t n, int bits, Bytes* side) {
    const size_t at = side->size();
    side->resize(at + PackedBytes(n, bits));
    PackBits(codes, n, bits, side->data() + at);
  }
  void FromMarks(const uint8_t* marks, size_t tiles, uint8_t* widths) const {
    for (size_t i = 0; i < tiles; ++i)
      widths[i] = static_cast<uint8_t>(marks[i] != 0 ? options_.high : options_.low);
  }

  void Mark(const PartFrame& frame, RowBlock rows, const float* x, const TileGrid& grid,
            uint8_t* marks) {
    const bool threshold = options_.allocate == Allocate::kThreshold;
    if (options_.score == TileScore::kPosition && !threshold)
      return FirstTiles(frame, rows, grid, options_.share, marks);
    const size_t tiles = grid.Count(rows.count, frame.width);
    float* scores = Room(&scores_, tiles);
    scorer_.Scores(frame, rows, grid, x, options_.low, options_.high, scores);
    if (threshold) {
      for (size_t i = 0; i < tiles; ++i) marks[i] = scores[i] > options_.over;
      return;
    }
    const size_t together = options_.within_frame ? tiles : grid.Across(frame.width);
    for (size_t i = 0; i < tiles; i += together)
      top_.Mark({scores + i, together}, options_.share, marks + i);
  }

  void Spend(const PartFrame& frame, RowBlock rows, const float* x, const TileGrid& grid,
             uint8_t* widths) {
    const size_t tiles = grid.Count(rows.count, frame.width);
    float* errors = Room(&scores_, 8 * tiles);
    const uint32_t all = (2u << options_.high) - (1u << options_.low);
    scorer_.Errors(frame, rows, grid, x, all, errors);
    uint32_t* sizes = Room(&sizes_, tiles);
    size_t tile = 0;
    for (size_t r = 0; r < rows.count; r += grid.tokens)
      for (size_t c = 0; c < frame.width; c += grid.channels)
        sizes[tile++] = static_cast<uint32_t>(std::min(grid.tokens, rows.count - r) *
                                              std::min(grid.channels, frame.width - c));
    const bool greedy = options_.allocate == Allocate::kGreedy;
    const int64_t budget =
        greedy ? static_cast<int64_t>(options_.mean * static_cast<double>(rows.count * frame.width))
               : 8 * options_.bytes;
    allocator_.Allocate(greedy ? BudgetAllocator::Rule::kGreedy : BudgetAllocator::Rule::kKnapsack,
                        {errors, 8 * tiles}, {sizes, tiles}, options_.low, options_.high, budget,
                        widths);
  }

  PolicyOptions options_;
  TileScorer scorer_;
  TopShare top_;
  BudgetAllocator allocator_;
  GradientSquares now_, boundary_;  // score=loss: of the channels, at the sender
  std::vector<uint8_t> marks_;
  std::vector<float> scores_;
  std::vector<uint32_t> sizes_;
};

class PolicySpec final : public PartSpec {
 public:
  explicit PolicySpec(const PolicyOptions& options) : options_(options) {}
  std::string canonical() const override {
    std::string s =
        absl::StrCat("policy(score=", TileScoreWords()[static_cast<size_t>(options_.score)],
                     ",allocate=", AllocateWords()[static_cast<size_t>(options_.allocate)],
                     ",high=", options_.high, ",low=", options_.low);
    switch (options_.allocate) {
      case Allocate::kTopK:
        absl::StrAppend(&s, ",share=", Decimal(options_.share),
                        options_.within_frame ? ",within=frame" : ",within=token");
        break;
      case Allocate::kThreshold:
        absl::StrAppend(&s, ",over=", Decimal(options_.over));
        break;
      case Allocate::kGreedy:
        absl::StrAppend(&s, ",mean=", Decimal(options_.mean));
        break;
      case Allocate::kKnapsack:
        absl::StrAppend(&s, ",bytes=", options_.bytes);
        break;
    }
    return s + ")";
  }
  // Gradients have no gradient that would come back for them.
  PartTraits traits() const override {
    const bool loss = options_.score == TileScore::kLoss;
    return {.forward_only = loss, .knows_channels = loss};
  }
  absl::Status CheckEdge(const EdgeShape& shape) const override {
    if (options_.score != TileScore::kLoss || shape.direction == Direction::kForward)
      return absl::OkStatus();
    return InvalidArgument(
        "codec policy: score=loss: expected the forward direction, got backward");
  }
  std::unique_ptr<WidthPolicy> MakePolicy(const EdgeShape& shape) const override {
    return std::make_unique<TilePolicy>(options_, shape);
  }
  int64_t StateBytesFor(const EdgeShape& shape) const override {
    return options_.score == TileScore::kLoss ? 2 * 8 * shape.width : 0;
  }

 private:
  PolicyOptions options_;
};

// Which arguments belong to which allocator.
absl::Status CheckOptions(const SpecArguments& arguments, const PolicyOptions& options) {
  const std::string& word = AllocateWords()[static_cast<size_t>(options.allocate)];
  const struct {
    const char* key;
    bool fits;
  } kKeys[] = {{"share", options.allocate == Allocate::kTopK},
               {"within", options.allocate == Allocate::kTopK},
               {"over", options.allocate == Allocate::kThreshold},
               {"mean", options.allocate == Allocate::kGreedy},
               {"bytes", options.allocate == Allocate::kKnapsack}};
  for (const auto& key : kKeys) {
    if (arguments.Has(key.key) && !key.fits) {
      return InvalidArgument("codec policy: expected no ", key.key, " with allocate=", word,
                             ", got it");
    }
  }
  const bool scaled = IsError(options.score) || options.score == TileScore::kPosition;
  if (options.allocate == Allocate::kThreshold && scaled && !arguments.Has("over")) {
    return InvalidArgument("codec policy: over: expected it with allocate=threshold and score=",
                           TileScoreWords()[static_cast<size_t>(options.score)], ", got none");
  }
  if (options.low >= options.high) {
    return InvalidArgument("codec policy: expected low below high, got ", options.low, " and ",
                           options.high);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakePolicyPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"score", "allocate", "high", "low"}, {},
                                               {"share", "over", "mean", "bytes", "within"}));
  PolicyOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(const int score, arguments.Choice("score", TileScoreWords(),
                                                             static_cast<int>(TileScore::kError)));
  ISTHMUS_ASSIGN_OR_RETURN(
      const int allocate,
      arguments.Choice("allocate", AllocateWords(), static_cast<int>(Allocate::kGreedy)));
  options.score = static_cast<TileScore>(score);
  options.allocate = static_cast<Allocate>(allocate);
  const bool two = options.TwoWidths();
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t high, arguments.Int("high", 2, 8, two ? 4 : 8));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t low, arguments.Int("low", 1, 7, two ? high - 1 : 2));
  options.high = static_cast<int>(high);
  options.low = static_cast<int>(low);
  ISTHMUS_ASSIGN_OR_RETURN(options.share, arguments.Number("share", 0.0, 100.0, options.share));
  ISTHMUS_ASSIGN_OR_RETURN(options.over, arguments.Number("over", 0.0, 1e30, options.over));
  ISTHMUS_ASSIGN_OR_RETURN(options.mean, arguments.Number("mean", 1.0, 8.0, options.mean));
  ISTHMUS_ASSIGN_OR_RETURN(options.bytes, arguments.Int("bytes", 1, int64_t{1} << 40, 1 << 16));
  ISTHMUS_ASSIGN_OR_RETURN(const int within, arguments.Choice("within", {"token", "frame"}, 0));
  options.within_frame = within == 1;
  ISTHMUS_RETURN_IF_ERROR(CheckOptions(arguments, options));
  return std::make_shared<PolicySpec>(options);
}

}  // namespace isthmus
