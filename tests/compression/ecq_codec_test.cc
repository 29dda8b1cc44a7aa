// ecq beyond the contract of every codec: its distance from the rate-distortion bound, what each
// predictor saves, that gradients stay unbiased, and that both ends hold the same for ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <list>

#include "compression/band_threads.h"
#include "frames.h"

namespace isthmus {
namespace {

EdgeShape Shape(int64_t width, Direction direction = Direction::kForward) {
  EdgeShape shape;
  shape.width = width;
  shape.edge = 1;
  shape.direction = direction;
  shape.seed = 5;
  return shape;
}

std::vector<float> Gaussians(uint64_t seed, int64_t n) {
  CounterRng rng(RandomKey(seed, "test.gauss"));
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.NextNormal());
  return x;
}

double Bits(const Bytes& wire, const std::vector<float>& x) {
  return BitsPerElement(static_cast<int64_t>(wire.size()), static_cast<int64_t>(x.size()));
}

void Commit(const Ends& ends, uint64_t step) {
  ASSERT_TRUE(ends.encoder->CommitStep(step).ok());
  ASSERT_TRUE(ends.decoder->CommitStep(step).ok());
}

// ---------------------------------------------------------------- rate and distortion

struct Point {
  double db, most_above;  // bits above 1/2 log2(var / D)
};

class EcqRate : public testing::TestWithParam<Point> {};

TEST_P(EcqRate, GaussianIsNearTheBound) {
  const Ends ends = MakeEnds(absl::StrCat("ecq(db=", GetParam().db, ")"), Shape(256));
  for (uint64_t i = 0; i < 4; ++i) {
    TestFrame frame;
    frame.Set({{i, 512}}, i);
    const std::vector<float> x = Gaussians(i, 512 * 256);
    Bytes wire;
    const std::vector<float> y = Through(ends, x, frame.context, &wire);
    const double snr = Snr(x, y);
    EXPECT_NEAR(snr, GetParam().db, i == 0 ? 1.5 : 0.3) << i;
    // The first frame begins without knowing anything.
    const double above = Bits(wire, x) - snr / 6.0206;
    EXPECT_LT(above, GetParam().most_above + (i == 0 ? 0.1 : 0.0)) << i;
    Commit(ends, i);
  }
}

// 0.255 bit is what a scalar quantiser with an entropy coder loses at high rate; below, the losses
// of the best one plus 0.05.
INSTANTIATE_TEST_SUITE_P(Gaussian, EcqRate,
                         testing::Values(Point{34, 0.30}, Point{20, 0.30}, Point{12.7, 0.30},
                                         Point{9.2, 0.30}, Point{6.1, 0.30}, Point{4.6, 0.29},
                                         Point{2.1, 0.20}, Point{1.2, 0.15}));

TEST(Ecq, ChannelsOfDifferentSizesCostTheirOwnRates) {
  const Ends ends = MakeEnds("ecq(db=15)", Shape(128));
  std::vector<float> x = Gaussians(3, 512 * 128);
  double log_sum = 0;
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::exp2(static_cast<float>(i % 128 % 5) * 0.5f);
  for (int i = 0; i < 5; ++i) log_sum += 0.5 * i / 5.0;
  Bytes wire;
  double snr = 0;
  for (uint64_t i = 0; i < 3; ++i) {
    TestFrame frame;
    frame.Set({{i, 512}}, i);
    snr = Snr(x, Through(ends, x, frame.context, &wire));
    Commit(ends, i);
  }
  // Reverse water-filling: the mean of the channels' rates at one distortion for all.
  const double noise = Energy(x) / static_cast<double>(x.size()) * std::pow(10.0, -snr / 10);
  EXPECT_LT(Bits(wire, x), log_sum - 0.5 * std::log2(noise) + 0.30);
}

TEST(Ecq, BitsAndBytesAreMet) {
  for (const char* spec : {"ecq(bits=4)", "ecq(bits=1.5)", "ecq(bits=0.5)", "ecq(bytes=6000)"}) {
    const Ends ends = MakeEnds(spec, Shape(64));
    const double wanted = std::string(spec) == "ecq(bytes=6000)" ? 6000 * 8.0 / (256 * 64)
                          : std::string(spec) == "ecq(bits=4)"   ? 4
                          : std::string(spec) == "ecq(bits=1.5)" ? 1.5
                                                                 : 0.5;
    for (uint64_t i = 0; i < 6; ++i) {
      TestFrame frame;
      frame.Set({{i, 256}}, i);
      const std::vector<float> x = Gaussians(i, 256 * 64);
      Bytes wire;
      Through(ends, x, frame.context, &wire);
      if (i > 1) {
        EXPECT_NEAR(Bits(wire, x), wanted, 0.06 * wanted + 0.02) << spec << i;
      }
      Commit(ends, i);
    }
  }
}

TEST(Ecq, TheFloorHoldsWhereBitsAreTooFew) {
  const Ends ends = MakeEnds("ecq(bits=0.5,floor=12)", Shape(64));
  for (uint64_t i = 0; i < 3; ++i) {
    TestFrame frame;
    frame.Set({{i, 256}}, i);
    const std::vector<float> x = Gaussians(i, 256 * 64);
    EXPECT_GT(Snr(x, Through(ends, x, frame.context)), 11.8);
    Commit(ends, i);
  }
}

TEST(Ecq, EvaluationIsFinerAndCostsNoState) {
  const Ends ends = MakeEnds("ecq(db=10,eval=8)", Shape(64));
  for (uint64_t i = 0; i < 4; ++i) {
    for (const bool training : {true, false}) {
      TestFrame frame;
      frame.Set({{i, 128}}, i, 0, training);
      const std::vector<float> x = Gaussians(i, 128 * 64);
      const uint64_t hash = ends.decoder->StateHash();
      EXPECT_NEAR(Snr(x, Through(ends, x, frame.context)), training ? 10 : 18, 0.6);
      EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
      EXPECT_EQ(training, ends.decoder->StateHash() != hash);
    }
    Commit(ends, i);
  }
}

TEST(Ecq, AnOutlierIsCodedAndNeverClipped) {
  const Ends ends = MakeEnds("ecq(db=14)", Shape(64));
  TestFrame frame;
  frame.Set({{1, 128}});
  std::vector<float> x = Gaussians(1, 128 * 64);
  x[1000] = 800.0f;
  x[2000] = -3000.0f;
  const std::vector<float> y = Through(ends, x, frame.context);
  EXPECT_NEAR(y[1000], 800.0f, 80.0f);
  EXPECT_NEAR(y[2000], -3000.0f, 80.0f);
}

// ---------------------------------------------------------------- predictors

// Rows that are a mean of their id plus a little noise, as tokens near the embedding are.
struct Language {
  static constexpr int64_t kWidth = 96;
  std::vector<float> means = Gaussians(77, 200 * kWidth);

