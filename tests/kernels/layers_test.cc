// Norms, activations, rotary positions, attention, loss and optimizers against their formulas in
// double, and gradients against finite differences of those formulas.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/norm.h"
#include "kernels/optimizer_step.h"
#include "kernels/quantized_rows.h"
#include "kernels/rotary.h"
#include "kernels/rows.h"

namespace isthmus::kernels {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats Random(size_t count, uint64_t seed, double deviation = 1.0) {
  CounterRng rng(RandomKey(seed, "test.layers"));
  Floats values(count);
  for (float& value : values) value = static_cast<float>(deviation * rng.NextNormal());
  return values;
}

Doubles Widen(const Floats& values) { return Doubles(values.begin(), values.end()); }

void ExpectNear(const Floats& got, const Doubles& want, double tolerance, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * (1.0 + std::abs(want[i]))) << what << " " << i;
}

// The gradient of <weights, f(x)> by central differences in double.
Doubles Differences(const std::function<Doubles(const Doubles&)>& f, const Doubles& x,
                    const Floats& weights) {
  constexpr double kStep = 1e-6;
  Doubles gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    double sides[2];
    for (int side : {0, 1}) {
      Doubles moved = x;
      moved[i] += side == 0 ? -kStep : kStep;
      const Doubles y = f(moved);
      sides[side] = 0.0;
      for (size_t j = 0; j < y.size(); ++j) sides[side] += y[j] * weights[j];
    }
    gradient[i] = (sides[1] - sides[0]) / (2.0 * kStep);
  }
  return gradient;
}

constexpr double kEps = 1e-5;

Doubles NormOf(const Doubles& x, const Doubles& weight, const Doubles& bias, size_t width) {
  Doubles y(x.size());
  for (size_t r = 0; r < x.size() / width; ++r) {
    double mean = 0.0, squares = 0.0;
    for (size_t i = 0; i < width && !bias.empty(); ++i) mean += x[r * width + i] / width;
    for (size_t i = 0; i < width; ++i) squares += std::pow(x[r * width + i] - mean, 2) / width;
    for (size_t i = 0; i < width; ++i) {
      y[r * width + i] = (x[r * width + i] - mean) / std::sqrt(squares + kEps) * weight[i] +
                         (bias.empty() ? 0.0 : bias[i]);
    }
  }
  return y;
}

