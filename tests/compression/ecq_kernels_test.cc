// Every kernel of ecq on every instruction set this machine has against its scalar definition, bit
// for bit: what both ends derive must not depend on where they run.
#include "compression/ecq_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "compression/ecq_learn_places.h"
#include "compression/ecq_row_codes.h"
#include "compression/ecq_row_places.h"
#include "compression/frame_check.h"
#include "compression/rans.h"
#include "hwy/targets.h"

namespace isthmus {
namespace {

const size_t kWidths[] = {1, 3, 7, 8, 16, 17, 31, 64, 100, 128, 130, 200, 256, 300, 512, 533};

std::vector<float> Normals(uint64_t seed, size_t n, float size = 1.0f) {
  CounterRng rng(RandomKey(seed, "test.kernels"));
  std::vector<float> x(n);
  for (float& v : x) v = size * static_cast<float>(rng.NextNormal());
  return x;
}

template <typename T>
bool Same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// A row of an edge at some time: what it is predicted from and all that learns from it.
struct RowState {
  RowState(uint64_t seed, size_t n, float scale)
      : x(Normals(seed, n, scale)),
        mean(Normals(seed + 1, n, 0.3f)),
        slot(Normals(seed + 2, n, 0.5f)),
        factor(Normals(seed + 3, n, 0.2f)),
        before(Normals(seed + 4, n)),
        sum_dd(Normals(seed + 5, n)),
        sum_de(Normals(seed + 6, n)),
        expected(n),
        prediction(n),
        out(n),
        classes(n),
        q(n) {
    CounterRng rng(RandomKey(seed, "test.expected"));
    for (float& e : expected) e = std::exp2(static_cast<float>(rng.NextUniform() * 14.0 - 10.0));
    for (float& e : expected) e = std::max(e, 0x1p-9f);
  }

  EcqPredictor Predictor(bool with_slot) {
    return {mean.data(), with_slot ? slot.data() : nullptr, 0.8f, factor.data(), before.data()};
  }
  // Without `shift` the row has its prediction from elsewhere.
  EcqLesson Lesson(bool with_slot, bool shift, bool counts) {
    return {q.data(),
            classes.data(),
            shift ? nullptr : prediction.data(),
            Predictor(with_slot),
            step.data(),
            gaps.data(),
            expected.data(),
            1.0f / 37,
            mean.data(),
            1.0f / 101,
            with_slot ? slot.data() : nullptr,
            1.0f / 7,
            shift ? before.data() : nullptr,
            shift && counts ? sum_dd.data() : nullptr,
            sum_de.data(),
            3.0f};
  }
  EcqRow Row() { return {expected.data(), x.size(), classes.data(), q.data()}; }
  bool operator==(const RowState& o) const {
    return Same(mean, o.mean) && Same(slot, o.slot) && Same(before, o.before) &&
           Same(sum_dd, o.sum_dd) && Same(sum_de, o.sum_de) && Same(expected, o.expected) &&
           Same(out, o.out) && Same(classes, o.classes) && Same(q, o.q);
  }

