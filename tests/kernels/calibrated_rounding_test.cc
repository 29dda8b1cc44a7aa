#include "kernels/calibrated_rounding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/upper_factor.h"
#include "tests/kernels/matrices.h"

namespace isthmus {
namespace {

constexpr int64_t kOut = 40;
constexpr int64_t kIn = 172;  // 64 + 64 + 44
constexpr int64_t kRows = 600;

std::vector<WeightFormatSpec> LowBitFormats() {
  std::vector<WeightFormatSpec> formats;
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    if (CodeBits(spec.format) <= 8) formats.push_back(spec);
  }
  return formats;
}

// Rows whose inputs share a few causes and differ in size.
std::vector<float> CorrelatedRows(int64_t rows, int64_t width, uint32_t seed) {
  constexpr int64_t kCauses = 12;
  const std::vector<float> mix = RandomFloats(kCauses * width, seed, 0.5f);
  const std::vector<float> causes = RandomFloats(rows * kCauses, seed + 1);
  std::vector<float> x = RandomFloats(rows * width, seed + 2, 0.2f);
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t c = 0; c < kCauses; ++c) {
        x[m * width + i] += causes[m * kCauses + c] * mix[c * width + i];
      }
      x[m * width + i] *= 0.3f + static_cast<float>(i % 7);
    }
  }
  return x;
}

InputGram GramOf(const std::vector<float>& x, int64_t width) {
  InputGram gram(width);
  gram.Add(x.data(), nullptr, static_cast<int64_t>(x.size()) / width);
  return gram;
}

CalibratedRounding MakeRounding(const InputGram& gram, const WeightFormatSpec& spec) {
  auto rounding = CalibratedRounding::Make(gram, spec);
  EXPECT_TRUE(rounding.ok()) << rounding.status();
  return *std::move(rounding);
}