// Whether a norm that quantises on its way gives the bits of the norm and QuantizeRows.
void ExpectQuantizedOnTheWay(const NormRows& shape, const Floats& x, const Floats& weight,
                             const Floats& bias) {
  const size_t count = static_cast<size_t>(shape.rows * shape.width);
  Floats y(count), y_again(count);
  Floats inverse(static_cast<size_t>(shape.rows)), mean(inverse), inverse_again(inverse);
  const size_t bytes = static_cast<size_t>(QuantizedRowsBytes(shape.rows, shape.width));
  std::vector<uint8_t> storage(bytes, 1), storage_again(bytes, 2);
  const bool layer = !bias.empty();
  if (layer) {
    LayerNorm(shape, x.data(), weight.data(), bias.data(), y.data(), mean.data(), inverse.data());
  } else {
    RmsNorm(shape, x.data(), weight.data(), y.data(), inverse.data());
  }
  const QuantizedRows want =
      QuantizeRows(y.data(), shape.rows, shape.width, absl::MakeSpan(storage));
  for (float* to : {static_cast<float*>(nullptr), y_again.data()}) {
    const QuantizedRowsSpace got =
        LayQuantizedRows(shape.rows, shape.width, absl::MakeSpan(storage_again));
    const CodeRows out = {got.codes, got.scales, got.view.padded};
    if (layer) {
      LayerNormQuantized(shape, x.data(), weight.data(), bias.data(), to, mean.data(),
                         inverse_again.data(), out);
    } else {
      RmsNormQuantized(shape, x.data(), weight.data(), to, inverse_again.data(), out);
    }
    const size_t rows = static_cast<size_t>(shape.rows);
    EXPECT_EQ(std::memcmp(got.codes, want.codes, rows * static_cast<size_t>(want.padded)), 0);
    EXPECT_EQ(std::memcmp(got.scales, want.scales, rows * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(inverse_again.data(), inverse.data(), rows * sizeof(float)), 0);
    std::fill(storage_again.begin(), storage_again.end(), uint8_t{3});
  }
  EXPECT_EQ(std::memcmp(y_again.data(), y.data(), count * sizeof(float)), 0);
}

TEST(LayersTest, ANormQuantisesToTheBitsOfTwoSteps) {
  for (int64_t width : {1, 7, 16, 61, 64, 200}) {
    const NormRows shape = {6, width, static_cast<float>(kEps)};
    Floats x = Random(static_cast<size_t>(6 * width), 40);
    Floats weight = Random(static_cast<size_t>(width), 41);
    const Floats bias = Random(static_cast<size_t>(width), 42);
    // A row of zeros, a tiny, a large, an infinite one and one with a NaN beside one that is none.
    for (int64_t i = 0; i < width; ++i) {
      x[static_cast<size_t>(i)] = 0.0f;
      x[static_cast<size_t>(width + i)] *= 1e-33f;
      x[static_cast<size_t>(2 * width + i)] *= 1e18f;
    }
    x[static_cast<size_t>(3 * width)] = std::numeric_limits<float>::infinity();
    x[static_cast<size_t>(5 * width - 1)] = std::numeric_limits<float>::quiet_NaN();
    SCOPED_TRACE(width);
    ExpectQuantizedOnTheWay(shape, x, weight, {});
    ExpectQuantizedOnTheWay(shape, x, weight, bias);
  }
}

TEST(LayersTest, RmsNormForwardAndBackward) {
  for (int64_t width : {1, 7, 16, 61, 64}) {
    const int64_t rows = 3;
    const NormRows shape = {rows, width, static_cast<float>(kEps)};
    const size_t count = static_cast<size_t>(rows * width);
    const Floats x = Random(count, 1), weight = Random(static_cast<size_t>(width), 2);
    const Floats dy = Random(count, 3);
    Floats y(count), again(count), inverse(3), dx(count, 0.5f);
    Floats dweight(static_cast<size_t>(width), 0.25f);
    RmsNorm(shape, x.data(), weight.data(), y.data(), inverse.data());
    RmsNormAgain(shape, x.data(), inverse.data(), weight.data(), again.data());
    AddRmsNormGradient(shape, x.data(), inverse.data(), weight.data(), dy.data(), dx.data(),
                       dweight.data());
    const size_t n = static_cast<size_t>(width);
    ExpectNear(y, NormOf(Widen(x), Widen(weight), {}, n), 1e-6, "y");
    EXPECT_EQ(again, y);
    Doubles want = Differences([&](const Doubles& v) { return NormOf(v, Widen(weight), {}, n); },
                               Widen(x), dy);
    for (double& value : want) value += 0.5;  // the gradient is added
    ExpectNear(dx, want, 1e-5, "dx");
    want = Differences([&](const Doubles& v) { return NormOf(Widen(x), v, {}, n); }, Widen(weight),
                       dy);
    for (double& value : want) value += 0.25;
    ExpectNear(dweight, want, 1e-5, "dweight");
  }
}

TEST(LayersTest, LayerNormForwardAndBackward) {
  for (int64_t width : {2, 7, 16, 61}) {
    const int64_t rows = 3;
    const NormRows shape = {rows, width, static_cast<float>(kEps)};
    const size_t count = static_cast<size_t>(rows * width), n = static_cast<size_t>(width);
    const Floats x = Random(count, 1), weight = Random(n, 2), bias = Random(n, 4);
    const Floats dy = Random(count, 3);
    Floats y(count), again(count), mean(3), inverse(3), dx(count), dweight(n), dbias(n);
    LayerNorm(shape, x.data(), weight.data(), bias.data(), y.data(), mean.data(), inverse.data());
    LayerNormAgain(shape, x.data(), mean.data(), inverse.data(), weight.data(), bias.data(),
                   again.data());
    AddLayerNormGradient(shape, x.data(), mean.data(), inverse.data(), weight.data(), dy.data(),
                         dx.data(), dweight.data(), dbias.data());
    ExpectNear(y, NormOf(Widen(x), Widen(weight), Widen(bias), n), 2e-6, "y");
    EXPECT_EQ(again, y);
    const auto at_x = [&](const Doubles& v) { return NormOf(v, Widen(weight), Widen(bias), n); };
    const auto at_w = [&](const Doubles& v) { return NormOf(Widen(x), v, Widen(bias), n); };
    const auto at_b = [&](const Doubles& v) { return NormOf(Widen(x), Widen(weight), v, n); };
    ExpectNear(dx, Differences(at_x, Widen(x), dy), 3e-5, "dx");
    ExpectNear(dweight, Differences(at_w, Widen(weight), dy), 1e-5, "dweight");
    ExpectNear(dbias, Differences(at_b, Widen(bias), dy), 1e-5, "dbias");
  }
}

double CurveAt(Curve curve, double x) {
  switch (curve) {
    case Curve::kSilu:
      return x / (1.0 + std::exp(-x));
    case Curve::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Curve::kGeluErf:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Curve::kRelu:
      return std::max(x, 0.0);
  }
  return 0.0;
}

TEST(LayersTest, ActivationsAndGates) {
  Floats x = Random(37, 1, 3.0);
  x[0] = -200.0f;  // beyond fp32's exponential on both sides
  x[1] = 200.0f;
  const Floats up = Random(37, 2), dy = Random(37, 3);
  for (Curve curve : {Curve::kSilu, Curve::kGeluTanh, Curve::kGeluErf, Curve::kRelu}) {
    Floats y(37), gated(37), dx(37), dgate(37), dup(37);
    Activate(curve, x.data(), 37, y.data());
    ActivateGradient(curve, x.data(), dy.data(), 37, dx.data());
    Gate(curve, x.data(), up.data(), 37, gated.data());
    GateGradient(curve, x.data(), up.data(), dy.data(), 37, dgate.data(), dup.data());
    for (size_t i = 0; i < 37; ++i) {
      const double value = CurveAt(curve, x[i]);
      const double slope = (CurveAt(curve, x[i] + 1e-6) - CurveAt(curve, x[i] - 1e-6)) / 2e-6;
      EXPECT_NEAR(y[i], value, 1e-5) << static_cast<int>(curve) << " at " << x[i];
      EXPECT_NEAR(dx[i], dy[i] * slope, 1e-5);
      EXPECT_NEAR(gated[i], value * up[i], 2e-5 * (1.0 + std::abs(value)));
      EXPECT_NEAR(dgate[i], dy[i] * up[i] * slope, 2e-5);
      EXPECT_NEAR(dup[i], dy[i] * value, 2e-5 * (1.0 + std::abs(value)));
    }
    Floats in_place = dy;
    ActivateGradient(curve, x.data(), in_place.data(), 37, in_place.data());
    EXPECT_EQ(in_place, dx);
  }
}

TEST(LayersTest, RotationTurnsPairsAndBack) {
  for (int64_t head_dim : {2, 6, 32, 64}) {
    const int64_t heads = 3, half = head_dim / 2;
    Floats cos(static_cast<size_t>(half)), sin(static_cast<size_t>(half));
    for (int64_t i = 0; i < half; ++i) {
      cos[static_cast<size_t>(i)] = static_cast<float>(std::cos(0.3 * static_cast<double>(i + 1)));
      sin[static_cast<size_t>(i)] = static_cast<float>(std::sin(0.3 * static_cast<double>(i + 1)));
    }
    const Floats x = Random(static_cast<size_t>(heads * head_dim), 1);
    Floats y = x;
    Rotate(y.data(), heads, head_dim, cos.data(), sin.data());
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < half; ++i) {
        const size_t a = static_cast<size_t>(h * head_dim + i), b = a + static_cast<size_t>(half);
        const size_t c = static_cast<size_t>(i);
        EXPECT_NEAR(y[a], x[a] * cos[c] - x[b] * sin[c], 1e-6);
        EXPECT_NEAR(y[b], x[b] * cos[c] + x[a] * sin[c], 1e-6);
      }
    }
    RotateBack(y.data(), heads, head_dim, cos.data(), sin.data());
    ExpectNear(y, Widen(x), 1e-6, "back");
  }
}

