// bf16 x bf16: every instruction set against the rule written out, and against float64.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/matmul.h"
#include "kernels/quantize_weights.h"
#include "kernels/target.h"
#include "tests/kernels/matrices.h"

namespace isthmus {
namespace {

struct Sizes {
  int64_t rows, out, in;
};
constexpr Sizes kSizes[] = {{1, 64, 64},   {1, 130, 700}, {3, 70, 172}, {17, 200, 96},
                            {21, 70, 600}, {6, 8, 24},    {50, 65, 130}};

PackedMatrix Packed(const Sizes& sizes, float scale) {
  auto packed = PackedMatrix::Pack(RandomFloats(sizes.out * sizes.in, 5, scale), sizes.out,
                                   sizes.in, {WeightFormat::kBf16, 0});
  EXPECT_TRUE(packed.ok()) << packed.status();
  return *std::move(packed);
}

std::vector<float> Weights(const PackedMatrix& w) {
  std::vector<float> values(w.out() * w.in());
  w.Dequantize(0, w.out(), values.data());
  return values;
}

float Flushed(float v) {
  return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0f, v) : v;
}

// c [m, n] = a [m, k] w^T by the rule of kernel_table.h.
std::vector<float> ByTheRule(const std::vector<float>& a, const std::vector<float>& w, int64_t m,
                             int64_t n, int64_t k) {
  std::vector<float> c(m * n, 0.0f);
  for (int64_t i = 0; i < m * n; ++i) {
    const float* x = a.data() + i / n * k;
    const float* row = w.data() + i % n * k;
    for (int64_t begin = 0; begin < k; begin += 32) {
      float sum[2] = {};
      for (int64_t l = begin; l < std::min(begin + 32, k); ++l) {
        const float rounded = FloatOfBf16(Bf16OfFloat(x[l]));
        sum[l % 2] = Flushed(std::fma(Flushed(rounded), Flushed(row[l]), sum[l % 2]));
      }
      c[i] = Flushed(c[i] + Flushed(sum[0] + sum[1]));
    }
  }
  return c;
}

// Same values; zeros of either sign are equal.
void ExpectSame(const std::vector<float>& got, const std::vector<float>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], want[i]) << what << " " << i;
}

class MatmulBf16Test : public ::testing::Test {
 protected:
  void TearDown() override { ASSERT_TRUE(ForceTarget(before_).ok()); }
  const KernelTarget before_ = CurrentTarget();
};

// Ordinary values, and products around 2^-126 of which some are zeros.
TEST_F(MatmulBf16Test, EveryTargetFollowsTheRule) {
  for (float scale : {1.0f, 1e-19f}) {
    for (const Sizes& sizes : kSizes) {
      const PackedMatrix w = Packed(sizes, scale);
      const std::vector<float> weights = Weights(w);
      const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 6, scale);
      const std::vector<float> dy = RandomFloats(sizes.rows * sizes.out, 7, scale);
      const std::vector<float> y = ByTheRule(x, weights, sizes.rows, sizes.out, sizes.in);
      const std::vector<float> dx =
          ByTheRule(dy, Transposed(weights, sizes.out, sizes.in), sizes.rows, sizes.in, sizes.out);
      for (KernelTarget target : SupportedTargets()) {
        ASSERT_TRUE(ForceTarget(target).ok());
        SCOPED_TRACE(::testing::Message() << TargetName(target) << " " << scale << " " << sizes.rows
                                          << " " << sizes.out << " " << sizes.in);
        std::vector<float> y_here(y.size()), dx_here(dx.size());
        const MatmulOptions options = {.bf16_activations = true};
        MatmulForward(x.data(), sizes.rows, w, y_here.data(), options);
        MatmulInputGradient(dy.data(), sizes.rows, w, dx_here.data(), options);
        ExpectSame(y_here, y, "forward");
        ExpectSame(dx_here, dx, "gradient");
      }
    }
  }
}

// Rounding the activations costs at most 2^-9 of each, 2^-9 / sqrt(3) = 0.0011 of a product where
// the errors are evenly spread.
TEST_F(MatmulBf16Test, IsCloseToFloat64) {
  for (const Sizes& sizes : kSizes) {
    const PackedMatrix w = Packed(sizes, 0.05f);
    const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 8);
    std::vector<float> y(sizes.rows * sizes.out);
    MatmulForward(x.data(), sizes.rows, w, y.data(), {.bf16_activations = true});
    EXPECT_LT(RelativeError(y, ProductNT(x, Weights(w), sizes.rows, sizes.out, sizes.in)), 0.0025);
  }
}

TEST_F(MatmulBf16Test, ThreadsScratchSplitsAndAccumulationChangeNothing) {
  const Sizes sizes = {300, 129, 300};
  const PackedMatrix w = Packed(sizes, 0.05f);
  const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 9);
  std::vector<float> y(sizes.rows * sizes.out), parts(y.size()), sum(y.size(), 0.5f);
  MatmulForward(x.data(), sizes.rows, w, y.data(), {.bf16_activations = true});
  ThreadPool pool(3);
  std::vector<uint8_t> scratch(MatmulScratchBytes(w, sizes.rows, 3, true));
  const MatmulOptions threaded = {
      .bf16_activations = true, .pool = &pool, .scratch = absl::MakeSpan(scratch)};
  for (int64_t m = 0, count; m < sizes.rows; m += count) {
    count = m == 0 ? 1 : std::min<int64_t>(40, sizes.rows - m);
    MatmulForward(x.data() + m * sizes.in, count, w, parts.data() + m * sizes.out, threaded);
  }
  ExpectSame(parts, y, "parts");
  MatmulForward(x.data(), sizes.rows, w, sum.data(),
                {.accumulate = true, .bf16_activations = true});
  for (float& v : y) v = 0.5f + v;
  ExpectSame(sum, y, "added");
}

TEST_F(MatmulBf16Test, ARowThatIsNotFiniteShowsAndSparesItsNeighbours) {
  const Sizes sizes = {18, 70, 172};
  const PackedMatrix w = Packed(sizes, 0.05f);
  for (KernelTarget target : SupportedTargets()) {
    ASSERT_TRUE(ForceTarget(target).ok());
    std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 16);
    std::vector<float> y(sizes.rows * sizes.out), bad(y.size());
    MatmulForward(x.data(), sizes.rows, w, y.data(), {.bf16_activations = true});
    x[3 * sizes.in + 100] = std::numeric_limits<float>::quiet_NaN();
    MatmulForward(x.data(), sizes.rows, w, bad.data(), {.bf16_activations = true});
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / sizes.out == 3) {
        ASSERT_TRUE(std::isnan(bad[i])) << TargetName(target);
      } else {
        ASSERT_EQ(bad[i], y[i]) << TargetName(target);
      }
    }
  }
}

}  // namespace
}  // namespace isthmus