std::vector<float> ValuesOf(const std::vector<ChannelCodes>& channels,
                            const WeightFormatSpec& spec) {
  std::vector<float> values;
  for (const ChannelCodes& channel : channels) {
    const std::vector<float> row = ChannelValues(channel, spec);
    values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

std::vector<float> NearestValues(const std::vector<float>& weights, int64_t in,
                                 const WeightFormatSpec& spec) {
  std::vector<ChannelCodes> channels;
  for (size_t at = 0; at < weights.size(); at += static_cast<size_t>(in)) {
    channels.push_back(
        QuantizeChannel(absl::MakeConstSpan(weights).subspan(at, static_cast<size_t>(in)), spec));
  }
  return ValuesOf(channels, spec);
}

// |x W^T - z Q^T|^2 in double.
double OutputError(const std::vector<float>& x, const std::vector<float>& weights,
                   const std::vector<float>& z, const std::vector<float>& values, int64_t in) {
  const int64_t rows = static_cast<int64_t>(x.size()) / in;
  const int64_t out = static_cast<int64_t>(weights.size()) / in;
  const std::vector<double> a = ProductNT(x, weights, rows, out, in);
  const std::vector<double> b = ProductNT(z, values, rows, out, in);
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

TEST(UpperFactorTest, IsThatOfTheInverse) {
  constexpr int64_t n = 70;
  const InputGram gram = GramOf(CorrelatedRows(200, n, 3), n);
  std::vector<double> h(n * n), u;
  for (int64_t i = 0; i < n * n; ++i) h[i] = gram.At(i / n, i % n);
  u = h;
  ThreadPool pool(2);
  ASSERT_TRUE(InvertToUpperFactor(n, &u, &pool));
  // U^T U H = 1.
  std::vector<double> uh(n * n, 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) EXPECT_EQ(u[i * n + j], 0.0);
    for (int64_t k = i; k < n; ++k) {
      for (int64_t j = 0; j < n; ++j) uh[i * n + j] += u[i * n + k] * h[k * n + j];
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (int64_t k = 0; k <= i; ++k) sum += u[k * n + i] * uh[k * n + j];
      ASSERT_NEAR(sum, i == j ? 1.0 : 0.0, 1e-8) << i << " " << j;
    }
  }
}

TEST(UpperFactorTest, RefusesWhatIsNotPositiveDefinite) {
  std::vector<double> indefinite = {1.0, 2.0, 2.0, 1.0};
  EXPECT_FALSE(InvertToUpperFactor(2, &indefinite, nullptr));
  std::vector<double> nan = {1.0, 0.0, 0.0, std::nan("")};
  EXPECT_FALSE(InvertToUpperFactor(2, &nan, nullptr));
}

TEST(CalibratedRoundingTest, IndependentInputsAreRoundedToNearest) {
  std::vector<float> identity(kIn * kIn, 0.0f);
  for (int64_t i = 0; i < kIn; ++i) identity[i * kIn + i] = 2.0f;
  const InputGram gram = GramOf(identity, kIn);
  const std::vector<float> weights = RandomFloats(kOut * kIn, 4);
  for (const WeightFormatSpec& spec : LowBitFormats()) {
    const CalibratedCodes codes = MakeRounding(gram, spec).Round(weights, kOut);
    EXPECT_EQ(ValuesOf(codes.channels, spec), NearestValues(weights, kIn, spec))
        << WeightFormatText(spec);
    EXPECT_EQ(codes.error, codes.nearest_error);
  }
}

TEST(CalibratedRoundingTest, CorrelatedInputsLoseLess) {
  const std::vector<float> x = CorrelatedRows(kRows, kIn, 5);
  const InputGram gram = GramOf(x, kIn);
  const std::vector<float> weights = RandomFloats(kOut * kIn, 6);
  for (const WeightFormatSpec& spec : LowBitFormats()) {
    const CalibratedCodes codes = MakeRounding(gram, spec).Round(weights, kOut);
    const double nearest = OutputError(x, weights, x, NearestValues(weights, kIn, spec), kIn);
    const double error = OutputError(x, weights, x, ValuesOf(codes.channels, spec), kIn);
    EXPECT_NEAR(codes.nearest_error, nearest, 1e-3 * nearest) << WeightFormatText(spec);
    EXPECT_NEAR(codes.error, error, 1e-3 * nearest) << WeightFormatText(spec);
    EXPECT_LT(error, 0.5 * nearest) << WeightFormatText(spec);
  }
}

// The method as it is published, in double, columns in their own order: H^-1 is formed, a column's
// error goes to the rest by its row, and the column is eliminated from it.
std::vector<float> PublishedRounding(const InputGram& gram, const std::vector<float>& weights,
                                     const WeightFormatSpec& spec) {
  const int64_t n = gram.width(), out = static_cast<int64_t>(weights.size()) / n;
  std::vector<double> h(n * n);
  double mean = 0.0;
  for (int64_t i = 0; i < n; ++i) mean += gram.At(i, i) / static_cast<double>(n);
  for (int64_t i = 0; i < n * n; ++i) {
    h[i] = gram.At(i / n, i % n) + (i / n == i % n ? 0.01 * mean : 0.0);
  }
  std::vector<double> inverse(n * n, 0.0);  // Gauss-Jordan
  for (int64_t i = 0; i < n; ++i) inverse[i * n + i] = 1.0;
  for (int64_t p = 0; p < n; ++p) {
    const double pivot = h[p * n + p];
    for (int64_t j = 0; j < n; ++j) {
      h[p * n + j] /= pivot;
      inverse[p * n + j] /= pivot;
    }
    for (int64_t i = 0; i < n; ++i) {
      const double factor = h[i * n + p];
      if (i == p || factor == 0.0) continue;
      for (int64_t j = 0; j < n; ++j) {
        h[i * n + j] -= factor * h[p * n + j];
        inverse[i * n + j] -= factor * inverse[p * n + j];
      }
    }
  }
  std::vector<float> values(weights.size());
  std::vector<double> w(weights.begin(), weights.end());
  std::vector<GroupGrid> grids(static_cast<size_t>(out));
  for (int64_t k = 0; k < n; ++k) {
    for (int64_t c = 0; c < out; ++c) {
      double* row = w.data() + c * n;
      if (k % spec.group == 0) {
        const std::vector<float> part(row + k, row + std::min<int64_t>(n, k + spec.group));
        const ChannelCodes fitted = QuantizeChannel(part, {spec.format, spec.group});
        grids[c] = {spec.format, fitted.scales[0]};
      }
      values[c * n + k] = grids[c].ValueOf(grids[c].CodeOf(static_cast<float>(row[k])));
      const double error = (row[k] - values[c * n + k]) / inverse[k * n + k];
      for (int64_t j = k; j < n; ++j) row[j] -= error * inverse[k * n + j];
    }
    for (int64_t i = n - 1; i > k; --i) {
      const double factor = inverse[i * n + k] / inverse[k * n + k];
      for (int64_t j = k; j < n; ++j) inverse[i * n + j] -= factor * inverse[k * n + j];
    }
  }
  return values;
}

TEST(CalibratedRoundingTest, IsNoWorseThanThePublishedMethod) {
  const std::vector<float> x = CorrelatedRows(kRows, kIn, 7);
  const InputGram gram = GramOf(x, kIn);
  const std::vector<float> weights = RandomFloats(kOut * kIn, 8);
  const WeightFormatSpec spec = {WeightFormat::kInt4Group, 64};
  const std::vector<float> published = PublishedRounding(gram, weights, spec);
  const CalibratedCodes codes = MakeRounding(gram, spec).Round(weights, kOut);
  const double error = OutputError(x, weights, x, published, kIn);
  EXPECT_LT(error, 0.7 * codes.nearest_error);
  EXPECT_LT(codes.error, error);
}

TEST(CalibratedRoundingTest, ThreadsDoNotShow) {
  const InputGram gram = GramOf(CorrelatedRows(kRows, kIn, 9), kIn);
  const std::vector<float> weights = RandomFloats(kOut * kIn, 10);
  const WeightFormatSpec spec = {WeightFormat::kInt4Group, 32};
  ThreadPool pool(3);
  const auto shared = CalibratedRounding::Make(gram, spec, &pool);
  ASSERT_TRUE(shared.ok());
  const CalibratedCodes one = MakeRounding(gram, spec).Round(weights, kOut);
  const CalibratedCodes three = shared->Round(weights, kOut, &pool);
  for (int64_t n = 0; n < kOut; ++n) {
    EXPECT_EQ(one.channels[n].codes, three.channels[n].codes);
    EXPECT_EQ(one.channels[n].scales, three.channels[n].scales);
  }
  EXPECT_EQ(one.error, three.error);
}

// Inputs that shrank in front: the weights grow towards what gives the exact outputs.
TEST(CalibratedRoundingTest, ExactInputsAreAimedAt) {
  const std::vector<float> exact = CorrelatedRows(kRows, kIn, 11);
  std::vector<float> x = exact;
  for (float& v : x) v *= 0.8f;
  InputGram drifted(kIn);
  drifted.Add(x.data(), exact.data(), kRows);
  const std::vector<float> weights = RandomFloats(kOut * kIn, 12);
  const WeightFormatSpec spec = {WeightFormat::kInt8Group, 64};
  const auto error = [&](const InputGram& gram) {
    const CalibratedCodes codes = MakeRounding(gram, spec).Round(weights, kOut);
    return OutputError(exact, weights, x, ValuesOf(codes.channels, spec), kIn);
  };
  const double share = 0.5 * kRows / (kRows + kIn);
  EXPECT_NEAR(error(drifted) / error(GramOf(x, kIn)), (1.0 - share) * (1.0 - share), 0.05);
}

TEST(CalibratedRoundingTest, WideFormatsAndInputsThatAreNotFiniteAreRefused) {
  std::vector<float> x = CorrelatedRows(20, kIn, 13);
  const auto wide = CalibratedRounding::Make(GramOf(x, kIn), {WeightFormat::kBf16, 0});
  EXPECT_EQ(wide.status().code(), absl::StatusCode::kInvalidArgument);
  x[5] = std::numeric_limits<float>::infinity();
  const auto infinite = CalibratedRounding::Make(GramOf(x, kIn), {WeightFormat::kInt4Group, 64});
  EXPECT_EQ(infinite.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(infinite.status().message().find("finite"), absl::string_view::npos);
}

// Inputs that are always 0, and fewer rows than inputs.
TEST(CalibratedRoundingTest, FewRowsAreEnough) {
  std::vector<float> x = CorrelatedRows(20, kIn, 14);
  for (int64_t m = 0; m < 20; ++m) x[m * kIn + 3] = 0.0f;
  const std::vector<float> weights = RandomFloats(kOut * kIn, 15);
  const WeightFormatSpec spec = {WeightFormat::kInt4Group, 64};
  const CalibratedCodes codes = MakeRounding(GramOf(x, kIn), spec).Round(weights, kOut);
  EXPECT_LT(codes.error, 0.3 * codes.nearest_error);
  const InputGram silent(kIn);
  const CalibratedCodes same = MakeRounding(silent, spec).Round(weights, kOut);
  EXPECT_EQ(ValuesOf(same.channels, spec), NearestValues(weights, kIn, spec));
}

}  // namespace
}  // namespace isthmus
