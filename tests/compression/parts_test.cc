// What single parts promise beyond the contract suite: exactness, budgets, state and bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "compression/codec_table.h"
#include "compression/eigen.h"
#include "compression/levels.h"
#include "compression/synthetic_source.h"
#include "compression/tile_scores.h"
#include "compression/width_allocator.h"
#include "frames.h"
#include "hwy/targets.h"

namespace isthmus {
namespace {

using testing::HasSubstr;

struct Coded {
  std::vector<float> y;
  double bits = 0, snr = 0;
};

Coded Code(const Ends& ends, const std::vector<float>& x, int64_t width, uint64_t step = 0,
           bool training = true) {
  TestFrame frame;
  frame.Set({{1, static_cast<int64_t>(x.size()) / width}}, step, 0, training);
  Bytes wire;
  Coded coded;
  coded.y = Through(ends, x, frame.context, &wire);
  coded.bits = BitsPerElement(static_cast<int64_t>(wire.size()), static_cast<int64_t>(x.size()));
  coded.snr = Snr(x, coded.y);
  EXPECT_TRUE(ends.encoder->CommitStep(step).ok());
  EXPECT_TRUE(ends.decoder->CommitStep(step).ok());
  return coded;
}

Ends Make(const std::string& spec, int64_t width, int64_t tokens = 0,
          Direction direction = Direction::kForward) {
  EdgeShape shape;
  shape.width = width;
  shape.direction = direction;
  shape.num_samples = 2;
  shape.max_sample_tokens = tokens;
  return MakeEnds(spec, shape);
}

Coded Code(const std::string& spec, const std::vector<float>& x, int64_t width) {
  return Code(Make(spec, width), x, width);
}

std::string Error(const std::string& spec) {
  const auto codec = Codec::Parse(spec);
  EXPECT_FALSE(codec.ok()) << spec;
  return std::string(codec.status().message());
}

TEST(Compositions, ThatContradictThemselvesAreRefusedWithTheReason) {
  EXPECT_THAT(Error("channel_pow2+hadamard+int(6,tensor)"), HasSubstr("no mixing of channels"));
  EXPECT_THAT(Error("policy+int(4,channel)"), HasSubstr("group=token or group=tile"));
  EXPECT_THAT(Error("policy+minifloat(2,1)"), HasSubstr("group=token or group=tile"));
  EXPECT_THAT(Error("policy+schedule+int(4)"), HasSubstr("one policy"));
  EXPECT_THAT(Error("policy(score=position,allocate=threshold)+int(4)"),
              HasSubstr("over: expected"));
  EXPECT_THAT(Error("hadamard+policy(score=loss)+int(4)"), HasSubstr("got hadamard before it"));
  EXPECT_THAT(Error("store+policy(score=loss)+int(4)"), HasSubstr("got store before it"));
  EXPECT_THAT(Error("policy(high=3,low=5)+int(4)"), HasSubstr("low below high"));
  EXPECT_THAT(Error("policy(share=3)+int(4)"), HasSubstr("no share"));
  EXPECT_THAT(Error("lowrank+int(4)"), HasSubstr("expected"));
  EXPECT_THAT(Error("lowrank(rank=3)"), HasSubstr("expected store"));
  EXPECT_THAT(Error("store+skip+int(4)"), HasSubstr("one predictor"));
  EXPECT_THAT(Error("store+scale+int(4)"), HasSubstr("without tables"));
  EXPECT_THAT(Error("outliers+permute+int(4)"), HasSubstr("no permute behind outliers"));
  EXPECT_THAT(Error("previous+center(channel)+int(4)"), HasSubstr("row by row"));
  EXPECT_THAT(Error("step(db=3,size=1)"), HasSubstr("one of db, size"));
  EXPECT_THAT(Error("codebook(dynamic8,bits=4)"), HasSubstr("log2"));
}

TEST(Compositions, CanonicalTextKeepsNumbersExactly) {
  for (const char* spec :
       {"step(size=1e20)", "step(size=1.2345678e-9)", "topk(share=0.123456789)+int(4)",
        "skip(cosine=0.9999999)+int(8,token)", "int(4,range=percentile,keep=99.99999)",
        "policy(score=range,allocate=threshold,over=1e12)+int(4)", "stamp(bits=4,levels=12)"}) {
    const auto codec = Codec::Parse(spec);
    ASSERT_TRUE(codec.ok()) << codec.status();
    const auto again = Codec::Parse((*codec)->canonical());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ((*again)->canonical(), (*codec)->canonical());
  }
  EXPECT_EQ((*Codec::Parse("step(size=1e20)"))->canonical(), "step(size=1e20)");
  EXPECT_EQ((*Codec::Parse("topk(share=0.123456789)+int(4)"))->canonical().substr(0, 23),
            "topk(share=0.123456789)");
}

TEST(Levels, EveryCodeComesBackAndTheEndsSaturate) {
  for (int e = 1; e <= 5; ++e) {
    for (int m = 0; m <= 6; ++m) {
      if (1 + e + m > 8 || 1 + e + m < 3) continue;
      const Levels levels = MinifloatLevels(e, m);
      EXPECT_EQ(levels.bits, 1 + e + m);
      EXPECT_EQ(levels.values.size(), (size_t{2} << (e + m)) - 1);
      std::vector<uint8_t> codes(levels.values.size());
      NearestLevels(levels, levels.values.data(), codes.size(), 1.0f, codes.data());
      for (size_t i = 0; i < codes.size(); ++i) ASSERT_EQ(codes[i], i) << e << " " << m;
      for (const float v : {-5.0f, 0.0f, 5.0f}) {
        uint8_t code;
        NearestLevels(levels, &v, 1, 1.0f, &code);
        EXPECT_EQ(levels.values[code], std::clamp(v, -1.0f, 1.0f));
      }
    }
  }
  const Levels e2m1 = MinifloatLevels(2, 1);
  EXPECT_THAT(e2m1.values, testing::Pointwise(testing::FloatEq(),
                                              {-1.0f, -4 / 6.0f, -3 / 6.0f, -2 / 6.0f, -1.5f / 6,
                                               -1 / 6.0f, -.5f / 6, 0.0f, .5f / 6, 1 / 6.0f,
                                               1.5f / 6, 2 / 6.0f, 3 / 6.0f, 4 / 6.0f, 1.0f}));
}

TEST(Levels, DynamicBookHas256SortedEntriesWithZeroAndOne) {
  const Levels levels = Dynamic8Levels();
  ASSERT_EQ(levels.values.size(), 256u);
  EXPECT_TRUE(std::is_sorted(levels.values.begin(), levels.values.end()));
  EXPECT_EQ(std::count(levels.values.begin(), levels.values.end(), 0.0f), 1);
  EXPECT_EQ(levels.values.back(), 1.0f);
  // On values over many decades it keeps the small ones where integers lose them.
  std::vector<float> x = *SyntheticValues("gaussian", 64, 256);
  for (float& v : x) v = std::exp(3.0f * v);
  const auto relative = [&](const char* spec) {
    const Coded coded = Code(spec, x, 256);
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += std::fabs(coded.y[i] - x[i]) / x[i];
    return sum / static_cast<double>(x.size());
  };
  EXPECT_LE(relative("codebook(dynamic8)"), 0.2);
  EXPECT_GE(relative("int(bits=8,n=256,sym)"), 0.8);
}

TEST(Levels, VectorsAgreeWithTheScalarSearch) {
  const std::vector<float> x = *SyntheticValues("student4", 1, 1003);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const Levels& levels : {MinifloatLevels(2, 1), MinifloatLevels(4, 3), Dynamic8Levels(),
                                 PowerLevels(3), NormalFloat4Levels()}) {
      std::vector<uint8_t> codes(x.size());
      NearestLevels(levels, x.data(), x.size(), 0.3f, codes.data());
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_EQ(codes[i], reference::NearestLevel(levels, x[i] * 0.3f)) << target;
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(Eigen, VectorsAreOrthonormalAndMakeTheMatrix) {
  constexpr size_t n = 12;
  const std::vector<float> b = *SyntheticValues("gaussian", n, n);
  std::vector<double> a(n * n, 0.0), vectors, values;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t k = 0; k < n; ++k) a[i * n + j] += double{b[i * n + k]} * b[j * n + k];
  std::vector<double> work = a;
  SymmetricEigen().Solve(n, &work, &vectors, &values);
  EXPECT_TRUE(std::is_sorted(values.rbegin(), values.rend()));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double made = 0, dot = 0;
      for (size_t k = 0; k < n; ++k) {
        made += values[k] * vectors[k * n + i] * vectors[k * n + j];
        dot += vectors[i * n + k] * vectors[j * n + k];
      }
      EXPECT_NEAR(made, a[i * n + j], 1e-9);
      EXPECT_NEAR(dot, i == j ? 1.0 : 0.0, 1e-10);
    }
  }
}