  std::vector<uint32_t> Ids(uint64_t seed, int64_t tokens) const {
    CounterRng rng(RandomKey(seed, "test.ids"));
    std::vector<uint32_t> ids;
    for (int64_t t = 0; t < tokens; ++t) {
      const double u = rng.NextUniform();
      ids.push_back(1000 + static_cast<uint32_t>(200 * u * u) * 7);
    }
    return ids;
  }
  std::vector<float> Rows(const std::vector<uint32_t>& ids, uint64_t seed, float noise) const {
    std::vector<float> x = Gaussians(seed, static_cast<int64_t>(ids.size()) * kWidth);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t id = (ids[i / kWidth] - 1000) / 7;
      x[i] = means[id * kWidth + i % kWidth] + noise * x[i];
    }
    return x;
  }
};

// Bits of the last of `frames` frames, each of other samples.
double LanguageBits(const std::string& spec, bool with_ids, bool shared, int frames,
                    std::vector<uint32_t>* decoder_ids = nullptr) {
  const Language language;
  EdgeShape shape = Shape(Language::kWidth);
  shape.shared_row_ids = shared;
  const Ends ends = MakeEnds(spec, shape);
  double bits = 0;
  for (int i = 0; i < frames; ++i) {
    TestFrame frame;
    frame.Set({{static_cast<uint64_t>(2 * i), 60}, {static_cast<uint64_t>(2 * i + 1), 68}},
              static_cast<uint64_t>(i));
    const auto ids = language.Ids(static_cast<uint64_t>(i), 128);
    const auto x = language.Rows(ids, static_cast<uint64_t>(i + 1000), 0.2f);
    if (with_ids) frame.context.row_ids = ids;
    Bytes wire;
    Through(ends, x, frame.context, &wire);
    EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
    bits = Bits(wire, x);
    Commit(ends, static_cast<uint64_t>(i));
    const auto at_encoder = ends.encoder->RowIds(), at_decoder = ends.decoder->RowIds();
    EXPECT_EQ(std::vector<uint32_t>(at_encoder.begin(), at_encoder.end()),
              std::vector<uint32_t>(at_decoder.begin(), at_decoder.end()));
    if (decoder_ids != nullptr) decoder_ids->assign(at_decoder.begin(), at_decoder.end());
    const bool enough = spec.find("slots") == std::string::npos;
    for (size_t r = 0; enough && r < at_decoder.size(); ++r) {
      for (size_t s = 0; s < r; ++s) EXPECT_EQ(ids[r] == ids[s], at_decoder[r] == at_decoder[s]);
    }
  }
  return bits;
}

