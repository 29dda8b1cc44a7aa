// What each published scheme promises of its wire, on made-up tensors with the property it was made
// for. Bounds keep a margin of 0.5 dB or more to what is measured.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compression/codec_table.h"
#include "compression/synthetic_source.h"
#include "compression/tile_scores.h"
#include "frames.h"

namespace isthmus {
namespace {

using testing::HasSubstr;

struct Result {
  std::vector<float> y;
  double bits = 0;
  double snr = 0;
};

Result Code(const std::string& spec, const std::vector<float>& x, int64_t width,
            Direction direction = Direction::kForward, uint64_t step = 0) {
  EdgeShape shape;
  shape.width = width;
  shape.direction = direction;
  const Ends ends = MakeEnds(spec, shape);
  TestFrame frame;
  frame.Set({{1, static_cast<int64_t>(x.size()) / width}}, step);
  Bytes wire;
  Result result;
  result.y = Through(ends, x, frame.context, &wire);
  result.bits = BitsPerElement(static_cast<int64_t>(wire.size()), static_cast<int64_t>(x.size()));
  result.snr = Snr(x, result.y);
  return result;
}

std::vector<float> Source(const char* name, int64_t tokens, int64_t width) {
  return *SyntheticValues(name, tokens, width);
}

std::vector<float> Columns(const std::vector<float>& x, int64_t width, int64_t column) {
  std::vector<float> out;
  for (size_t i = static_cast<size_t>(column); i < x.size(); i += static_cast<size_t>(width))
    out.push_back(x[i]);
  return out;
}

// y = x W with W (width x 64) of unit gaussians times `scale` per row.
std::vector<float> Product(const std::vector<float>& x, int64_t width,
                           const std::vector<float>& scale) {
  const std::vector<float> w = *SyntheticValues("gaussian", width, 64, 9);
  std::vector<float> y(x.size() / static_cast<size_t>(width) * 64, 0.0f);
  for (size_t r = 0; r < y.size() / 64; ++r)
    for (size_t c = 0; c < static_cast<size_t>(width); ++c)
      for (size_t k = 0; k < 64; ++k)
        y[r * 64 + k] += x[r * static_cast<size_t>(width) + c] * scale[c] * w[c * 64 + k];
  return y;
}

TEST(Stamp, GainsOnTokensThatResembleTheirNeighbours) {
  const struct { double rho, gain; } kCases[] = {{0.0, -0.1}, {0.5, 0.2}, {0.9, 2.0}, {0.97, 5.0}};
  for (const auto& c : kCases) {
    const std::vector<float> x = CorrelatedTokens(c.rho, 2048, 256);
    const Result uniform = Code("int(bits=4,group=token)", x, 256);
    const Result stamp = Code("stamp(bits=4)", x, 256);
    std::printf("stamp rho %.2f: %.2f dB at %.3f bits, uniform %.2f dB at %.3f\n", c.rho, stamp.snr,
                stamp.bits, uniform.snr, uniform.bits);
    EXPECT_GE(stamp.snr, uniform.snr + c.gain) << c.rho;
    EXPECT_LE(stamp.bits, uniform.bits + 0.14);
  }
}

TEST(Stamp, SmallerLevelsServeShorterContexts) {
  const std::vector<float> x = CorrelatedTokens(0.97, 2048, 256);
  const Result three = Code("stamp(bits=4,levels=3)", x, 256);
  EXPECT_GE(three.snr, 30.0);
  EXPECT_LE(three.bits, 4.65);
}

TEST(Stamp, RaggedSamplesAndTheSinkStayOutOfTheTransform) {
  EdgeShape shape;
  shape.width = 64;
  const Ends ends = MakeEnds("stamp(bits=4)", shape);
  TestFrame frame;
  frame.Set({{1, 1}, {2, 7}, {3, 64}, {4, 33}});
  std::vector<float> x = CorrelatedTokens(0.9, frame.tokens, 64);
  for (const SampleRows& sample : frame.samples)  // a sink of 1000 times the rest
    for (int64_t c = 0; c < 64; ++c) x[static_cast<size_t>(sample.begin * 64 + c)] *= 1000.0f;
  const std::vector<float> y = Through(ends, x, frame.context);
  std::vector<float> rest_x, rest_y;
  for (const SampleRows& sample : frame.samples) {
    const auto begin = static_cast<size_t>(sample.begin + 1) * 64;
    const auto end = static_cast<size_t>(sample.begin + sample.tokens) * 64;
    rest_x.insert(rest_x.end(), x.begin() + begin, x.begin() + end);
    rest_y.insert(rest_y.end(), y.begin() + begin, y.begin() + end);
  }
  EXPECT_GE(Snr(rest_x, rest_y), 19.0);
  EXPECT_TRUE((*Codec::Parse("stamp(bits=4)"))->NeedsSequences());
  EXPECT_FALSE((*Codec::Parse("hadanorm(bits=4)"))->NeedsSequences());
}

TEST(Haar, IsItsOwnInverseToFp32) {
  for (int64_t tokens : {1, 2, 3, 5, 31, 64, 127}) {
    const std::vector<float> x = Source("gaussian", tokens, 33);
    const Result result = Code("haar(levels=7)+int(bits=8,group=token)", x, 33);
    const Result plain = Code("int(bits=8,group=token)", x, 33);
    EXPECT_GE(result.snr, plain.snr - 1.5) << tokens;
  }
}

TEST(Hadanorm, CentredIsNotWorseThanHadamardAlone) {
  const std::vector<float> x = Source("outlier", 1024, 256);
  const Result none = Code("int(bits=4,group=token)", x, 256);
  const Result mixed = Code("hadamard(block=128)+int(bits=4,group=token)", x, 256);
  const Result hadanorm = Code("hadanorm(bits=4)", x, 256);
  std::printf("outlier channels, int4 per token: none %.1f, hadamard %.1f, hadanorm %.1f dB\n",
              none.snr, mixed.snr, hadanorm.snr);
  EXPECT_GE(mixed.snr, none.snr + 8.0);
  EXPECT_GE(hadanorm.snr, mixed.snr);
  EXPECT_LE(hadanorm.bits, 4.2);
}

TEST(Tah, GatedMixingSavesTilesWithOutliers) {
  // Three channels of 60 times the rest and a sink token of 40 times.
  std::vector<float> x = Source("gaussian", 256, 512);
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % 512 == 5 || i % 512 == 200 || i % 512 == 333) x[i] *= 60.0f;
    if (i < 512) x[i] *= 40.0f;
  }
  const Result tiles = Code("int4", x, 512), tah = Code("tah(bits=4)", x, 512);
  std::printf("tah: %.1f dB at %.3f bits, tiles %.1f dB at %.3f\n", tah.snr, tah.bits, tiles.snr,
              tiles.bits);
  EXPECT_GE(tah.snr, tiles.snr + 4.0);
  // 3.8 bits of codes, 32 of scale and offset, one width and one flag in 64, few pivots.
  EXPECT_LE(tah.bits, 3.8 + 34.0 / 64 + 0.05);
  const std::vector<float> plain = Source("gaussian", 256, 512);
  EXPECT_LE(Code("tah(bits=4)", plain, 512).bits, 3.8 + 34.0 / 64 + 0.02);
}