// The least error of all assignments within the budget.
double Best(const std::vector<float>& errors, size_t tiles, int low, int high, int64_t budget) {
  double best = 1e300;
  std::vector<int> bits(tiles, low);
  const std::function<void(size_t, int64_t, double)> go = [&](size_t tile, int64_t left,
                                                              double sum) {
    if (left < 0) return;
    if (tile == tiles) {
      best = std::min(best, sum);
      return;
    }
    for (int b = low; b <= high; ++b)
      go(tile + 1, left - b, sum + errors[8 * tile + static_cast<size_t>(b) - 1]);
  };
  go(0, budget, 0.0);
  return best;
}

TEST(BudgetAllocator, KnapsackIsWithinAStepOfTheBest) {
  constexpr size_t kTiles = 6;
  const std::vector<float> sizes = *SyntheticValues("laplace", 16, kTiles);
  for (size_t round = 0; round < 16; ++round) {
    std::vector<float> errors(8 * kTiles);
    float largest = 0;
    for (size_t t = 0; t < kTiles; ++t) {
      const float energy = 1 + 10 * std::fabs(sizes[round * kTiles + t]);
      for (int b = 1; b <= 8; ++b)
        errors[8 * t + static_cast<size_t>(b) - 1] = energy * std::ldexp(1.0f, -2 * b);
      largest = std::max(largest, energy);
    }
    const std::vector<uint32_t> ones(kTiles, 1);
    std::vector<uint8_t> widths(kTiles);
    BudgetAllocator().Allocate(BudgetAllocator::Rule::kKnapsack, errors, ones, 2, 8, 22,
                               widths.data());
    EXPECT_LE(std::accumulate(widths.begin(), widths.end(), 0), 22);
    double sum = 0;
    for (size_t t = 0; t < kTiles; ++t) sum += errors[8 * t + widths[t] - 1];
    // These errors are convex in the bits: the greedy walk along the hulls is exact.
    EXPECT_NEAR(sum, Best(errors, kTiles, 2, 8, 22), 1e-6 * largest);
  }
}