  std::vector<float> x, mean, slot, factor, before, sum_dd, sum_de, expected, prediction, out;
  std::vector<uint8_t> classes;
  std::vector<int32_t> q;
  std::vector<float> step = std::vector<float>(x.size(), 0.25f);
  std::vector<float> inverse_step = std::vector<float>(x.size(), 4.0f);
  std::vector<float> gaps = Normals(9, kEcqCentroids * 32, 0.05f);
};

EcqLimits SomeLimits() {
  std::array<float, kEcqPlainClasses> thresholds;
  for (size_t i = 0; i < thresholds.size(); ++i)
    thresholds[i] = 0.5f + 0.02f * static_cast<float>(i);
  return MakeEcqLimits(thresholds);
}

class EcqKernels : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_P(EcqKernels, ElementWise) {
  for (const size_t n : kWidths) {
    const RowState s(n, n, 1.0f);
    std::vector<float> a = s.mean, b(n), dd = s.sum_dd, de = s.sum_de, before = s.before;
    EcqMoveToward(s.x.data(), 0.3f, n, a.data());
    EcqBlend(s.mean.data(), s.slot.data(), 0.7f, n, b.data());
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(a[i], EcqMovedAt(s.mean[i], s.x[i], 0.3f));
      ASSERT_EQ(b[i], EcqMovedAt(s.mean[i], s.slot[i], 0.7f));
    }
    EcqAddProduct(s.mean.data(), s.factor.data(), s.x.data(), n, a.data());
    b = s.mean;
    EcqAccumulate(s.factor.data(), s.x.data(), n, b.data());
    ASSERT_TRUE(Same(a, b));
    EcqLearnShift(s.x.data(), s.mean.data(), 3.0f, n, before.data(), dd.data(), de.data());
    for (size_t i = 0; i < n; ++i) {
      const float product = s.factor[i] * s.x[i], y = s.x[i] - s.mean[i];
      const float d = s.before[i] * 3.0f, e = y * 3.0f, square = d * d, cross = d * e;
      ASSERT_EQ(a[i], s.mean[i] + product);
      ASSERT_EQ(dd[i], s.sum_dd[i] + square);
      ASSERT_EQ(de[i], s.sum_de[i] + cross);
      ASSERT_EQ(before[i], y);
    }
  }
}

TEST_P(EcqKernels, PredictAndLearn) {
  for (const size_t n : kWidths) {
    for (int form = 0; form < 8; ++form) {
      const bool with_slot = (form & 1) != 0, shift = (form & 2) != 0, counts = (form & 4) != 0;
      RowState a(n, n, 1.0f);
      EcqPredict(a.Predictor(with_slot), n, a.prediction.data());
      for (size_t i = 0; i < n; ++i)
        ASSERT_EQ(a.prediction[i], EcqPredictedAt(a.Predictor(with_slot), i));
      CounterRng rng(n);
      for (size_t i = 0; i < n; ++i) {
        a.q[i] = static_cast<int32_t>(rng.NextBelow(9)) - 4;
        a.classes[i] = static_cast<uint8_t>(rng.NextBelow(kEcqClasses));
      }
      RowState b = a;
      const uint32_t largest = EcqLearnRow(a.Lesson(with_slot, shift, counts), n, a.out.data());
      EXPECT_EQ(largest, EcqLearnRowScalar(b.Lesson(with_slot, shift, counts), n, b.out.data()));
      ASSERT_TRUE(a == b) << n << " " << form;
    }
  }
}

TEST_P(EcqKernels, DitheredRows) {
  for (const size_t n : kWidths) {
    RowState a(n, n, 1.0f);
    const std::vector<float> dither = Normals(n + 50, n, 0.2f);
    for (size_t i = 0; i < n; ++i) a.q[i] = static_cast<int32_t>(i % 7) - 3;
    const std::vector<float> expected = a.expected;
    const uint32_t largest = EcqLearnDitheredRow(a.q.data(), a.step.data(), dither.data(), 0.1f, n,
                                                 a.expected.data(), a.out.data());
    float most = 0.0f;
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(a.out[i], (static_cast<float>(a.q[i]) - dither[i]) * a.step[i]);
      ASSERT_EQ(a.expected[i], EcqLearnedAt(expected[i], a.q[i], 0.1f));
      most = std::max(most, std::fabs(a.out[i]));
    }
    EXPECT_EQ(largest, std::bit_cast<uint32_t>(most));
  }
}

