// outliers(over, relative): columns with a value beyond a threshold leave the matrix and travel in
// bf16 (LLM.int8(), arXiv 2208.07339, whose threshold is 6 in magnitude). With `relative` the
// threshold is a multiple of the frame's RMS, which serves gradients too. At most one column in
// eight leaves, the largest first: beyond that it is the distribution, not outliers.
//
// What is left has fewer columns, so an outlier column costs 16 bits a value and not 16 + B.
//
// Side information: varint K | K varint gaps between the rising columns | rows x K values in bf16.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "compression/decimal.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/sums.h"

namespace isthmus {
namespace {

struct OutlierOptions {
  double over = 6.0;
  bool relative = false;
};

class OutlierSidecar final : public Sidecar {
 public:
  explicit OutlierSidecar(const OutlierOptions& options) : options_(options) {}

  void TakeOut(PartFrame* frame, float* x, Bytes* side) override {
    FindColumns(*frame, x);
    ByteWriter writer(side);
    writer.PutVarint(columns_.size());
    uint32_t next = 0;
    for (const uint32_t column : columns_) {
      writer.PutVarint(column - next);
      next = column + 1;
    }
    const size_t n = frame->rows * columns_.size(), at = side->size();
    float* values = Room(&values_, n);
    for (size_t r = 0; r < frame->rows; ++r)
      for (const uint32_t column : columns_) *values++ = x[r * frame->width + column];
    Bf16FromFloats(values_.data(), n, Room(&stored_, n));
    side->resize(at + 2 * n);
    if (n > 0) std::memcpy(side->data() + at, stored_.data(), 2 * n);
    Compact(*frame, x);
    Leave(frame);
  }

  absl::Status Read(PartFrame* frame, ByteReader* side) override {
    ISTHMUS_ASSIGN_OR_RETURN(const uint64_t count, side->GetVarint());
    if (count > Most(frame->width))
      return CorruptPart("outliers", "at most one column in eight", count);
    columns_.clear();
    uint64_t next = 0;
    for (uint64_t i = 0; i < count; ++i) {
      ISTHMUS_ASSIGN_OR_RETURN(const uint64_t gap, side->GetVarint());
      if (gap >= frame->width - next)
        return CorruptPart("outliers", absl::StrCat("columns below ", frame->width), "others");
      columns_.push_back(static_cast<uint32_t>(next + gap));
      next += gap + 1;
      if (next == frame->width && i + 1 < count)
        return CorruptPart("outliers", "rising columns", "others");
    }
    const size_t n = frame->rows * columns_.size();
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, side->GetBytes(2 * n));
    if (n > 0) std::memcpy(Room(&stored_, n), bytes.data(), 2 * n);
    if (FloatsFromBf16(stored_.data(), n, Room(&values_, n)) >= 0x7F80u)
      return CorruptPart("outliers", "finite values", "others");
    Leave(frame);
    return absl::OkStatus();
  }

  // From the last row, because values only move towards the end.
  void PutBack(float* x) override {
    const size_t count = columns_.size(), left = width_ - count;
    if (count == 0) return;
    for (size_t r = rows_; r-- > 0;) {
      const float* from = x + r * left;
      const float* values = values_.data() + r * count;
      float* to = x + r * width_;
      size_t end = left, at = width_;
      for (size_t k = count; k-- > 0;) {
        const size_t run = at - columns_[k] - 1;  // kept columns right of this one
        end -= run;
        std::memmove(to + columns_[k] + 1, from + end, run * sizeof(float));
        at = columns_[k];
      }
      std::memmove(to, from, end * sizeof(float));
      for (size_t k = 0; k < count; ++k) to[columns_[k]] = values[k];
    }
  }

 private:
  static uint64_t Most(size_t width) { return width / 8; }

  void FindColumns(const PartFrame& frame, const float* x) {
    float* largest = Room(&largest_, frame.width);
    std::fill(largest, largest + frame.width, 0.0f);
    for (size_t r = 0; r < frame.rows; ++r)
      for (size_t c = 0; c < frame.width; ++c)
        largest[c] = std::max(largest[c], std::fabs(x[r * frame.width + c]));
    double over = options_.over;
    if (options_.relative) {
      const size_t n = frame.rows * frame.width;
      over *= std::sqrt(SumMoments(x, n).squares / static_cast<double>(std::max<size_t>(1, n)));
    }
    columns_.clear();
    for (size_t c = 0; c < frame.width; ++c)
      if (largest[c] > over) columns_.push_back(static_cast<uint32_t>(c));
    const size_t most = Most(frame.width);
    if (columns_.size() <= most) return;
    std::nth_element(columns_.begin(), columns_.begin() + static_cast<ptrdiff_t>(most),
                     columns_.end(), [&](uint32_t a, uint32_t b) {
                       return largest[a] != largest[b] ? largest[a] > largest[b] : a < b;
                     });
    columns_.resize(most);
    std::sort(columns_.begin(), columns_.end());
  }

  void Compact(const PartFrame& frame, float* x) const {
    if (columns_.empty()) return;
    float* to = x;
    for (size_t r = 0; r < frame.rows; ++r) {
      const float* row = x + r * frame.width;
      size_t from = 0;
      for (size_t k = 0; k <= columns_.size(); ++k) {
        const size_t end = k < columns_.size() ? columns_[k] : frame.width;
        std::memmove(to, row + from, (end - from) * sizeof(float));
        to += end - from;
        from = end + 1;
      }
    }
  }

  void Leave(PartFrame* frame) {
    rows_ = frame->rows;
    width_ = frame->width;
    frame->width -= columns_.size();
  }

  OutlierOptions options_;
  size_t rows_ = 0, width_ = 0;
  std::vector<uint32_t> columns_;
  std::vector<float> largest_, values_;
  std::vector<uint16_t> stored_;
};

class OutlierSpec final : public PartSpec {
 public:
  explicit OutlierSpec(const OutlierOptions& options) : options_(options) {}
  std::string canonical() const override {
    return absl::StrCat("outliers(over=", Decimal(options_.over),
                        options_.relative ? ",relative)" : ")");
  }
  PartTraits traits() const override { return {.drops_columns = true}; }
  std::unique_ptr<Sidecar> MakeSidecar(const EdgeShape&) const override {
    return std::make_unique<OutlierSidecar>(options_);
  }

 private:
  OutlierOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeOutliersPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"over"}, {"relative"}));
  OutlierOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.over, arguments.Number("over", 0.0, 1e30, 6.0));
  options.relative = arguments.Flag("relative");
  return std::make_shared<OutlierSpec>(options);
}

}  // namespace isthmus