// Taken with the wrong sign, the entropy would give spread tiles the fewer bits.
TEST(Tah, SpreadTilesHaveTheHigherEntropy) {
  std::vector<float> x(128, 0.01f);
  x[3] = 8.0f;
  for (size_t i = 64; i < 128; ++i) x[i] = i % 2 == 0 ? 1.0f : -1.0f;
  float scores[2];
  const PartFrame frame{0, true, {}, 1, 128};
  TileScorer(TileScore::kEntropy).Scores(frame, {0, 1}, {1, 64}, x.data(), 3, 4, scores);
  EXPECT_NEAR(scores[1], 6.0f, 0.05f);
  EXPECT_LT(scores[0], 1.5f);
}

TEST(Llmint8, ColumnsCostSixteenBitsAndSaveTheRest) {
  std::vector<float> x = Source("gaussian", 512, 512);
  for (size_t i = 0; i < x.size(); ++i)
    if (i % 128 == 7) x[i] *= 30.0f;
  const Result plain = Code("int(bits=4,group=token)", x, 512);
  const Result sidecar = Code("outliers(over=6)+int(bits=4,group=token)", x, 512);
  std::printf("4 of 512 hot columns, int4: plain %.1f dB, sidecar %.1f dB for %.4f bits more\n",
              plain.snr, sidecar.snr, sidecar.bits - plain.bits);
  EXPECT_GE(sidecar.snr, plain.snr + 20.0);
  EXPECT_LE(sidecar.bits, plain.bits + 0.096);

  const std::vector<float> even(512, 1.0f);
  const std::vector<float> product = Product(x, 512, even);
  const Result int8 = Code("int(bits=8,group=token,sym)", x, 512);
  const Result llm = Code("llmint8(bits=8)", x, 512);
  const double without = Snr(product, Product(int8.y, 512, even));
  const double with = Snr(product, Product(llm.y, 512, even));
  std::printf("the product: int8 %.1f dB, llmint8 %.1f dB\n", without, with);
  EXPECT_GE(with, without + 12.0);
}