// Tokens whose sizes differ: figures of systems.md section 7 for 3.5 bits in the mean.
TEST(Policy, ErrorPerBitIsTheBestAllocation) {
  std::vector<float> x = *SyntheticValues("student4", 512, 64);
  const std::vector<float> logs = *SyntheticValues("gaussian", 1, 512, 3);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::exp(logs[i / 64]);
  const auto snr = [&](const char* policy) {
    const Coded coded = Code(absl::StrCat(policy, "+int(bits=4,n=64)"), x, 64);
    std::printf("%s: %.1f dB at %.2f bits\n", policy, coded.snr, coded.bits);
    EXPECT_LE(coded.bits, 3.5 + 35.0 / 64 + 0.01);
    return coded.snr;
  };
  const double entropy =
      snr("policy(score=entropy,allocate=topk,high=4,low=3,share=50,within=frame)");
  const double range = snr("policy(score=range,allocate=topk,high=4,low=3,share=50,within=frame)");
  const double greedy = snr("policy(score=error,allocate=greedy,low=2,high=8,mean=3.5)");
  const double modelled = snr("policy(score=range,allocate=greedy,low=2,high=8,mean=3.5)");
  const double knapsack =
      snr(absl::StrCat(
              "policy(score=error,allocate=knapsack,low=2,high=8,bytes=", x.size() * 7 / 16, ")")
              .c_str());
  EXPECT_GE(range, entropy + 2.0);
  EXPECT_GE(greedy, range + 4.0);
  EXPECT_GE(greedy, modelled - 0.2);
  EXPECT_GE(knapsack, greedy - 0.2);
}