// q [T, G, C], k and v [S, C] in one vector, in this order.
struct Qkv {
  Doubles q, k, v;
};

Doubles AttentionOf(const AttentionHead& head, const Qkv& in) {
  const int64_t past = head.keys - head.queries, c = head.head_dim;
  Doubles out(in.q.size(), 0.0);
  for (int64_t t = 0; t < head.queries; ++t) {
    const int64_t own = past + t;
    const int64_t first = head.window > 0 ? std::max<int64_t>(0, own + 1 - head.window) : 0;
    for (int64_t g = 0; g < head.groups; ++g) {
      const int64_t row = (t * head.groups + g) * c;
      Doubles p;
      double sum = 0.0;
      for (int64_t s = first; s <= own; ++s) {
        double score = 0.0;
        for (int64_t i = 0; i < c; ++i)
          score += in.q[static_cast<size_t>(row + i)] * in.k[static_cast<size_t>(s * c + i)];
        p.push_back(std::exp(score / std::sqrt(static_cast<double>(c))));
        sum += p.back();
      }
      for (int64_t s = first; s <= own; ++s) {
        for (int64_t i = 0; i < c; ++i) {
          out[static_cast<size_t>(row + i)] +=
              p[static_cast<size_t>(s - first)] / sum * in.v[static_cast<size_t>(s * c + i)];
        }
      }
    }
  }
  return out;
}