TEST(Ecq, SlotsPredictRowsOfEqualIds) {
  const double without = LanguageBits("ecq(db=20)", false, false, 12);
  const double with = LanguageBits("ecq(db=20)", true, false, 12);
  const double shared = LanguageBits("ecq(db=20)", true, true, 12);
  // 14 dB of the energy is predicted: 2.3 bits, less what a mean of a few visits misses, and about
  // 7 bits a row for the slot's number.
  EXPECT_LT(with, without - 1.5);
  EXPECT_LT(shared, with - 0.04);
  EXPECT_GT(LanguageBits("ecq(db=20,predict=off)", true, false, 12), without - 0.1);
}

TEST(Ecq, TokenIdsStayPrivate) {
  std::vector<uint32_t> ids;
  LanguageBits("ecq(db=20)", true, false, 3, &ids);
  ASSERT_EQ(ids.size(), 128u);
  for (const uint32_t id : ids) EXPECT_LT(id, 200u);  // first come first served, not 1000 and more
}

TEST(Ecq, FewerSlotsThanIdsGoRound) {
  EXPECT_LT(LanguageBits("ecq(db=20,slots=64)", true, false, 10),
            LanguageBits("ecq(db=20)", false, false, 10));
  LanguageBits("ecq(db=20,slots=3)", true, false, 4);
  LanguageBits("ecq(db=20,slots=3)", true, true, 4);
}

// Several epochs over the same samples with values that drift.
double EpochBits(const std::string& spec, int epoch_wanted, bool with_ids) {
  const Language language;
  EdgeShape shape = Shape(Language::kWidth);
  shape.num_samples = 8;
  shape.max_sample_tokens = 64;
  const Ends ends = MakeEnds(spec, shape);
  double bits = 0;
  for (uint64_t epoch = 0; epoch <= static_cast<uint64_t>(epoch_wanted); ++epoch) {
    bits = 0;
    for (uint64_t i = 0; i < 4; ++i) {
      TestFrame frame;
      frame.Set({{i, 64}, {i + 4, 64}}, epoch * 4 + i);
      const auto ids = language.Ids(i, 128);
      auto x = language.Rows(ids, i + 50, 1.0f);
      const auto drift = Gaussians(epoch * 4 + i + 900, static_cast<int64_t>(x.size()));
      for (size_t k = 0; k < x.size(); ++k) x[k] += 0.02f * static_cast<float>(epoch) * drift[k];
      if (with_ids) frame.context.row_ids = ids;
      Bytes wire;
      Through(ends, x, frame.context, &wire);
      EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
      bits += Bits(wire, x) / 4;
      Commit(ends, epoch * 4 + i);
    }
  }
  return bits;
}

