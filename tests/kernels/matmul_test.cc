// Every format on every instruction set: the scalar bits, close to float64, the same for any number
// of threads and any split of the rows.
#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/target.h"
#include "tests/kernels/matrices.h"

namespace isthmus {
namespace {

struct Sizes {
  int64_t rows, out, in;
};

// One token, row tiles that are full and not, ragged sides, more than one block of depth either
// way.
const std::vector<Sizes>& AllSizes() {
  static const std::vector<Sizes> sizes = {
      {1, 64, 64},   {1, 130, 700},  {3, 70, 172}, {16, 64, 512}, {17, 200, 96}, {4, 600, 70},
      {2, 129, 130}, {21, 70, 1100}, {6, 8, 24},   {7, 8, 24},    {150, 65, 130}};
  return sizes;
}

class OnTarget {
 public:
  explicit OnTarget(KernelTarget target) : before_(CurrentTarget()) {
    EXPECT_TRUE(ForceTarget(target).ok());
  }
  ~OnTarget() { EXPECT_TRUE(ForceTarget(before_).ok()); }

 private:
  KernelTarget before_;
};

PackedMatrix Packed(const Sizes& sizes, const WeightFormatSpec& spec, uint32_t seed = 5) {
  auto packed = PackedMatrix::Pack(RandomFloats(sizes.out * sizes.in, seed, 0.05f), sizes.out,
                                   sizes.in, spec);
  EXPECT_TRUE(packed.ok()) << packed.status();
  return *std::move(packed);
}

std::vector<float> Weights(const PackedMatrix& w) {
  std::vector<float> values(w.out() * w.in());
  w.Dequantize(0, w.out(), values.data());
  return values;
}

std::vector<float> Forward(const std::vector<float>& x, int64_t rows, const PackedMatrix& w,
                           const MatmulOptions& options = {}) {
  std::vector<float> y(rows * w.out(), 0.5f);
  MatmulForward(x.data(), rows, w, y.data(), options);
  return y;
}

std::vector<float> Gradient(const std::vector<float>& dy, int64_t rows, const PackedMatrix& w,
                            const MatmulOptions& options = {}) {
  std::vector<float> dx(rows * w.in(), 0.5f);
  MatmulInputGradient(dy.data(), rows, w, dx.data(), options);
  return dx;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<WeightFormatSpec> FormatsAndGroups() {
  std::vector<WeightFormatSpec> specs = AllWeightFormats();
  for (int group : {32, 128}) {
    specs.push_back({WeightFormat::kInt8Group, group});
    specs.push_back({WeightFormat::kInt4Group, group});
  }
  specs.push_back({WeightFormat::kProgressive4, 32});
  return specs;
}

TEST(MatmulTest, EveryTargetGivesTheScalarBits) {
  for (const WeightFormatSpec& spec : FormatsAndGroups()) {
    for (const Sizes& sizes : AllSizes()) {
      const PackedMatrix w = Packed(sizes, spec);
      const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 6);
      const std::vector<float> dy = RandomFloats(sizes.rows * sizes.out, 7);
      std::vector<float> y, y_float, dx;
      for (KernelTarget target : SupportedTargets()) {
        const OnTarget on(target);
        const std::vector<float> y_here = Forward(x, sizes.rows, w);
        const std::vector<float> y_float_here =
            Forward(x, sizes.rows, w, {.float_activations = true});
        const std::vector<float> dx_here = Gradient(dy, sizes.rows, w);
        if (target == KernelTarget::kScalar) {
          y = y_here, y_float = y_float_here, dx = dx_here;
          continue;
        }
        const auto where = ::testing::Message()
                           << TargetName(target) << " " << WeightFormatText(spec) << " "
                           << sizes.rows << " " << sizes.out << " " << sizes.in;
        EXPECT_TRUE(SameBits(y_here, y)) << where;
        EXPECT_TRUE(SameBits(y_float_here, y_float)) << where;
        EXPECT_TRUE(SameBits(dx_here, dx)) << where;
      }
    }
  }
}

// -128 times 127 everywhere, the most that the narrow sums inside a product must hold.
TEST(MatmulTest, EveryTargetHoldsTheLargestSums) {
  const Sizes sizes = {9, 64, 512};
  const WeightFormatSpec spec = {WeightFormat::kInt8, 0};
  alignas(64) static uint8_t bytes[64 * 512 + 64 * sizeof(float)];
  std::fill_n(bytes, sizes.out * sizes.in, uint8_t{0x80});
  std::fill_n(reinterpret_cast<float*>(bytes + sizes.out * sizes.in), sizes.out, 1.0f);
  const auto w = PackedMatrix::View(bytes, sizes.out, sizes.in, spec, nullptr);
  ASSERT_TRUE(w.ok()) << w.status();
  const std::vector<int8_t> codes(sizes.rows * sizes.in, 127);
  const std::vector<float> scales(sizes.rows, 1.0f);
  for (int64_t count : {int64_t{1}, sizes.rows}) {
    const QuantizedRows rows = {count, sizes.in, sizes.in, codes.data(), scales.data()};
    for (KernelTarget target : SupportedTargets()) {
      const OnTarget on(target);
      std::vector<float> y(count * sizes.out);
      MatmulForward(rows, *w, y.data());
      for (float v : y) ASSERT_EQ(v, -128.0f * 127.0f * 512.0f) << TargetName(target);
    }
  }
}

// Against the dequantised weights in float64. 8-bit activations of normal rows cost about
// 1/127 x 3.5 deviations / sqrt(12) = 0.008 of a product; the gradient's runs of 64 a little less,
// and the second rounding of grouped weights as much again: 0.011.
TEST(MatmulTest, ProductsAreCloseToFloat64) {
  for (const WeightFormatSpec& spec : FormatsAndGroups()) {
    for (const Sizes& sizes : AllSizes()) {
      const PackedMatrix w = Packed(sizes, spec);
      const std::vector<float> weights = Weights(w);
      const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 8);
      const std::vector<float> dy = RandomFloats(sizes.rows * sizes.out, 9);
      const auto y = ProductNT(x, weights, sizes.rows, sizes.out, sizes.in);
      const auto dx =
          ProductNT(dy, Transposed(weights, sizes.out, sizes.in), sizes.rows, sizes.in, sizes.out);
      const double bound = IsIntegerFormat(spec.format) ? 0.015 : 2e-6;
      const auto where = ::testing::Message()
                         << WeightFormatText(spec) << " " << sizes.rows << " " << sizes.out;
      EXPECT_LT(RelativeError(Forward(x, sizes.rows, w), y), bound) << where;
      EXPECT_LT(RelativeError(Gradient(dy, sizes.rows, w), dx), bound) << where;
      const MatmulOptions exact = {.float_activations = true};
      EXPECT_LT(RelativeError(Forward(x, sizes.rows, w, exact), y), 2e-6) << where;
      EXPECT_LT(RelativeError(Gradient(dy, sizes.rows, w, exact), dx), 2e-6) << where;
    }
  }
}

TEST(MatmulTest, AccumulatesOntoWhatIsThere) {
  const Sizes sizes = {5, 70, 172};
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    const PackedMatrix w = Packed(sizes, spec);
    const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 10);
    std::vector<float> expected = Forward(x, sizes.rows, w);
    for (float& v : expected) v = 0.5f + v;
    EXPECT_TRUE(SameBits(Forward(x, sizes.rows, w, {.accumulate = true}), expected))
        << WeightFormatText(spec);
  }
}