TEST(Schedule, WidensTheFirstSteps) {
  const std::vector<float> x = *SyntheticValues("gaussian", 32, 64);
  const Ends ends = Make("schedule(bits=8,steps=2)+int(bits=3,group=token)", 64);
  for (uint64_t step = 0; step < 4; ++step)
    EXPECT_EQ(Code(ends, x, 64, step).bits, (step < 2 ? 8.0 : 3.0) + 0.5) << step;
}

// COMET's claim: clustering outlier channels leaves a quarter of the wide tiles or fewer.
TEST(Permute, ClustersOutlierChannels) {
  std::vector<float> x = *SyntheticValues("gaussian", 128, 512);
  for (size_t i = 0; i < x.size(); ++i)
    if (i % 64 == 9) x[i] *= 20.0f;
  const std::string rest =
      "policy(score=range,allocate=threshold,over=12,high=8,low=4)+int(bits=4,n=64)";
  const Ends ends = Make("permute+" + rest, 512);
  Code(ends, x, 512);  // carries the table
  const Coded clustered = Code(ends, x, 512, 1), spread = Code(rest, x, 512);
  std::printf("permute: %.2f bits %.1f dB, without %.2f bits %.1f dB\n", clustered.bits,
              clustered.snr, spread.bits, spread.snr);
  // 4 + 4 * share + 33 / 64
  EXPECT_LE(clustered.bits - 4.55, (spread.bits - 4.5) / 4);
  EXPECT_GE(clustered.snr, spread.snr - 6.0);
}

TEST(Scale, HurtsTheTensorAndHelpsTheSmallChannels) {
  std::vector<float> x = *SyntheticValues("outlier", 512, 256);
  const double plain = Code("center(channel)+hadamard(128)+int(4,token)", x, 256).snr;
  const double scaled = Code("center(channel)+scale+hadamard(128)+int(4,token)", x, 256).snr;
  std::printf("scale: %.1f dB, without %.1f dB\n", scaled, plain);
  EXPECT_LT(scaled, plain);
}

TEST(Basis, GathersCorrelatedChannels) {
  // Channels of a block share one signal; a policy then takes the bits from the other coefficients.
  std::vector<float> x = *SyntheticValues("gaussian", 512, 64);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.1f * x[i] + x[i / 16 * 16];
  const std::string rest =
      "policy(score=error,allocate=greedy,low=1,high=8,mean=2.5)+int(bits=4,t=512,n=1)";
  const Ends ends = Make("basis(block=16)+" + rest, 64);
  Code(ends, x, 64);
  const Coded turned = Code(ends, x, 64, 1), plain = Code(rest, x, 64);
  std::printf("basis: %.1f dB at %.2f bits, without %.1f dB at %.2f\n", turned.snr, turned.bits,
              plain.snr, plain.bits);
  EXPECT_GE(turned.snr, plain.snr + 10.0);
  EXPECT_LE(turned.bits, plain.bits + 0.02);
}