TEST(Ecq, ALaterVisitCostsAFewTenthsOfABit) {
  EXPECT_GT(EpochBits("ecq(db=16)", 0, true), 2.0);
  EXPECT_LT(EpochBits("ecq(db=16)", 1, true), 0.5);
  EXPECT_GT(EpochBits("ecq(db=16,predict=slot)", 1, true), 1.5);
  EXPECT_LT(EpochBits("ecq(db=16,predict=sample)", 1, false), 0.5);
}

TEST(Ecq, AnEarlierEdgePredictsALaterOne) {
  const Language language;
  double bits[2] = {};
  for (const bool shared : {false, true}) {
    EdgeShape shape = Shape(Language::kWidth);
    shape.shared_row_ids = shape.shared_earlier = shared;
    const Ends ends = MakeEnds("ecq(db=16)", shape);
    for (uint64_t i = 0; i < 12; ++i) {
      TestFrame frame;
      frame.Set({{i, 128}}, i);
      const auto ids = language.Ids(i, 128);
      const auto earlier = language.Rows(ids, i + 1000, 1.0f);
      auto x = language.Rows(ids, i + 2000, 0.3f);
      for (size_t k = 0; k < x.size(); ++k) x[k] += 0.8f * earlier[k];
      frame.context.row_ids = ids;
      if (shared) frame.context.earlier_TD = earlier;
      Bytes wire;
      Through(ends, x, frame.context, &wire);
      EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
      bits[shared] = Bits(wire, x);
      Commit(ends, i);
    }
  }
  // The noise of 0.8 is known from the earlier edge, that of 0.3 is not: 1.5 bits, less what the
  // few rows of a slot miss.
  EXPECT_LT(bits[1], bits[0] - 0.7);
}

// ---------------------------------------------------------------- bands

// Large enough for a stream a band: two cores and one write the same bytes.
TEST(EcqBands, ThreadsDoNotShowInTheBytes) {
  for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
    for (const int64_t width : {512, 1090}) {
      Bytes wires[2];
      uint64_t hashes[2];
      for (const int threads : {1, 2}) {
        SetCodecThreads(threads);
        EdgeShape shape = Shape(width, direction);
        shape.num_samples = 3;
        shape.max_sample_tokens = 100;
        const Ends ends = MakeEnds("ecq(db=12)", shape);
        for (uint64_t step = 0; step < 3; ++step) {
          TestFrame frame;
          frame.Set({{0, 100}, {1, 61}}, step);
          std::vector<uint32_t> ids;
          for (uint32_t t = 0; t < 161; ++t) ids.push_back(t * t % 37);
          frame.context.row_ids = ids;
          const std::vector<float> x = Gaussians(step, 161 * width);
          Bytes wire;
          Through(ends, x, frame.context, &wire);
          EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
          wires[threads - 1].insert(wires[threads - 1].end(), wire.begin(), wire.end());
          Commit(ends, step);
        }
        hashes[threads - 1] = ends.decoder->StateHash();
      }
      SetCodecThreads(2);
      EXPECT_EQ(wires[0], wires[1]) << width;
      EXPECT_EQ(hashes[0], hashes[1]) << width;
    }
  }
}

// ---------------------------------------------------------------- gradients

