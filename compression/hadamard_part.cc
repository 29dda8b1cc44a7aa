// hadamard(block, plain | pivot | gated): mixes `block` neighbouring channels of a token with the
// orthonormal Walsh-Hadamard matrix, so that one large value spreads over the block instead of
// setting its range. Rows that are not a multiple of the block end in smaller powers of two.
//
//   plain   every block (QuaRot, QuEST)                                   no side information
//   pivot   the largest value of a block goes to its slot 0 first
//   gated   pivot, and only in blocks whose largest value is at least twice the second (TAH-Quant,
//           arXiv 2506.01352): elsewhere mixing gains nothing and costs alignment
//
// With a pivot the sign pattern of a block is that of the matrix's first row: all +, so one outlier
// turns into a constant, which an asymmetric range takes in its offset.
//
// Side information of a block of rows: gated: a bit per channel block; then the pivots of the mixed
// ones, log2(size) bits each, one stream; whole bytes.
#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>

#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

enum class Mixing : uint8_t { kPlain, kPivot, kGated };

struct HadamardOptions {
  size_t block = 64;
  Mixing mixing = Mixing::kPlain;
};

// Blocks of a row: [begin, begin + size).
template <typename Visit>
void ForBlocks(size_t width, size_t block, const Visit& visit) {
  for (size_t begin = 0; begin < width; begin += block) {
    while (block > width - begin) block /= 2;
    visit(begin, block);
  }
}

int Log2(size_t n) {
  int log = 0;
  while (n >>= 1) ++log;
  return log;
}

float Magnitude(uint32_t bits) { return std::bit_cast<float>(bits); }

// The place of the largest magnitude; *gate says whether it is at least twice the second. x is
// changed and restored.
size_t FindPivot(float* x, size_t n, bool* gate) {
  const float first = Magnitude(ScanExtent(x, n).magnitude);
  size_t at = 0;
  while (at + 1 < n && !(std::fabs(x[at]) == first)) ++at;
  const float largest = x[at];
  x[at] = 0.0f;
  const float second = Magnitude(ScanExtent(x, n).magnitude);
  x[at] = largest;
  *gate = first > 0.0f && first >= 2.0f * second;
  return at;
}

class HadamardTransform final : public Transform {
 public:
  explicit HadamardTransform(const HadamardOptions& options) : options_(options) {}

  bool ByRow() const override { return true; }