TEST(Tables, AreSentOnceAndAgainWhenThePeerLostThem) {
  const std::vector<float> x = *SyntheticValues("gaussian", 8, 64);
  const Ends ends = Make("permute+int(4)", 64);
  const double first = Code(ends, x, 64).bits, later = Code(ends, x, 64, 1).bits;
  EXPECT_GT(first, later + 3.0);
  ends.decoder->RequestKeyFrames();
  TestFrame frame;
  frame.Set({{1, 8}}, 2);
  Bytes wire;
  std::vector<float> y(x.size());
  ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &wire).ok());
  EXPECT_EQ(ends.decoder->Decode(wire, frame.context, absl::MakeSpan(y)).code(),
            absl::StatusCode::kDataLoss);
  ends.encoder->RequestKeyFrames();
  EXPECT_EQ(Code(ends, x, 64, 3).bits, first);
  EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
  EXPECT_NE(ends.encoder->StateHash(), 0u);
}

TEST(Step, NoiseIsWhereItWasAskedForAndNothingClips) {
  for (const char* source : {"gaussian", "laplace", "student4", "outlier"}) {
    const std::vector<float> x = *SyntheticValues(source, 256, 256);
    for (const double db : {0.0, 10.0, 20.0, 30.0}) {
      const Coded coded = Code(absl::StrCat("step(db=", db, ",round=dither)"), x, 256);
      EXPECT_NEAR(coded.snr, db, 0.3) << source;
      if (db >= 10.0) {
        EXPECT_GE(Code(absl::StrCat("step(db=", db, ")"), x, 256).snr, db - 0.3);
      }
    }
  }
  // Fixed: no value is further off than half a step.
  const std::vector<float> x = *SyntheticValues("student4", 64, 64);
  const Coded coded = Code("step(size=0.25)", x, 64);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_LE(std::fabs(coded.y[i] - x[i]), 0.12501f);
}

// A uniform quantiser is 0.255 bit above at high rate; at 2 bits midpoints cost 0.05 more, at 5
// bits the 12-bit frequencies and the raw bits of large codes do.
TEST(Rans, StepIsThirdOfABitAboveTheGaussianBound) {
  const std::vector<float> x = *SyntheticValues("gaussian", 512, 512);
  for (const double db : {12.0, 20.0, 30.0}) {
    const Coded coded = Code(absl::StrCat("step(db=", db, ")+rans"), x, 512);
    const Coded fixed = Code(absl::StrCat("step(db=", db, ")"), x, 512);
    std::printf("step %.0f dB: %.3f bits with rans, %.3f without, bound %.3f\n", db, coded.bits,
                fixed.bits, coded.snr / 6.0206);
    EXPECT_EQ(coded.y, fixed.y);
    EXPECT_LE(coded.bits, coded.snr / 6.0206 + 0.33);
    EXPECT_LE(coded.bits, fixed.bits - 0.5);
  }
  // Codes of many sizes: large ones carry raw bits.
  const std::vector<float> wide = *SyntheticValues("outlier", 64, 256);
  EXPECT_EQ(Code("step(size=0.001)+rans", wide, 256).y, Code("step(size=0.001)", wide, 256).y);
  EXPECT_THAT(Error("store+lowrank+rans"), HasSubstr("expected a format with codes"));
  EXPECT_THAT(Error("rans"), HasSubstr("expected a format"));
  EXPECT_THAT(Error("rans+step"), HasSubstr("before"));
}

