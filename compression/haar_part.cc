// haar(levels): the orthonormal Haar wavelet along the tokens of each sample (STaMP, arXiv
// 2510.26771). Neighbouring tokens are alike, so most of the energy ends in the first
// tokens / 2^levels rows, which a policy by position then gives more bits.
//
// A level takes rows (2k, 2k + 1) to their sum over sqrt(2) in row k of the first half and their
// difference over sqrt(2) in row k of the second; an odd last row stays, as the last of the first
// half. The next level works on the first half. No side information.
#include <cstring>
#include <memory>

#include "compression/part_table.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

constexpr float kRootHalf = 0.707106781186547524f;

class HaarTransform final : public Transform {
 public:
  explicit HaarTransform(int levels) : levels_(levels) {}

  bool ByRow() const override { return false; }

  void Forward(const PartFrame& frame, RowBlock, float* x, Bytes*) override {
    for (const SampleRows& sample : frame.samples) {
      float* rows = x + static_cast<size_t>(sample.begin) * frame.width;
      size_t n = static_cast<size_t>(sample.tokens);
      for (int level = 0; level < levels_ && n > 1; ++level, n = (n + 1) / 2)
        Split(rows, n, frame.width);
    }
  }
  absl::Status Read(const PartFrame&, RowBlock, ByteReader*) override { return absl::OkStatus(); }

  void Inverse(const PartFrame& frame, RowBlock, float* x) override {
    for (const SampleRows& sample : frame.samples) {
      float* rows = x + static_cast<size_t>(sample.begin) * frame.width;
      size_t lengths[kMaxLevels];
      int levels = 0;
      for (size_t n = static_cast<size_t>(sample.tokens); levels < levels_ && n > 1;
           n = (n + 1) / 2)
        lengths[levels++] = n;
      while (levels > 0) Join(rows, lengths[--levels], frame.width);
    }
  }

  static constexpr int kMaxLevels = 24;

 private:
  void Split(float* rows, size_t n, size_t width) {
    const size_t low = (n + 1) / 2, bytes = width * sizeof(float);
    float* split = Room(&scratch_, n * width);
    for (size_t k = 0; k < n / 2; ++k)
      Rotate(rows + 2 * k * width, rows + (2 * k + 1) * width, width, split + k * width,
             split + (low + k) * width);
    if (n % 2 == 1) std::memcpy(split + (low - 1) * width, rows + (n - 1) * width, bytes);
    std::memcpy(rows, split, n * bytes);
  }
  void Join(float* rows, size_t n, size_t width) {
    const size_t low = (n + 1) / 2, bytes = width * sizeof(float);
    float* joined = Room(&scratch_, n * width);
    for (size_t k = 0; k < n / 2; ++k)
      Rotate(rows + k * width, rows + (low + k) * width, width, joined + 2 * k * width,
             joined + (2 * k + 1) * width);
    if (n % 2 == 1) std::memcpy(joined + (n - 1) * width, rows + (low - 1) * width, bytes);
    std::memcpy(rows, joined, n * bytes);
  }
  static void Rotate(const float* __restrict a, const float* __restrict b, size_t n,
                     float* __restrict sum, float* __restrict difference) {
    for (size_t i = 0; i < n; ++i) {
      sum[i] = (a[i] + b[i]) * kRootHalf;
      difference[i] = (a[i] - b[i]) * kRootHalf;
    }
  }

  int levels_;
  std::vector<float> scratch_;
};

class HaarSpec final : public PartSpec {
 public:
  explicit HaarSpec(int levels) : levels_(levels) {}
  std::string canonical() const override { return absl::StrCat("haar(levels=", levels_, ")"); }
  PartTraits traits() const override { return {.mixes_tokens = true}; }
  std::unique_ptr<Transform> MakeTransform(const EdgeShape&) const override {
    return std::make_unique<HaarTransform>(levels_);
  }

 private:
  int levels_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeHaarPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"levels"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t levels,
                           arguments.Int("levels", 1, HaarTransform::kMaxLevels, 5));
  return std::make_shared<HaarSpec>(static_cast<int>(levels));
}

}  // namespace isthmus