// The mean of decoded gradients over many keys, in standard errors of its own spread.
void ExpectUnbiased(const std::string& spec) {
  const int64_t width = 24, tokens = 20;
  std::vector<float> g = Gaussians(8, tokens * width);
  for (size_t i = 0; i < g.size(); ++i) {
    const size_t t = i / static_cast<size_t>(width);
    g[i] *= std::exp2(static_cast<float>(t % 7) - 3.0f);
    if (t == 11) g[i] = 0.0f;
  }
  constexpr int kDraws = 3000;
  std::vector<double> sum(g.size()), square(g.size());
  const Ends ends = MakeEnds(spec, Shape(width, Direction::kBackward));
  for (int i = 0; i < kDraws; ++i) {
    TestFrame frame;
    frame.Set({{1, 12}, {2, 8}}, static_cast<uint64_t>(i));
    const std::vector<float> y = Through(ends, g, frame.context);
    for (size_t k = 0; k < g.size(); ++k) {
      sum[k] += y[k] - g[k];
      square[k] += (static_cast<double>(y[k]) - g[k]) * (static_cast<double>(y[k]) - g[k]);
    }
    Commit(ends, static_cast<uint64_t>(i));
  }
  double chi_square = 0, energy_of_mean = 0, energy = 0;
  for (size_t k = 0; k < g.size(); ++k) {
    const double error = std::sqrt(square[k]) / kDraws;  // of the mean
    const double mean = sum[k] / kDraws;
    // Rare rows: their spread is known only as well as they are drawn.
    EXPECT_LE(std::fabs(mean), 6.0 * error + 1e-12) << spec << " place " << k;
    if (error > 0) chi_square += mean * mean / (error * error);
    energy_of_mean += mean * mean;
    energy += static_cast<double>(g[k]) * g[k];
  }
  const double places = static_cast<double>((tokens - 1) * width);
  // Rows of a token are kept or dropped together, so these are fewer than `places` degrees.
  EXPECT_LT(chi_square / places, spec.find("keep") == std::string::npos ? 1.3 : 2.5) << spec;
  EXPECT_LT(energy_of_mean, 0.01 * energy) << spec;
}

TEST(EcqGradient, DitheredGradientsAreUnbiased) {
  ExpectUnbiased("ecq(db=10)");
  ExpectUnbiased("ecq(db=0)");
  ExpectUnbiased("ecq(bits=0.7)");
}

TEST(EcqGradient, SampledTokensAreUnbiased) { ExpectUnbiased("ecq(db=4,keep=0.3)"); }

TEST(EcqGradient, KeepsTheShareAndDropsZeroRows) {
  const Ends ends = MakeEnds("ecq(db=4,keep=0.25)", Shape(64, Direction::kBackward));
  std::vector<float> g = Gaussians(4, 256 * 64);
  for (size_t i = 64; i < 128; ++i) g[i] = 0.0f;
  int64_t kept = 0;
  for (uint64_t step = 0; step < 20; ++step) {
    TestFrame frame;
    frame.Set({{step, 256}}, step);
    const std::vector<float> y = Through(ends, g, frame.context);
    for (size_t t = 0; t < 256; ++t) {
      const bool live = std::any_of(y.begin() + static_cast<int64_t>(t * 64),
                                    y.begin() + static_cast<int64_t>(t * 64 + 64),
                                    [](float v) { return v != 0.0f; });
      EXPECT_FALSE(live && t == 1);
      kept += live;
    }
    Commit(ends, step);
  }
  EXPECT_NEAR(static_cast<double>(kept) / (20 * 256), 0.25, 0.03);
}

TEST(EcqGradient, NoiseIsWhatTheTargetSays) {
  for (const double db : {14.0, 0.0, -6.0}) {
    const Ends ends = MakeEnds(absl::StrCat("ecq(db=", db, ")"), Shape(64, Direction::kBackward));
    TestFrame frame;
    frame.Set({{1, 256}});
    const std::vector<float> g = Gaussians(9, 256 * 64);
    EXPECT_NEAR(Snr(g, Through(ends, g, frame.context)), db, 0.15);
  }
}

TEST(EcqGradient, OneSpecForBothDirections) {
  const auto backward = DefaultBackward("ecq(db=20)");
  ASSERT_TRUE(backward.ok());
  EXPECT_THAT(*backward, testing::HasSubstr("ecq(db=10,"));
  EXPECT_TRUE(Codec::Parse(*backward).ok());
  const auto codec = Codec::Parse("ecq(db=16,keep=0.3)");
  ASSERT_TRUE(codec.ok());
  EXPECT_FALSE((*codec)->MakeEncoder(Shape(8)).ok());
  EXPECT_TRUE((*codec)->MakeEncoder(Shape(8, Direction::kBackward)).ok());
}

// ---------------------------------------------------------------- sensitivity