// Every score with every allocator: a budget is kept, tiles of two widths have the share asked for.
TEST(Policy, EveryScoreGoesWithEveryAllocator) {
  constexpr int64_t kWidth = 256, kTokens = 96;
  const std::vector<float> x = *SyntheticValues("outlier", kTokens, kWidth);
  const struct {
    const char* allocate;
    double least_bits, most_bits;  // of codes
  } kAllocators[] = {{"allocate=topk,high=5,low=3,share=50,within=frame", 3.99, 4.01},
                     {"allocate=threshold,high=5,low=3,over=0.02", 3.0, 5.0},
                     {"allocate=greedy,high=8,low=2,mean=3.5", 3.0, 3.5},
                     {"allocate=knapsack,high=8,low=2,bytes=10752", 3.0, 3.5}};
  for (const std::string& score : TileScoreWords()) {
    for (const auto& allocator : kAllocators) {
      const std::string spec =
          absl::StrCat("policy(score=", score, ",", allocator.allocate, ")+int(bits=4,n=32)");
      const Coded coded = Code(spec, x, kWidth);
      const double side = 32.0 / 32 + (spec.find("high=8") != std::string::npos ? 3.0 : 1.0) / 32;
      EXPECT_LE(coded.bits, allocator.most_bits + side + 0.01) << spec;
      const bool derived = score == "position" && spec.find("high=5") != std::string::npos;
      EXPECT_GE(coded.bits, allocator.least_bits + side - (derived ? 1.0 / 32 : 0.0) - 0.01)
          << spec;
      EXPECT_GE(coded.snr, 9.0) << spec;
    }
  }
}

// Channels whose gradient is large get the bits; the loss's own error falls, the tensor's rises.
TEST(Policy, LossSensitivityServesTheLoss) {
  constexpr int64_t kWidth = 64, kTokens = 128;
  const auto squared = [&](const std::vector<float>& x, const std::vector<float>& y,
                           bool weighted) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double worth = weighted && i % kWidth >= 8 ? 1e-4 : 1.0;
      sum += worth * (x[i] - y[i]) * (x[i] - y[i]);
    }
    return sum;
  };
  const auto run = [&](const char* score, bool weighted) {
    const Ends ends = Make(absl::StrCat("policy(score=", score,
                                        ",allocate=greedy,low=1,high=8,mean=3)+int(4,t=128,n=1)"),
                           kWidth, kTokens);
    TestFrame frame;
    double error = 0;
    for (uint64_t step = 0; step < 3; ++step) {
      frame.Set({{1, kTokens}}, step);
      const std::vector<float> x = *SyntheticValues("gaussian", kTokens, kWidth, step);
      error = squared(x, Through(ends, x, frame.context), weighted);
      std::vector<float> g = *SyntheticValues("gaussian", kTokens, kWidth, 50 + step);
      for (size_t i = 0; i < g.size(); ++i) g[i] *= i % kWidth < 8 ? 1e-3f : 1e-5f;
      if (ends.encoder->WantsGradient()) {
        EXPECT_TRUE(ends.encoder->ObserveGradient(g, frame.context).ok());
      }
      EXPECT_TRUE(ends.encoder->CommitStep(step).ok());
      EXPECT_TRUE(ends.decoder->CommitStep(step).ok());
    }
    return error;
  };
  EXPECT_LT(run("loss", true), 0.1 * run("error", true));
  EXPECT_GT(run("loss", false), run("error", false));
}

// The entropy coder takes nothing from the values, and pays where codes are not spread evenly.
TEST(Rans, GivesTheSameValuesBehindEveryFormatForFewerBits) {
  const struct {
    const char* spec;
    double least_saved;  // bits, on Gaussians
  } kFormats[] = {{"int(bits=8,group=token,sym)", 0.4},
                  {"int(bits=8,group=tensor)", 0.6},
                  {"int(bits=4,group=token)", 0.5},
                  {"int(bits=4,group=channel)", 0.3},
                  {"int(bits=4,n=64)", 0.15},
                  {"int(bits=3,t=4,n=16,range=mse)", 0.0},
                  {"policy(score=error,allocate=greedy,mean=4)+int(bits=4)", 0.1},
                  {"minifloat(e=2,m=1)", 0.0},
                  {"minifloat(e=3,m=4)", 0.1},
                  {"codebook(nf4)", -0.03},
                  {"codebook(dynamic8)", 0.2},
                  {"codebook(log2,bits=4)", 0.3},
                  {"int(bits=4,group=channel,range=running)", 0.3}};
  for (const auto& format : kFormats) {
    for (const char* source : {"gaussian", "student4"}) {
      const std::vector<float> x = *SyntheticValues(source, 256, 320);
      const Coded with = Code(absl::StrCat(format.spec, "+rans"), x, 320);
      const Coded without = Code(format.spec, x, 320);
      EXPECT_EQ(with.y, without.y) << format.spec;
      std::printf("%s %s: %.2f bits with rans, %.2f without, %.1f dB\n", format.spec, source,
                  with.bits, without.bits, with.snr);
      EXPECT_LE(with.bits, without.bits - format.least_saved) << format.spec;
    }
  }
}