struct AttentionRun {
  Floats q, k, v, out, log_sums;
};

AttentionRun RunAttention(const AttentionHead& head) {
  const size_t queries = static_cast<size_t>(head.queries * head.groups * head.head_dim);
  const size_t keys = static_cast<size_t>(head.keys * head.head_dim);
  AttentionRun run = {Random(queries, 1), Random(keys, 2), Random(keys, 3), Floats(queries),
                      Floats(static_cast<size_t>(head.queries * head.groups))};
  Floats scratch(static_cast<size_t>(AttentionScratchFloats(head)));
  const int64_t wide = head.groups * head.head_dim;
  AttendHead(head, {run.q.data(), wide}, {run.k.data(), head.head_dim},
             {run.v.data(), head.head_dim}, {run.out.data(), wide}, run.log_sums.data(),
             scratch.data());
  return run;
}

std::vector<AttentionHead> Heads() {
  return {{1, 1, 4, 1, 0},   {3, 9, 5, 1, 0},    {1, 40, 16, 3, 0}, {20, 20, 8, 2, 0},
          {37, 37, 6, 2, 5}, {18, 18, 16, 1, 1}, {17, 33, 8, 1, 7}, {33, 33, 12, 3, 0}};
}

TEST(LayersTest, AttentionForward) {
  for (const AttentionHead& head : Heads()) {
    const AttentionRun run = RunAttention(head);
    ExpectNear(run.out, AttentionOf(head, {Widen(run.q), Widen(run.k), Widen(run.v)}), 3e-6, "out");
  }
}