TEST(EcqSensitivity, ChannelsThatMatterGetFinerSteps) {
  const int64_t width = 32;
  const Ends ends = MakeEnds("ecq(db=12,sens=on)", Shape(width));
  ASSERT_TRUE(ends.encoder->WantsGradient());
  std::vector<double> noise(static_cast<size_t>(width));
  for (uint64_t step = 0; step < 40; ++step) {
    TestFrame frame;
    frame.Set({{step, 128}}, step);
    const std::vector<float> x = Gaussians(step, 128 * width);
    const std::vector<float> y = Through(ends, x, frame.context);
    EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
    for (size_t i = 0; step >= 20 && i < x.size(); ++i)
      noise[i % static_cast<size_t>(width)] += (x[i] - y[i]) * (x[i] - y[i]);
    std::vector<float> g = Gaussians(step + 100, 128 * width);
    for (size_t i = 0; i < g.size(); ++i) g[i] *= i % 2 == 0 ? 1e-4f : 4e-4f;
    ASSERT_TRUE(ends.encoder->ObserveGradient(g, frame.context).ok());
    if (step == 30) {  // a step that is tried again
      ASSERT_TRUE(ends.encoder->RollbackStep().ok());
      ASSERT_TRUE(ends.decoder->RollbackStep().ok());
      EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
      continue;
    }
    Commit(ends, step);
  }
  double quiet = 0, loud = 0;
  for (size_t c = 0; c < noise.size(); ++c) (c % 2 == 0 ? quiet : loud) += noise[c];
  // Sensitivities differ by a factor of 4, so do the steps: 16 in energy, where the step is fine.
  EXPECT_GT(quiet, 4 * loud);
}

// The gradient of sum h_c (x^ - x)^2 / 2 with two kinds of channels: those of large h end with the
// smaller error, at both ends, over snapshots and steps that are tried again.
TEST(EcqSensitivity, GatesMoveStepsToWhereErrorsHurt) {
  constexpr int64_t kWidth = 32, kTokens = 64;
  Ends ends = MakeEnds("ecq(db=12,sens=gates)", Shape(kWidth));
  ASSERT_TRUE(ends.encoder->WantsGradient());
  std::vector<double> noise(kWidth);
  for (uint64_t step = 0; step < 360; ++step) {
    TestFrame frame;
    frame.Set({{step, kTokens}}, step);
    const std::vector<float> x = Gaussians(step, kTokens * kWidth);
    const std::vector<float> y = Through(ends, x, frame.context);
    ASSERT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
    std::vector<float> g(x.size());
    for (size_t i = 0; i < g.size(); ++i) {
      g[i] = (i % 2 == 0 ? 1e-6f : 1e-5f) * (y[i] - x[i]);
      if (step >= 340) noise[i % kWidth] += (x[i] - y[i]) * (x[i] - y[i]);
    }
    ASSERT_TRUE(ends.encoder->ObserveGradient(g, frame.context).ok());
    if (step % 50 == 49) {
      ASSERT_TRUE(ends.encoder->RollbackStep().ok());
      ASSERT_TRUE(ends.decoder->RollbackStep().ok());
      continue;
    }
    Commit(ends, step);
    if (step != 200) continue;
    Bytes encoder, decoder;
    ASSERT_TRUE(ends.encoder->Snapshot(&encoder).ok());
    ASSERT_TRUE(ends.decoder->Snapshot(&decoder).ok());
    ends = MakeEnds("ecq(db=12,sens=gates)", Shape(kWidth));
    ASSERT_TRUE(ends.encoder->Restore(encoder).ok());
    ASSERT_TRUE(ends.decoder->Restore(decoder).ok());
  }
  double quiet = 0, loud = 0;
  for (size_t c = 0; c < noise.size(); ++c) (c % 2 == 0 ? quiet : loud) += noise[c];
  std::printf("gates: error of channels that matter less %.2f times the others'\n", quiet / loud);
  EXPECT_GT(quiet, 3 * loud);
}

// ---------------------------------------------------------------- basis