TEST(MatmulTest, ThreadsAndSplitsOfTheRowsChangeNothing) {
  const Sizes sizes = {150, 200, 700};
  ThreadPool pool(3);
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    const PackedMatrix w = Packed(sizes, spec);
    const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 11);
    const std::vector<float> dy = RandomFloats(sizes.rows * sizes.out, 12);
    const std::vector<float> y = Forward(x, sizes.rows, w);
    const std::vector<float> dx = Gradient(dy, sizes.rows, w);
    EXPECT_TRUE(SameBits(Forward(x, sizes.rows, w, {.pool = &pool}), y)) << WeightFormatText(spec);
    EXPECT_TRUE(SameBits(Gradient(dy, sizes.rows, w, {.pool = &pool}), dx));
    std::vector<float> y_parts, dx_parts;
    for (int64_t m = 0; m < sizes.rows;) {
      const int64_t count = std::min<int64_t>(m == 0 ? 1 : 40, sizes.rows - m);
      const std::vector<float> x_part(x.begin() + m * sizes.in, x.begin() + (m + count) * sizes.in);
      const std::vector<float> dy_part(dy.begin() + m * sizes.out,
                                       dy.begin() + (m + count) * sizes.out);
      const std::vector<float> some = Forward(x_part, count, w);
      const std::vector<float> some_dx = Gradient(dy_part, count, w);
      y_parts.insert(y_parts.end(), some.begin(), some.end());
      dx_parts.insert(dx_parts.end(), some_dx.begin(), some_dx.end());
      m += count;
    }
    EXPECT_TRUE(SameBits(y_parts, y)) << WeightFormatText(spec);
    EXPECT_TRUE(SameBits(dx_parts, dx)) << WeightFormatText(spec);
  }
}