TEST(LayersTest, AttentionBackward) {
  for (const AttentionHead& head : Heads()) {
    if (head.queries != head.keys) continue;
    const AttentionRun run = RunAttention(head);
    const Floats dout = Random(run.out.size(), 4);
    Floats dq(run.q.size()), dk(run.k.size()), dv(run.v.size());
    Floats scratch(static_cast<size_t>(AttentionGradientScratchFloats(head)));
    const int64_t wide = head.groups * head.head_dim, c = head.head_dim;
    AttendHeadGradient(head,
                       {{run.q.data(), wide},
                        {run.k.data(), c},
                        {run.v.data(), c},
                        {run.out.data(), wide},
                        run.log_sums.data()},
                       {dout.data(), wide}, {dq.data(), wide}, {dk.data(), c}, {dv.data(), c},
                       scratch.data());
    const Doubles q = Widen(run.q), k = Widen(run.k), v = Widen(run.v);
    const auto at_q = [&](const Doubles& x) { return AttentionOf(head, {x, k, v}); };
    const auto at_k = [&](const Doubles& x) { return AttentionOf(head, {q, x, v}); };
    const auto at_v = [&](const Doubles& x) { return AttentionOf(head, {q, k, x}); };
    ExpectNear(dq, Differences(at_q, q, dout), 2e-5, "dq");
    ExpectNear(dk, Differences(at_k, k, dout), 2e-5, "dk");
    ExpectNear(dv, Differences(at_v, v, dout), 2e-5, "dv");
  }
}

TEST(LayersTest, CrossEntropyAndItsGradient) {
  for (size_t count : {2u, 15u, 16u, 100u}) {
    const Floats logits = Random(count, 1, 4.0);
    for (size_t target : {size_t{0}, count - 1}) {
      double sum = 0.0;
      for (float logit : logits) sum += std::exp(static_cast<double>(logit));
      const double want = std::log(sum) - logits[target];
      EXPECT_NEAR(
          CrossEntropy(logits.data(), static_cast<int64_t>(count), static_cast<int64_t>(target)),
          want, 2e-6 * (1.0 + want));
      Floats gradient = logits;
      const double loss = CrossEntropyGradient(gradient.data(), static_cast<int64_t>(count),
                                               static_cast<int64_t>(target), 0.5f);
      EXPECT_NEAR(loss, want, 2e-6 * (1.0 + want));
      for (size_t i = 0; i < count; ++i) {
        const double p = std::exp(static_cast<double>(logits[i])) / sum;
        EXPECT_NEAR(gradient[i], 0.5 * (p - (i == target ? 1.0 : 0.0)), 1e-6);
      }
    }
  }
}

TEST(LayersTest, AdamWIsItsFormula) {
  const size_t count = 37;
  const Floats gradient = Random(count, 1);
  Floats values = Random(count, 2), means(count), squares(count);
  Doubles p = Widen(values), m(count), v(count);
  AdamWStep step = {0.01, 0.9, 0.999, 1e-8, 0.1, 1, 0.5};
  for (step.step = 1; step.step <= 3; ++step.step) {
    AdamW(step, static_cast<int64_t>(count), gradient.data(), values.data(), means.data(),
          squares.data());
    for (size_t i = 0; i < count; ++i) {
      const double g = 0.5 * gradient[i];
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double steps = static_cast<double>(step.step);
      p[i] =
          p[i] * (1.0 - 0.01 * 0.1) - 0.01 * (m[i] / (1.0 - std::pow(0.9, steps))) /
                                          (std::sqrt(v[i] / (1.0 - std::pow(0.999, steps))) + 1e-8);
    }
  }
  ExpectNear(values, p, 1e-5, "values");
  ExpectNear(means, m, 1e-6, "means");
}

TEST(LayersTest, SgdWithMomentum) {
  const Floats gradient = Random(19, 1);
  Floats values = Random(19, 2), velocities(19);
  const Floats before = values;
  const SgdStep step = {0.1, 0.9, 0.0, 1.0};
  Sgd(step, 19, gradient.data(), values.data(), velocities.data());
  Sgd(step, 19, gradient.data(), values.data(), velocities.data());
  for (size_t i = 0; i < 19; ++i)
    EXPECT_NEAR(values[i], before[i] - 0.1 * gradient[i] * (1.0 + 1.9), 1e-5);
}