// Channels that share a few signals: what a basis saves is the mean log2 of the channels' sizes
// over that of the directions', once it is learned, and its bytes come once.
TEST(EcqBasis, CorrelatedChannelsCostWhatTheirDirectionsDo) {
  constexpr int64_t kWidth = 64, kTokens = 128, kSignals = 8;
  for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
    EdgeShape shape = Shape(kWidth, direction);
    const std::vector<float> mix = Gaussians(900, kSignals * kWidth);
    const auto rows = [&](uint64_t step) {
      const std::vector<float> signal = Gaussians(step, kTokens * kSignals);
      std::vector<float> x = Gaussians(1000 + step, kTokens * kWidth);
      for (size_t t = 0; t < kTokens; ++t)
        for (size_t c = 0; c < kWidth; ++c)
          for (size_t k = 0; k < kSignals; ++k)
            x[t * kWidth + c] += 2.0f * signal[t * kSignals + k] * mix[k * kWidth + c];
      return x;
    };
    double bits[2] = {}, snr[2] = {};
    size_t tables = 0;
    for (const bool basis : {false, true}) {
      const Ends ends = MakeEnds(basis ? "ecq(db=16,basis=64)" : "ecq(db=16)", shape);
      for (uint64_t step = 0; step < 40; ++step) {
        TestFrame frame;
        frame.Set({{step, kTokens}}, step);
        Bytes wire;
        const std::vector<float> x = rows(step);
        const std::vector<float> y = Through(ends, x, frame.context, &wire);
        ASSERT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash()) << step;
        if (basis) tables += wire[0] == 2;
        if (step >= 20) {
          bits[basis] +=
              8.0 * static_cast<double>(wire.size()) / static_cast<double>(x.size()) / 20;
          snr[basis] += Snr(x, y) / 20;
        }
        Commit(ends, step);
      }
    }
    std::printf("%s: %.2f bits at %.1f dB, with a basis %.2f at %.1f\n",
                std::string(Name(direction)).c_str(), bits[0], snr[0], bits[1], snr[1]);
    EXPECT_EQ(tables, 1u);
    EXPECT_LT(bits[1], 0.7 * bits[0]);
    EXPECT_NEAR(snr[1], snr[0], 0.5);
  }
}

// ---------------------------------------------------------------- faults

class EcqFaults : public testing::Test {
 protected:
  EcqFaults() {
    shape_ = Shape(Language::kWidth);
    shape_.num_samples = 6;
    shape_.max_sample_tokens = 40;
  }
  std::vector<float> Next(uint64_t i, TestFrame* frame, bool training = true) {
    frame->Set({{i % 6, 40}}, i, 0, training);
    ids_.push_back(language_.Ids(i % 6, 40));  // frames outlive the next call
    frame->context.row_ids = ids_.back();
    return language_.Rows(ids_.back(), i, 0.3f);
  }
  void Send(const Ends& ends, uint64_t i) {
    TestFrame frame;
    const auto x = Next(i, &frame);
    Through(ends, x, frame.context);
    EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
    Commit(ends, i);
  }

  Language language_;
  EdgeShape shape_;
  std::list<std::vector<uint32_t>> ids_;
};

TEST_F(EcqFaults, ALostFrameIsSeenAndKeyFramesHeal) {
  const Ends ends = MakeEnds("ecq(db=16)", shape_);
  for (uint64_t i = 0; i < 9; ++i) Send(ends, i);
  TestFrame lost, next;
  Bytes bytes;
  const auto gone = Next(9, &lost);
  ASSERT_TRUE(ends.encoder->Encode(gone, lost.context, &bytes).ok());
  bytes.clear();
  const auto x = Next(10, &next);
  ASSERT_TRUE(ends.encoder->Encode(x, next.context, &bytes).ok());
  std::vector<float> y(x.size());
  const uint64_t hash = ends.decoder->StateHash();
  EXPECT_EQ(ends.decoder->Decode(bytes, next.context, absl::MakeSpan(y)).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ends.decoder->StateHash(), hash);
  ends.decoder->RequestKeyFrames();
  EXPECT_EQ(ends.decoder->Decode(bytes, next.context, absl::MakeSpan(y)).code(),
            absl::StatusCode::kDataLoss);
  ends.encoder->RequestKeyFrames();
  // Evaluation before the first frame of the new state works too, and leaves no trace.
  TestFrame eval;
  const auto z = Next(11, &eval, false);
  EXPECT_GT(Snr(z, Through(ends, z, eval.context)), 15.0);
  bytes.clear();
  const auto size = ends.encoder->Encode(x, next.context, &bytes);
  ASSERT_TRUE(size.ok());
  EXPECT_EQ(size->key_frames, 1);
  ASSERT_TRUE(ends.decoder->Decode(bytes, next.context, absl::MakeSpan(y)).ok());
  EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
  // Back to the new start and forth again: the same bytes.
  ASSERT_TRUE(ends.encoder->RollbackStep().ok());
  ASSERT_TRUE(ends.decoder->RollbackStep().ok());
  Bytes again;
  ASSERT_TRUE(ends.encoder->Encode(x, next.context, &again).ok());
  EXPECT_EQ(again, bytes);
  ASSERT_TRUE(ends.decoder->Decode(again, next.context, absl::MakeSpan(y)).ok());
  Commit(ends, 10);
  for (uint64_t i = 11; i < 30; ++i) Send(ends, i);
}