TEST(RunningRanges, AreSentNowAndThenAndAtOnceWhereTheyNoLongerServe) {
  constexpr int64_t kWidth = 128, kTokens = 64;
  for (const char* group : {"channel", "tensor"}) {
    const std::string format = absl::StrCat("int(bits=5,group=", group);
    const Ends running = Make(format + ",range=running)", kWidth);
    const double table = group[0] == 'c' ? 32.0 / kTokens : 32.0 / (kTokens * kWidth);
    uint64_t step = 0;
    const auto frame = [&](float size) {
      std::vector<float> x = *SyntheticValues("gaussian", kTokens, kWidth, step);
      for (float& v : x) v *= size;
      const Coded coded = Code(running, x, kWidth, step++);
      EXPECT_EQ(running.encoder->StateHash(), running.decoder->StateHash());
      return coded;
    };
    EXPECT_NEAR(frame(1.0f).bits, 5.0 + table, 0.01);
    for (int i = 0; i < 20; ++i) frame(1.0f);
    Coded mean;
    for (int i = 0; i < 32; ++i) {
      const Coded coded = frame(1.0f);
      mean.bits += coded.bits / 32;
      mean.snr += coded.snr / 32;
    }
    std::printf("running by %s: %.2f bits, %.1f dB\n", group, mean.bits, mean.snr);
    EXPECT_LE(mean.bits, 5.0 + 0.2 * table + 0.01) << group;
    EXPECT_GE(mean.snr, 22.0) << group;
    const Coded jumped = frame(10.0f);
    EXPECT_NEAR(jumped.bits, 5.0 + table, 0.01) << group;
    EXPECT_GE(jumped.snr, 20.0) << group;
  }
}

TEST(Trellis, GaussianIsNearerToTheBoundThanOneStepCanBe) {
  const std::vector<float> x = *SyntheticValues("gaussian", 512, 256);
  for (const double db : {3.0, 8.0, 12.0, 20.0, 30.0}) {
    const Coded coded = Code(absl::StrCat("trellis(db=", db, ")"), x, 256);
    const double above = coded.bits - coded.snr / 6.0206;
    std::printf("trellis %.1f dB: %.3f bits, %.3f above R(D)\n", coded.snr, coded.bits, above);
    EXPECT_GE(coded.snr, db - 0.3);
    EXPECT_LE(coded.snr, db + 1.2);
    EXPECT_LE(above, 0.165) << db;
  }
  const std::vector<float> zeros(64 * 32, 0.0f);
  EXPECT_EQ(Code("trellis(db=20)", zeros, 32).y, zeros);
  std::vector<float> spike = *SyntheticValues("gaussian", 64, 32);
  spike[100] = 1e6f;
  EXPECT_GE(Code("trellis(db=20)", spike, 32).snr, 16.0);
}

TEST(Previous, PredictsTokensThatFollowTheirNeighbours) {
  const std::vector<float> x = CorrelatedTokens(0.97, 512, 256);
  const Coded with = Code("previous+int(4,token)", x, 256), without = Code("int(4,token)", x, 256);
  std::printf("previous: %.1f dB, without %.1f dB\n", with.snr, without.snr);
  EXPECT_GE(with.snr, without.snr + 8.0);
  EXPECT_LE(with.bits, without.bits + 0.01);
}