// Reading the state out and in again changes nothing; the largest of a block is exact; a small
// square does not vanish.
TEST(LayersTest, EightBitStateIsStable) {
  const int64_t count = 700;
  for (StateSign sign : {StateSign::kSigned, StateSign::kUnsigned}) {
    Floats values = Random(static_cast<size_t>(count), 5, 1e-3);
    if (sign == StateSign::kUnsigned) {
      for (float& value : values) value *= value;
    }
    std::vector<uint8_t> codes(static_cast<size_t>(count));
    Floats scales(static_cast<size_t>(StateBlocks(count)));
    const EightBitState state = {codes.data(), scales.data()};
    EncodeState(sign, values.data(), count, state);
    Floats read(static_cast<size_t>(count));
    DecodeState(sign, state, count, read.data());
    for (int64_t block = 0; block < StateBlocks(count); ++block) {
      const auto first = values.begin() + block * kStateBlock;
      const auto last = values.begin() + std::min(count, (block + 1) * kStateBlock);
      const auto less = [](float a, float b) { return std::abs(a) < std::abs(b); };
      const auto largest = std::max_element(first, last, less);
      EXPECT_EQ(read[static_cast<size_t>(largest - values.begin())], *largest);
      for (auto at = first; at < last; ++at) {
        const float got = read[static_cast<size_t>(at - values.begin())];
        EXPECT_NEAR(got, *at, 0.01 * std::abs(*largest));
        if (sign == StateSign::kUnsigned && *at > 0.0f) {
          EXPECT_GT(got, 0.0f);
        }
      }
    }
    const std::vector<uint8_t> first_codes = codes;
    const Floats first_scales = scales;
    EncodeState(sign, read.data(), count, state);
    EXPECT_EQ(codes, first_codes);
    EXPECT_EQ(scales, first_scales);
  }
}

// On a quadratic both optimizers arrive; the 8-bit one stays within a few per cent of a step.
TEST(LayersTest, EightBitAdamWFollowsAdamW) {
  const int64_t count = 300;
  const Floats target = Random(static_cast<size_t>(count), 1);
  Floats exact(static_cast<size_t>(count)), rounded(exact), gradient(exact);
  Floats means(exact), squares(exact);
  std::vector<uint8_t> mean_codes(static_cast<size_t>(count)), square_codes(mean_codes);
  Floats mean_scales(2), square_scales(2);
  EncodeState(StateSign::kSigned, means.data(), count, {mean_codes.data(), mean_scales.data()});
  EncodeState(StateSign::kUnsigned, squares.data(), count,
              {square_codes.data(), square_scales.data()});
  AdamWStep step = {0.05, 0.9, 0.999, 1e-8, 0.0, 1, 1.0};
  double error_exact = 0.0, error_rounded = 0.0;
  for (step.step = 1; step.step <= 200; ++step.step) {
    for (size_t i = 0; i < gradient.size(); ++i) gradient[i] = exact[i] - target[i];
    AdamW(step, count, gradient.data(), exact.data(), means.data(), squares.data());
    for (size_t i = 0; i < gradient.size(); ++i) gradient[i] = rounded[i] - target[i];
    AdamW8Bit(step, count, gradient.data(), rounded.data(), {mean_codes.data(), mean_scales.data()},
              {square_codes.data(), square_scales.data()});
  }
  for (size_t i = 0; i < target.size(); ++i) {
    error_exact += std::abs(exact[i] - target[i]) / static_cast<double>(count);
    error_rounded += std::abs(rounded[i] - target[i]) / static_cast<double>(count);
  }
  EXPECT_LT(error_exact, 0.05);
  EXPECT_LT(error_rounded, 0.05);
}

TEST(LayersTest, RowLoops) {
  Floats x = {1, 2, 3, 4, 5, 6}, sum(3);
  AddRowSum(x.data(), 2, 3, sum.data());
  EXPECT_EQ(sum, (Floats{5, 7, 9}));
  AddToRows(sum.data(), 2, 3, x.data());
  EXPECT_EQ(x, (Floats{6, 9, 12, 9, 12, 15}));
  EXPECT_EQ(SumOfSquares(x.data(), 6), 36.0 + 81 + 144 + 81 + 144 + 225);
}

}  // namespace
}  // namespace isthmus::kernels