TEST_F(EcqFaults, AHashFindsStatesThatDiffer) {
  const Ends ends = MakeEnds("ecq(db=16)", shape_), other = MakeEnds("ecq(db=16)", shape_);
  for (uint64_t i = 0; i < 3; ++i) {
    Send(ends, i);
    Send(other, i + 20);
  }
  // As many frames, but others: only the hash tells, at the 16th.
  absl::Status status = absl::OkStatus();
  for (uint64_t i = 3; i < 20 && status.code() != absl::StatusCode::kDataLoss; ++i) {
    TestFrame frame;
    const auto x = Next(i, &frame);
    Bytes bytes;
    ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &bytes).ok());
    std::vector<float> y(x.size());
    status = other.decoder->Decode(bytes, frame.context, absl::MakeSpan(y));
    if (status.ok()) continue;
    // A frame that does not even decode is refused; this end then catches up on its own.
    TestFrame own;
    const auto own_x = Next(i + 20, &own);
    Bytes own_bytes;
    ASSERT_TRUE(other.encoder->Encode(own_x, own.context, &own_bytes).ok());
    if (status.code() != absl::StatusCode::kDataLoss) {
      ASSERT_TRUE(other.decoder->Decode(own_bytes, own.context, absl::MakeSpan(y)).ok());
    }
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
}

TEST_F(EcqFaults, SnapshotsOfOneEndOnlyAreRefusedInTheMiddleOfAStep) {
  const Ends ends = MakeEnds("ecq(db=16)", shape_);
  Send(ends, 0);
  TestFrame frame;
  const auto x = Next(1, &frame);
  Through(ends, x, frame.context);
  Bytes snapshot;
  EXPECT_EQ(ends.encoder->Snapshot(&snapshot).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ends.decoder->Snapshot(&snapshot).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(EcqSpec, CanonicalFormsParseToThemselves) {
  for (const char* spec :
       {"ecq(16)", "ecq(db=-4)", "ecq(bits=1.5,floor=12)", "ecq(bytes=20000,predict=slot,slots=64)",
        "ecq(db=4,keep=0.3,eval=0)", "ecq(20,sens=on,capacity=100,predict=sample)",
        "ecq(14,sens=gates)", "ecq(14,store=mmap)", "ecq(14,basis=128)", "ecq(12.5,predict=off)"}) {
    const auto codec = Codec::Parse(spec);
    ASSERT_TRUE(codec.ok()) << codec.status();
    const std::string canonical = (*codec)->canonical();
    const auto again = Codec::Parse(canonical);
    ASSERT_TRUE(again.ok()) << canonical << again.status();
    EXPECT_EQ((*again)->canonical(), canonical);
  }
  for (const char* spec : {"ecq", "ecq(db=16,bits=2)", "ecq(db=99)", "ecq(db=12,floor=3)",
                           "ecq(db=12,keep=0)", "ecq(db=12,predict=edge)", "ecq(12,slots=0)",
                           "ecq(12,store=disk)", "ecq(12,basis=1)", "ecq(12,basis=8,sens=on)"}) {
    EXPECT_FALSE(Codec::Parse(spec).ok()) << spec;
  }
}

}  // namespace
}  // namespace isthmus