TEST(Feedback, SumsOfCoarseGradientsOfOneTensorComeOutRight) {
  const std::vector<float> x = *SyntheticValues("gaussian", 32, 64);
  const auto error = [&](const std::string& spec) {
    const Ends ends = Make(spec, 64, 32, Direction::kBackward);
    std::vector<float> sum(x.size(), 0.0f), wanted(x.size(), 0.0f);
    for (uint64_t step = 0; step < 200; ++step) {
      std::vector<float> g = *SyntheticValues("gaussian", 32, 64, step + 2);
      for (size_t i = 0; i < g.size(); ++i) g[i] = 1e-7f * (x[i] + g[i]);
      const Coded coded = Code(ends, g, 64, step);
      for (size_t i = 0; i < g.size(); ++i) {
        sum[i] += coded.y[i];
        wanted[i] += g[i];
      }
    }
    return std::pow(10.0, -Snr(wanted, sum) / 20);
  };
  const double with = error("feedback+int(2,round=nearest)");
  const double without = error("int(2,round=nearest)");
  std::printf("200 gradients of 2 bits: %.4f with feedback, %.4f without\n", with, without);
  EXPECT_LE(with, 0.01);
  EXPECT_GE(without, 5 * with);
}

// A change of rank 8 in all samples' rows: later visits cost rank * (1/T + 1/D) * bits and the
// error shrinks with the change.
TEST(SplitliteStyle, SendsChangesOfSmallRankForFewBits) {
  constexpr int64_t kTokens = 128, kWidth = 256;
  const Ends ends = Make("splitlite-style(bits=4,rank=16)", kWidth, kTokens);
  std::vector<float> x = *SyntheticValues("gaussian", kTokens, kWidth);
  EXPECT_GE(Code(ends, x, kWidth).bits, 8.0);
  double first = 0;
  for (uint64_t visit = 1; visit <= 4; ++visit) {
    const std::vector<float> p = *SyntheticValues("gaussian", kTokens, 8, 20 + visit);
    const std::vector<float> q = *SyntheticValues("gaussian", 8, kWidth, 30 + visit);
    const float size = 0.1f / static_cast<float>(visit);
    for (int64_t t = 0; t < kTokens; ++t)
      for (int64_t c = 0; c < kWidth; ++c)
        for (int64_t k = 0; k < 8; ++k)
          x[static_cast<size_t>(t * kWidth + c)] +=
              size * p[static_cast<size_t>(t * 8 + k)] * q[static_cast<size_t>(k * kWidth + c)];
    const Coded coded = Code(ends, x, kWidth, visit);
    std::printf("splitlite visit %d: %.1f dB at %.2f bits\n", static_cast<int>(visit), coded.snr,
                coded.bits);
    EXPECT_LE(coded.bits, 16 * (1.0 / kTokens + 1.0 / kWidth) * 4 + 0.05);
    EXPECT_GE(coded.snr, 22.0) << visit;
    if (visit == 1) first = coded.snr;
    if (visit == 4) {
      EXPECT_GE(coded.snr, first + 3.0);
    }
  }
}

TEST(SplitcomStyle, SendsNothingForSamplesThatHardlyChanged) {
  const Ends ends = Make("splitcom-style(bits=8,cosine=0.98)", 256, 128);
  std::vector<float> x = *SyntheticValues("gaussian", 128, 256);
  const std::vector<float> drift = *SyntheticValues("gaussian", 128, 256, 2);
  EXPECT_GE(Code(ends, x, 256).bits, 8.0);
  for (size_t i = 0; i < x.size(); ++i) x[i] += 0.1f * drift[i];  // cosine 0.995
  const Coded skipped = Code(ends, x, 256, 1);
  EXPECT_LE(skipped.bits, 0.01);
  EXPECT_GE(skipped.snr, 19.0);
  for (size_t i = 0; i < x.size(); ++i) x[i] += 0.3f * drift[i];  // cosine 0.93 to what is held
  const Coded sent = Code(ends, x, 256, 2);
  EXPECT_GE(sent.bits, 8.0);
  EXPECT_GE(sent.snr, 38.0);
}

}  // namespace
}  // namespace isthmus