// Rows of unit size; in every third, two inputs are 60 times larger.
std::vector<float> RowsWithOutliers(const Sizes& sizes, uint32_t seed) {
  std::vector<float> x = RandomFloats(sizes.rows * sizes.in, seed);
  for (float& v : x) v = std::fmin(5.0f, std::fmax(-5.0f, v));
  for (int64_t m = 0; m < sizes.rows; m += 3) {
    x[m * sizes.in + 3] = 61.0f;
    x[m * sizes.in + sizes.in - 2] = m % 2 == 0 ? -58.0f : 6.0f;
  }
  return x;
}

TEST(MatmulTest, OutliersAsideCostTheOthersNothing) {
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    if (!IsIntegerFormat(spec.format)) continue;
    const Sizes sizes = {10, 70, 172};
    const PackedMatrix w = Packed(sizes, spec);
    const std::vector<float> x = RowsWithOutliers(sizes, 41);
    const std::vector<double> exact = ProductNT(x, Weights(w), sizes.rows, sizes.out, sizes.in);
    const double plain = RelativeError(Forward(x, sizes.rows, w), exact);
    const double aside = RelativeError(Forward(x, sizes.rows, w, {.outliers = 6.0f}), exact);
    EXPECT_LT(aside, 0.1 * plain) << WeightFormatText(spec);
    // Without outliers not a bit changes.
    const std::vector<float> calm = RandomFloats(sizes.rows * sizes.in, 42, 0.5f);
    EXPECT_TRUE(
        SameBits(Forward(calm, sizes.rows, w, {.outliers = 6.0f}), Forward(calm, sizes.rows, w)));
  }
}

TEST(MatmulTest, OutliersAreTheSameBitsEverywhere) {
  ThreadPool pool(3);
  for (const Sizes& sizes : AllSizes()) {
    for (const WeightFormatSpec& spec : AllWeightFormats()) {
      if (!IsIntegerFormat(spec.format)) continue;
      const PackedMatrix w = Packed(sizes, spec);
      const std::vector<float> x = RowsWithOutliers(sizes, 43);
      std::vector<float> expected;
      {
        const OnTarget scalar(KernelTarget::kScalar);
        expected = Forward(x, sizes.rows, w, {.outliers = 6.0f});
      }
      for (KernelTarget target : SupportedTargets()) {
        const OnTarget on(target);
        EXPECT_TRUE(
            SameBits(Forward(x, sizes.rows, w, {.outliers = 6.0f, .pool = &pool}), expected))
            << WeightFormatText(spec) << " " << TargetName(target);
        std::vector<float> rows;
        for (int64_t m = 0; m < sizes.rows; ++m) {
          const std::vector<float> one(x.begin() + m * sizes.in, x.begin() + (m + 1) * sizes.in);
          const std::vector<float> y = Forward(one, 1, w, {.outliers = 6.0f});
          rows.insert(rows.end(), y.begin(), y.end());
        }
        EXPECT_TRUE(SameBits(rows, expected)) << WeightFormatText(spec);
      }
    }
  }
}