TEST_P(EcqKernels, MomentsAndRoughBits) {
  for (const size_t n : kWidths) {
    for (const size_t rows : {size_t{1}, size_t{4}, size_t{7}}) {
      const std::vector<float> x = Normals(n, rows * n);
      std::vector<double> sums(n), squares(n);
      const Extent extent = EcqAddMoments(x.data(), rows, n, n, sums.data(), squares.data());
      const Extent known = ScanExtent(x.data(), x.size());
      EXPECT_EQ(extent.lo, known.lo);
      EXPECT_EQ(extent.hi, known.hi);
      EXPECT_EQ(extent.magnitude, known.magnitude);
      for (size_t c = 0; c < n; ++c) {
        double sum = 0, square = 0;
        for (size_t row = 0; row < rows; ++row) {
          const double v = x[row * n + c], v2 = v * v;
          sum += v;
          square += v2;
        }
        ASSERT_EQ(sums[c], sum);
        ASSERT_EQ(squares[c], square);
      }
      std::vector<float> bad = x;
      bad[bad.size() / 2] = NAN;
      EXPECT_GT(EcqAddMoments(bad.data(), rows, n, n, sums.data(), squares.data()).magnitude,
                kLargestMagnitude);
    }
    RowState s(n, n, 1.0f);
    std::vector<float> of_mean(n), of_slot(n);
    EcqPredict(s.Predictor(false), n, of_mean.data());
    EcqPredict(s.Predictor(true), n, of_slot.data());
    const EcqRoughChoice bits =
        EcqRoughBitsOf(s.x.data(), s.Predictor(true), s.inverse_step.data(), n);
    EXPECT_EQ(bits.mean, EcqRoughBits(s.x.data(), of_mean.data(), s.inverse_step.data(), n));
    EXPECT_EQ(bits.slot, EcqRoughBits(s.x.data(), of_slot.data(), s.inverse_step.data(), n));
    double about = 0, miss = 0;
    for (size_t i = 0; i < n; ++i) {
      if (n >= kEcqSampledRough && i % 64 >= 32) continue;
      about += std::log2(1.0 + std::fabs(s.x[i] - of_mean[i]) * s.inverse_step[i]);
    }
    EXPECT_NEAR(bits.mean, about, 0.09 * static_cast<double>(n) + 0.1);
    for (size_t i = 0; i < n; ++i) miss += std::pow(4.0 * (s.x[i] - s.mean[i]), 2);
    EXPECT_NEAR(EcqSquaredMiss(s.x.data(), s.mean.data(), s.inverse_step.data(), n), miss,
                1e-5 * miss);
  }
}