  void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) override {
    if (options_.mixing == Mixing::kPlain) {
      for (size_t r = 0; r < rows.count; ++r, x += frame.width)
        HadamardRow(x, frame.width, options_.block);
      return;
    }
    pivots_.clear();
    for (size_t r = 0; r < rows.count; ++r, x += frame.width) {
      ForBlocks(frame.width, options_.block, [&](size_t begin, size_t size) {
        bool gate = false;
        const size_t pivot = FindPivot(x + begin, size, &gate);
        if (options_.mixing == Mixing::kGated && !gate) return pivots_.push_back(-1);
        std::swap(x[begin], x[begin + pivot]);
        HadamardRow(x + begin, size, size);
        pivots_.push_back(static_cast<int32_t>(pivot));
      });
    }
    WritePivots(frame.width, side);
  }

  absl::Status Read(const PartFrame& frame, RowBlock rows, ByteReader* side) override {
    if (options_.mixing == Mixing::kPlain) return absl::OkStatus();
    size_t blocks_per_row = 0;
    ForBlocks(frame.width, options_.block, [&](size_t, size_t) { ++blocks_per_row; });
    const size_t blocks = blocks_per_row * rows.count;
    pivots_.assign(blocks, 0);
    if (options_.mixing == Mixing::kGated) {
      ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> flags,
                               side->GetBytes((blocks + 7) / 8));
      for (size_t i = 0; i < blocks; ++i)
        if ((flags[i / 8] >> (i % 8) & 1) == 0) pivots_[i] = -1;
    }
    return ReadPivots(frame.width, rows.count, side);
  }

  void Inverse(const PartFrame& frame, RowBlock rows, float* x) override {
    const int32_t* pivot = pivots_.data();
    for (size_t r = 0; r < rows.count; ++r, x += frame.width) {
      if (options_.mixing == Mixing::kPlain) {
        HadamardRow(x, frame.width, options_.block);
        continue;
      }
      ForBlocks(frame.width, options_.block, [&](size_t begin, size_t size) {
        const int32_t at = *pivot++;
        if (at < 0) return;
        HadamardRow(x + begin, size, size);
        std::swap(x[begin], x[begin + static_cast<size_t>(at)]);
      });
    }
  }

 private:
  // Visits the mixed blocks with the bits of their pivots.
  template <typename Visit>
  void ForPivots(size_t width, const Visit& visit) {
    size_t i = 0;
    while (i < pivots_.size()) {
      ForBlocks(width, options_.block, [&](size_t, size_t size) {
        if (pivots_[i] >= 0) visit(&pivots_[i], Log2(size));
        ++i;
      });
    }
  }

  void WritePivots(size_t width, Bytes* side) {
    if (options_.mixing == Mixing::kGated) {
      const size_t at = side->size();
      side->resize(at + (pivots_.size() + 7) / 8);
      for (size_t i = 0; i < pivots_.size(); ++i)
        (*side)[at + i / 8] |= static_cast<uint8_t>((pivots_[i] >= 0) << (i % 8));
    }
    uint32_t word = 0;
    int fill = 0;
    ForPivots(width, [&](const int32_t* pivot, int bits) {
      word |= static_cast<uint32_t>(*pivot) << fill;
      for (fill += bits; fill >= 8; fill -= 8, word >>= 8)
        side->push_back(static_cast<uint8_t>(word));
    });
    if (fill > 0) side->push_back(static_cast<uint8_t>(word));
  }

  absl::Status ReadPivots(size_t width, size_t rows, ByteReader* side) {
    size_t total_bits = 0;
    if (rows > 0)
      ForPivots(width, [&](int32_t*, int bits) { total_bits += static_cast<size_t>(bits); });
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes,
                             side->GetBytes((total_bits + 7) / 8));
    uint32_t word = 0;
    int fill = 0;
    size_t at = 0;
    ForPivots(width, [&](int32_t* pivot, int bits) {
      for (; fill < bits; fill += 8) word |= static_cast<uint32_t>(bytes[at++]) << fill;
      *pivot = static_cast<int32_t>(word & ((1u << bits) - 1));
      word >>= bits;
      fill -= bits;
    });
    return absl::OkStatus();
  }

  HadamardOptions options_;
  std::vector<int32_t> pivots_;  // by block, -1 where it was not mixed
};

class HadamardSpec final : public PartSpec {
 public:
  explicit HadamardSpec(const HadamardOptions& options) : options_(options) {}
  std::string canonical() const override {
    static constexpr const char* kMixings[] = {"plain", "pivot", "gated"};
    return absl::StrCat("hadamard(block=", options_.block, ",",
                        kMixings[static_cast<int>(options_.mixing)], ")");
  }
  PartTraits traits() const override { return {.mixes_channels = true}; }
  std::unique_ptr<Transform> MakeTransform(const EdgeShape&) const override {
    return std::make_unique<HadamardTransform>(options_);
  }

 private:
  HadamardOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeHadamardPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"block"}, {"plain", "pivot", "gated"}));
  HadamardOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t block, arguments.Int("block", 2, 4096, 64));
  if ((block & (block - 1)) != 0) {
    return InvalidArgument("codec hadamard: block: expected a power of two, got ", block);
  }
  options.block = static_cast<size_t>(block);
  const bool pivot = arguments.Flag("pivot"), gated = arguments.Flag("gated");
  if (pivot + gated + arguments.Flag("plain") > 1) {
    return InvalidArgument("codec hadamard: expected one of plain, pivot, gated, got several");
  }
  if (pivot) options.mixing = Mixing::kPivot;
  if (gated) options.mixing = Mixing::kGated;
  return std::make_shared<HadamardSpec>(options);
}

}  // namespace isthmus