TEST(MatmulTest, AnInfiniteActivationIsNoOutlier) {
  const Sizes sizes = {4, 70, 172};
  const PackedMatrix w = Packed(sizes, {WeightFormat::kInt4Group, 64});
  std::vector<float> x = RowsWithOutliers(sizes, 44);
  const std::vector<float> before = Forward(x, sizes.rows, w, {.outliers = 6.0f});
  x[sizes.in + 9] = std::numeric_limits<float>::infinity();
  const std::vector<float> y = Forward(x, sizes.rows, w, {.outliers = 6.0f});
  for (int64_t n = 0; n < sizes.out; ++n) {
    EXPECT_TRUE(std::isnan(y[sizes.out + n]));
    EXPECT_EQ(y[n], before[n]);
  }
}

TEST(MatmulTest, GivenScratchIsEnoughAndChangesNothing) {
  const Sizes sizes = {35, 129, 1100};
  ThreadPool pool(2);
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    const PackedMatrix w = Packed(sizes, spec);
    const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 13);
    const std::vector<float> dy = RandomFloats(sizes.rows * sizes.out, 14);
    std::vector<uint8_t> scratch(MatmulScratchBytes(w, sizes.rows, 2));
    const MatmulOptions options = {.pool = &pool, .scratch = absl::MakeSpan(scratch)};
    EXPECT_TRUE(SameBits(Forward(x, sizes.rows, w, options), Forward(x, sizes.rows, w)));
    EXPECT_TRUE(SameBits(Gradient(dy, sizes.rows, w, options), Gradient(dy, sizes.rows, w)));
    MatmulOptions aside = options;
    aside.outliers = 2.0f;
    EXPECT_TRUE(
        SameBits(Forward(x, sizes.rows, w, aside), Forward(x, sizes.rows, w, {.outliers = 2.0f})));
  }
}

TEST(MatmulTest, RowsQuantisedOnceServeSeveralMatrices) {
  const Sizes sizes = {20, 70, 172};
  const std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 15);
  std::vector<uint8_t> storage(QuantizedRowsBytes(sizes.rows, sizes.in));
  const QuantizedRows rows = QuantizeRows(x.data(), sizes.rows, sizes.in, absl::MakeSpan(storage));
  for (uint32_t seed : {1u, 2u}) {
    const PackedMatrix w = Packed(sizes, {WeightFormat::kInt4Group, 64}, seed);
    std::vector<float> y(sizes.rows * sizes.out);
    MatmulForward(rows, w, y.data());
    EXPECT_TRUE(SameBits(y, Forward(x, sizes.rows, w)));
  }
}

TEST(MatmulTest, ARowThatIsNotFiniteShowsAndSparesItsNeighbours) {
  const Sizes sizes = {18, 70, 172};
  for (KernelTarget target : SupportedTargets()) {
    const OnTarget on(target);
    for (const WeightFormatSpec& spec : AllWeightFormats()) {
      const PackedMatrix w = Packed(sizes, spec);
      std::vector<float> x = RandomFloats(sizes.rows * sizes.in, 16);
      const std::vector<float> y = Forward(x, sizes.rows, w);
      x[3 * sizes.in + 100] = std::numeric_limits<float>::quiet_NaN();
      const std::vector<float> bad = Forward(x, sizes.rows, w);
      for (int64_t i = 0; i < sizes.rows * sizes.out; ++i) {
        if (i / sizes.out == 3) {
          ASSERT_TRUE(std::isnan(bad[i])) << WeightFormatText(spec);
        } else {
          ASSERT_EQ(bad[i], y[i]) << WeightFormatText(spec);
        }
      }
    }
  }
}