// Rows coded and read by both, as one stream; `scale` 40: escapes, 3000: low bits.
TEST_P(EcqKernels, RowsOfCodes) {
  const EcqTables tables;
  const EcqLimits limits = SomeLimits();
  constexpr size_t kRows = 5;
  for (const size_t n : kWidths) {
    for (const float scale : {0.1f, 1.0f, 40.0f, 3000.0f}) {
      for (const int form :
           {0, 1, 2, 3}) {  // given, dithered, learned at once with and without slot
        const bool fused = form >= 2 && EcqLeastChunk(n) >= kEcqLeastFusedChunk;
        const std::vector<float> dither = Normals(n + 50, n, 0.2f);
        RowState a(n, n, scale), b = a, c = a, d = a;
        if (scale > 1000.0f) {
          for (RowState* s : {&a, &b, &c, &d})
            for (size_t i = 0; i < n; i += 2) s->expected[i] = 900.0f;
        }
        RawBitWriter raw_a, raw_b;
        EcqActivity at_a, at_b, at_c, at_d;
        std::vector<uint16_t> ops_a(kRows * n), ops_b(kRows * n);
        std::vector<std::vector<int32_t>> codes;
        for (size_t row = 0; row < kRows; ++row) {
          a.x = b.x = Normals(n + row, n, scale);
          EcqPredict(b.Predictor(form == 2), n, b.prediction.data());
          a.prediction = b.prediction;
          const float* noise = form == 1 ? dither.data() : nullptr;
          const EcqRowInput in_a{a.x.data(), fused ? nullptr : a.prediction.data(), noise,
                                 a.inverse_step.data()};
          const EcqRowInput in_b{b.x.data(), b.prediction.data(), noise, b.inverse_step.data()};
          const uint32_t reach_b =
              EcqCodeRowScalar(in_b, limits, b.Row(), &at_b, &raw_b, ops_b.data() + row * n);
          if (fused) {
            const EcqLesson lesson = a.Lesson(form == 2, true, row % 2 == 0);
            uint32_t largest = 0;
            const EcqFusedLesson learn{&lesson, a.out.data(), &largest, {a.x.data(), a.x.data()}};
            EXPECT_EQ(EcqCodeAndLearnRow(in_a, limits, a.Row(), &at_a, &raw_a,
                                         ops_a.data() + row * n, learn),
                      reach_b);
            EXPECT_EQ(EcqLearnRowScalar(b.Lesson(form == 2, true, row % 2 == 0), n, b.out.data()),
                      largest);
          } else {
            EXPECT_EQ(EcqCodeRow(in_a, limits, a.Row(), &at_a, &raw_a, ops_a.data() + row * n),
                      reach_b);
          }
          ASSERT_TRUE(a == b) << n << " " << scale << " " << form;
          ASSERT_EQ(at_a.active, at_b.active);
          ASSERT_EQ(at_a.expected, at_b.expected);
          codes.push_back(b.q);
        }
        ASSERT_TRUE(Same(ops_a, ops_b));
        const auto bits_a = raw_a.Flush(), bits_b = raw_b.Flush();
        ASSERT_TRUE(bits_a == bits_b);
        for (const size_t states : {1, 8, 16, 64}) {
          RansEncoder coder_a, coder_b;
          coder_a.Begin(states, ops_a.size());
          coder_b.Begin(states, ops_b.size());
          coder_a.Put(tables.rans(), ops_a, n);
          coder_b.PutScalar(tables.rans(), ops_b, n);
          Bytes bytes, same;
          coder_a.Finish(&bytes);
          coder_b.Finish(&same);
          ASSERT_EQ(bytes, same);
          RowState fast = c, slow = d;
          at_c = at_d = EcqActivity();
          RansDecoder from_c, from_d;
          RawBitReader raw_c(bits_a), raw_d(bits_a);
          ASSERT_TRUE(from_c.Begin(bytes, states) && from_d.Begin(bytes, states));
          for (size_t row = 0; row < kRows; ++row) {
            if (fused) {
              const EcqLesson lesson = fast.Lesson(form == 2, true, row % 2 == 0);
              uint32_t largest = 0;
              ASSERT_TRUE(EcqReadAndLearnRow(
                  tables.rans(), fast.Row(), &at_c, &from_c, &raw_c,
                  {&lesson, fast.out.data(), &largest, {fast.x.data(), fast.x.data()}}));
            } else {
              ASSERT_TRUE(EcqReadRow(tables.rans(), fast.Row(), &at_c, &from_c, &raw_c));
            }
            ASSERT_TRUE(EcqReadRowScalar(tables.rans(), slow.Row(), &at_d, &from_d, &raw_d));
            if (fused)
              EcqLearnRowScalar(slow.Lesson(form == 2, true, row % 2 == 0), n, slow.out.data());
            ASSERT_TRUE(fast == slow) << n << " " << scale << " " << form << " " << states;
            ASSERT_EQ(fast.q, codes[row]);
          }
          EXPECT_TRUE(from_c.Finish() && from_d.Finish() && raw_c.Finish() && raw_d.Finish());
        }
      }
    }
  }
}

std::vector<uint32_t> Targets() {
  std::vector<uint32_t> targets;
  for (uint32_t left = static_cast<uint32_t>(hwy::SupportedTargets()); left != 0;
       left &= left - 1) {
    const uint32_t target = left & ~(left - 1);
    if ((target & static_cast<uint32_t>(HWY_TARGETS)) != 0) targets.push_back(target);
  }
  return targets;
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, EcqKernels, testing::ValuesIn(Targets()),
                         [](const auto& target) {
                           return std::string(hwy::TargetName(target.param));
                         });

}  // namespace
}  // namespace isthmus