TEST(Quest, BeatsMinMaxAtOneToThreeBits) {
  const std::vector<float> x = Source("gaussian", 1024, 256);
  for (int bits = 1; bits <= 4; ++bits) {
    const std::string spec = absl::StrCat("hadamard(block=128)+int(bits=", bits, ",n=128");
    const Result quest = Code(absl::StrCat("quest(bits=", bits, ")"), x, 256);
    const Result minmax = Code(spec + ",range=minmax)", x, 256);
    std::printf("quest %d bits: %.1f dB, min-max %.1f dB\n", bits, quest.snr, minmax.snr);
    if (bits <= 3) {
      EXPECT_GE(quest.snr, minmax.snr + 0.5) << bits;
    }
  }
  EXPECT_LT(Code("hadamard(block=128)+int(bits=8,n=128,range=rms)", x, 256).snr,
            Code("hadamard(block=128)+int(bits=8,n=128)", x, 256).snr);
  EXPECT_FALSE(Codec::Parse("quest(bits=8)").ok());
}

TEST(Shiftquant, RecoversMostOfWhatScalesPerChannelGain) {
  std::vector<float> x = Source("gaussian", 512, 256);
  const std::vector<float> logs = *SyntheticValues("gaussian", 1, 256, 5);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= 1e-6f * std::exp(1.5f * logs[i % 256]);
  const auto mean_snr = [&](const std::string& spec) {
    const Result result = Code(spec, x, 256);
    double sum = 0;
    for (int64_t c = 0; c < 256; ++c) sum += Snr(Columns(x, 256, c), Columns(result.y, 256, c));
    return sum / 256;
  };
  const double tensor = mean_snr("int(bits=6,group=tensor,sym)");
  const double groups = mean_snr("shiftquant(bits=6,groups=8)");
  const double channel = mean_snr("int(bits=6,group=channel,sym)");
  std::printf("log-normal channels, 6 bits: tensor %.1f, shiftquant %.1f, per channel %.1f dB\n",
              tensor, groups, channel);
  EXPECT_GE(groups, tensor + 0.7 * (channel - tensor));
  EXPECT_LE(Code("shiftquant(bits=6,groups=8)", x, 256).bits, 6.02);
}

TEST(MixdqPin, PinningTheSinkSavesTheRest) {
  std::vector<float> x = Source("gaussian", 256, 128);
  for (size_t c = 0; c < 128; ++c) x[c] *= 200.0f;
  const std::vector<float> rest(x.begin() + 128, x.end());
  const auto snr_of_rest = [&](const std::string& spec) {
    const Result result = Code(spec, x, 128);
    return Snr(rest, {result.y.begin() + 128, result.y.end()});
  };
  const double with = snr_of_rest("mixdq-pin(bits=8)");
  const double without = snr_of_rest("int(bits=8,group=tensor,asym)");
  std::printf("sink token, 8 bits: pinned %.1f dB, not pinned %.1f dB\n", with, without);
  EXPECT_GE(with, without + 15.0);
}

TEST(Minifloat, BeatsIntegersOnHeavyTailsAndTiesOnGaussians) {
  const auto of = [&](const char* source, const char* spec) {
    return Code(spec, Source(source, 512, 256), 256).snr;
  };
  for (const char* source : {"gaussian", "laplace", "student4"}) {
    const double e2m1 = of(source, "minifloat(e=2,m=1)"), e1m2 = of(source, "minifloat(e=1,m=2)"),
                 e3m0 = of(source, "minifloat(e=3,m=0)"),
                 int4 = of(source, "int(bits=4,n=128,sym,range=mse)");
    std::printf("%s: E2M1 %.1f, E1M2 %.1f, E3M0 %.1f, int4 %.1f dB\n", source, e2m1, e1m2, e3m0,
                int4);
    EXPECT_GE(e2m1, int4 + (std::string(source) == "gaussian" ? -0.3 : 1.5)) << source;
  }
}

TEST(Presets, SayTheirBoundsInErrors) {
  for (const char* spec : {"tah(bits=1)", "stamp(bits=8)", "llmint8(bits=9)", "shiftquant(bits=1)",
                           "hadanorm(bits=0)", "mixdq-pin(bits=9)", "minifloat(e=5,m=3)",
                           "codebook(nf4,log2)", "outliers(over=x)+int(4)"}) {
    const auto codec = Codec::Parse(spec);
    ASSERT_FALSE(codec.ok()) << spec;
    EXPECT_THAT(std::string(codec.status().message()), HasSubstr("expected")) << spec;
  }
}

}  // namespace
}  // namespace isthmus