// A softmax gradient: one element near -1, a tail of 1e-4. Under one scale a row the tail would be
// lost.
TEST(MatmulTest, TheTailOfASoftmaxGradientSurvives) {
  const Sizes sizes = {4, 2048, 64};
  const PackedMatrix w = Packed(sizes, {WeightFormat::kInt8, 0});
  std::vector<float> dy(sizes.rows * sizes.out);
  for (int64_t m = 0; m < sizes.rows; ++m) {
    for (int64_t n = 0; n < sizes.out; ++n) dy[m * sizes.out + n] = 1e-3f * (1 + n % 7);
    dy[m * sizes.out + 100 * m] = -1.0f;
  }
  const auto dx =
      ProductNT(dy, Transposed(Weights(w), sizes.out, sizes.in), sizes.rows, sizes.in, sizes.out);
  EXPECT_LT(RelativeError(Gradient(dy, sizes.rows, w), dx), 0.02);
}

TEST(MatmulF32Test, EveryTransposeAndTargetIsTheProduct) {
  const int64_t m = 37, n = 75, k = 300;
  const std::vector<float> a = RandomFloats(m * k, 17), b = RandomFloats(k * n, 18);
  const std::vector<float> at = Transposed(a, m, k), bt = Transposed(b, k, n);
  const std::vector<double> exact = ProductNT(a, bt, m, n, k);
  std::vector<float> first;
  for (KernelTarget target : SupportedTargets()) {
    const OnTarget on(target);
    for (int which = 0; which < 4; ++which) {
      const MatrixOperand left =
          (which & 1) != 0 ? MatrixOperand{at.data(), m, true} : MatrixOperand{a.data(), k, false};
      const MatrixOperand right =
          (which & 2) != 0 ? MatrixOperand{bt.data(), k, true} : MatrixOperand{b.data(), n, false};
      std::vector<float> c(m * n, 1.0f);
      MatmulF32(left, right, m, n, k, c.data());
      EXPECT_LT(RelativeError(c, exact), 1e-6);
      if (first.empty()) first = c;
      EXPECT_TRUE(SameBits(c, first)) << TargetName(target) << " " << which;
    }
  }
}

TEST(MatmulF32Test, NarrowThreadedAndAccumulating) {
  const int64_t m = 300, n = 8, k = 70;
  const std::vector<float> a = RandomFloats(m * k, 19), b = RandomFloats(k * n, 20);
  std::vector<float> c(m * n, 2.0f);
  MatmulF32({a.data(), k}, {b.data(), n}, m, n, k, c.data());
  EXPECT_LT(RelativeError(c, ProductNT(a, Transposed(b, k, n), m, n, k)), 1e-6);
  ThreadPool pool(3);
  std::vector<uint8_t> scratch(MatmulF32ScratchBytes(3));
  std::vector<float> sum(m * n, 2.0f);
  MatmulF32({a.data(), k}, {b.data(), n}, m, n, k, sum.data(),
            {.accumulate = true, .pool = &pool, .scratch = absl::MakeSpan(scratch)});
  for (float& v : c) v = 2.0f + v;
  EXPECT_TRUE(SameBits(sum, c));
  MatmulF32({a.data(), k}, {b.data(), n}, m, n, 0, c.data());
  EXPECT_TRUE(SameBits(c, std::vector<float>(m * n, 0.0f)));
}

TEST(TargetTest, OnlySupportedTargetsCanBeForced) {
  EXPECT_EQ(SupportedTargets().front(), KernelTarget::kScalar);
  EXPECT_FALSE(ForceTarget("avx1024").ok());
  const OnTarget on(KernelTarget::kScalar);
  EXPECT_EQ(CurrentTarget(), KernelTarget::kScalar);
}

// `./dev arm64` names what the processor has that it emulates.
TEST(TargetTest, BestIsWhatTheProcessorHas) {
  const char* best = std::getenv("ISTHMUS_TEST_BEST_TARGET");
  if (best == nullptr)
    GTEST_SKIP() << "ISTHMUS_TEST_BEST_TARGET does not name a processor's target";
  EXPECT_EQ(TargetName(SupportedTargets().back()), best);
}

}  // namespace
}  // namespace isthmus
