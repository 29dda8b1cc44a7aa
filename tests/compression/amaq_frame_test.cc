#include "compression/amaq_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compression/group_format.h"
#include "compression/reference.h"
#include "frames.h"

namespace isthmus {
namespace {

constexpr int64_t kWidth = 64;
constexpr const char* kSpec = "amaq(min=2,max=8,target=4)";

EdgeShape Shape(int64_t steps, Direction direction = Direction::kForward) {
  EdgeShape shape;
  shape.width = kWidth;
  shape.direction = direction;
  shape.total_steps = steps;
  return shape;
}

// d loss / d b_c of loss = sum g x^ against central differences of the surrogate x^(b) = x + s(b)
// r, r = round(u) - u held fixed.
TEST(SigmoidGate, GradientEqualsFiniteDifferencesOfTheSurrogate) {
  const size_t rows = 50, width = 8;
  const std::vector<float> x = Values(1, rows, width), g = Values(2, rows, width);
  const std::vector<uint8_t> bits = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> error(x.size());
  std::vector<double> residual(x.size()), range(width);
  for (size_t c = 0; c < width; ++c) {
    std::vector<float> column(rows);
    for (size_t r = 0; r < rows; ++r) column[r] = x[r * width + c];
    const GroupFormat format{bits[c], false, RangeRule::kMinMax};
    const GroupParameters p =
        FitRange(format, reference::ScanExtent(column.data(), rows), column.data(), rows);
    range[c] = static_cast<double>(p.scale) * format.Top();
    for (size_t r = 0; r < rows; ++r) {
      const size_t i = r * width + c;
      error[i] = reference::Dequantize(reference::Quantize(x[i], p, 0.0f), p) - x[i];
      residual[i] =
          (static_cast<double>(reference::Dequantize(reference::Quantize(x[i], p, 0.0f), p)) -
           x[i]) /
          p.scale;
    }
  }
  std::vector<double> gradient(width, 0.0);
  AddGateGradient(g.data(), error.data(), rows, bits, gradient.data());
  for (size_t c = 0; c < width; ++c) {
    const auto loss = [&](double b) {
      double sum = 0;
      for (size_t r = 0; r < rows; ++r) {
        const size_t i = r * width + c;
        sum += g[i] * (x[i] + range[c] / (std::exp2(b) - 1.0) * residual[i]);
      }
      return sum;
    };
    const double h = 1e-5, numeric = (loss(bits[c] + h) - loss(bits[c] - h)) / (2 * h);
    EXPECT_NEAR(gradient[c], numeric, 1e-4 * std::max(1e-3, std::fabs(numeric))) << c;
  }
}

// Gradients that hold the error against one half of the channels: those keep more bits, and the
// mean still reaches the target.
class Gates : public testing::TestWithParam<GateKind> {
 protected:
  static std::unique_ptr<BitPolicy> Make(const BitRange& range) {
    return GetParam() == GateKind::kSoftmax ? MakeSoftmaxGate(range, kWidth, 300)
                                            : MakeSigmoidGate(range, kWidth, 300);
  }
};
INSTANTIATE_TEST_SUITE_P(All, Gates, testing::Values(GateKind::kSigmoid, GateKind::kSoftmax),
                         [](const auto& info) {
                           return info.param == GateKind::kSoftmax ? "Softmax" : "Sigmoid";
                         });

TEST_P(Gates, ImportantChannelsKeepTheirBits) {
  const auto gate = Make({2, 8, 4, 7});
  const std::vector<uint8_t> bits(kWidth, 5);
  const std::vector<float> error(static_cast<size_t>(kWidth), 1.0f);
  std::vector<float> g(static_cast<size_t>(kWidth), 0.0f);
  for (size_t c = 0; c < kWidth / 2; ++c) g[c] = 1e-6f;  // less error, less loss
  for (int step = 0; step < 300; ++step) {
    gate->ObserveGradient(g.data(), error.data(), 1, bits);
    gate->Step();
  }
  const std::vector<double> b = gate->Bits();
  const double first = std::accumulate(b.begin(), b.begin() + kWidth / 2, 0.0) / (kWidth / 2);
  const double second = std::accumulate(b.begin() + kWidth / 2, b.end(), 0.0) / (kWidth / 2);
  EXPECT_GT(first, second + 1.0);
  EXPECT_NEAR((first + second) / 2, 4.0, 0.3);
}

TEST_P(Gates, NothingMovesWithoutGradientsAndLossStepsNeedSixteenMicroBatches) {
  const auto gate = Make({2, 8, 6, 6});  // starts at its target: only the loss can move it
  const std::vector<double> start = gate->Bits();
  for (double b : start) EXPECT_NEAR(b, 6.0, 1e-3);
  for (int i = 0; i < 50; ++i) gate->Step();
  EXPECT_EQ(gate->Bits(), start);
  const std::vector<float> g = Values(1, 1, kWidth), error = Values(2, 1, kWidth);
  const std::vector<uint8_t> bits(kWidth, 6);
  for (int i = 0; i < 15; ++i) {
    gate->ObserveGradient(g.data(), error.data(), 1, bits);
    gate->Step();
  }
  for (double b : gate->Bits()) EXPECT_NEAR(b, 6.0, 1e-3);
  gate->ObserveGradient(g.data(), error.data(), 1, bits);
  gate->Step();
  EXPECT_NE(gate->Bits(), start);
}

TEST_P(Gates, StartAtTheStartAndAStateThatWasReadGoesOn) {
  for (int start = 3; start <= 7; ++start) {
    const auto gate = Make({2, 8, 3, start});
    for (const double b : gate->Bits()) EXPECT_NEAR(b, start, 0.01);
  }
  const auto gate = Make({2, 8, 3, 7}), other = Make({2, 8, 3, 7});
  const std::vector<uint8_t> bits(kWidth, 5);
  const auto train = [&](BitPolicy* policy, uint64_t seed) {
    policy->ObserveGradient(Values(seed, 4, kWidth).data(), Values(seed + 9, 4, kWidth).data(), 4,
                            bits);
    policy->Step();
  };
  for (uint64_t i = 0; i < 20; ++i) train(gate.get(), i);
  Bytes bytes;
  ByteWriter writer(&bytes);
  gate->Write(&writer);
  ByteReader reader(bytes);
  ASSERT_TRUE(other->Read(&reader).ok());
  EXPECT_EQ(other->Bits(), gate->Bits());
  for (uint64_t i = 20; i < 40; ++i) {
    train(gate.get(), i);
    train(other.get(), i);
  }
  EXPECT_EQ(other->Bits(), gate->Bits());
}

TEST(WaterFilling, WidthsFollowTheLogarithmOfTheVarianceAtTheMeanWanted) {
  const BitRange range{2, 8, 4, 7};
  const auto policy = MakeWaterFilling(range, kWidth, 100);
  std::vector<float> x(static_cast<size_t>(kWidth));
  for (size_t c = 0; c < x.size(); ++c) x[c] = c % 2 == 0 ? 1.0f : 4.0f;  // two bits apart
  for (int step = 0; step < 100; ++step) {
    policy->ObserveFrame(x.data(), 1);
    policy->Step();
  }
  const std::vector<double> b = policy->Bits();
  EXPECT_NEAR(std::accumulate(b.begin(), b.end(), 0.0) / kWidth, 4.0, 0.05);
  EXPECT_NEAR(b[1] - b[0], 2.0, 1e-6);
  for (double v : b) EXPECT_TRUE(v >= 2.0 && v <= 8.0);
}

struct RunResult {
  std::vector<double> bits;  // per step, with 62 bytes of frame header
  std::vector<double> snr;
};

RunResult Train(const std::string& spec, int64_t steps, Direction direction) {
  const Ends ends = MakeEnds(spec, Shape(steps, direction));
  RunResult result;
  TestFrame frame;
  for (int64_t step = 0; step < steps; ++step) {
    const uint64_t seed = static_cast<uint64_t>(step);
    frame.Set({{1, 40}, {2, 40}, {3, 40}}, seed);
    const std::vector<float> x = Values(seed, frame.tokens, kWidth);
    Bytes wire;
    result.snr.push_back(Snr(x, Through(ends, x, frame.context, &wire)));
    result.bits.push_back(
        BitsPerElement(static_cast<int64_t>(wire.size()) + 62, frame.tokens * kWidth));
    if (ends.encoder->WantsGradient()) {
      EXPECT_TRUE(
          ends.encoder
              ->ObserveGradient(Values(seed + 7, frame.tokens, kWidth, 1e-4f), frame.context)
              .ok());
    }
    EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
    EXPECT_TRUE(ends.encoder->CommitStep(seed).ok());
    EXPECT_TRUE(ends.decoder->CommitStep(seed).ok());
  }
  return result;
}

TEST(Amaq, TheWireFallsFromTheStartToTheTarget) {
  for (const char* spec : {kSpec, "amaq(min=2,max=8,target=4,gate=softmax)"}) {
    for (Direction direction : {Direction::kForward, Direction::kBackward}) {
      for (int64_t steps : {30, 300}) {
        const RunResult run = Train(spec, steps, direction);
        EXPECT_NEAR(run.bits.front(), 7.35, 0.1) << spec << steps;
        EXPECT_GT(run.bits[static_cast<size_t>(steps / 10)], 5.5) << spec << steps;
        EXPECT_NEAR(run.bits.back(), 4.4, 0.35) << spec << steps;
        EXPECT_GT(run.snr.back(), 10.0) << spec;
      }
    }
  }
}

TEST(Amaq, TablesReachTheOtherEndOrAreAskedFor) {
  const Ends ends = MakeEnds(kSpec, Shape(20));
  TestFrame frame;
  std::vector<float> y;
  uint64_t step = 0;
  const auto train = [&](bool decode) {
    frame.Set({{1, 30}}, step);
    const std::vector<float> x = Values(step, 30, kWidth);
    y.resize(x.size());
    Bytes bytes;
    EXPECT_TRUE(ends.encoder->Encode(x, frame.context, &bytes).ok());
    absl::Status status;
    if (decode) status = ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y));
    EXPECT_TRUE(ends.encoder->ObserveGradient(Values(9, 30, kWidth), frame.context).ok());
    EXPECT_TRUE(ends.encoder->CommitStep(step).ok());
    EXPECT_TRUE(ends.decoder->CommitStep(step).ok());
    ++step;
    return status;
  };
  ASSERT_TRUE(train(true).ok());
  absl::Status lost;
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(train(false).ok());  // tables are lost on the way
  ASSERT_TRUE(ends.encoder->CommitStep(step).ok());            // no gradient: the widths stay
  frame.Set({{1, 30}}, step);
  Bytes first, second;
  const std::vector<float> x = Values(step, 30, kWidth);
  ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &first).ok());   // carries what moved last
  ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &second).ok());  // carries a version only
  EXPECT_EQ(ends.decoder->Decode(second, frame.context, absl::MakeSpan(y)).code(),
            absl::StatusCode::kDataLoss);
  ends.decoder->RequestKeyFrames();
  ends.encoder->RequestKeyFrames();
  Through(ends, x, frame.context);
  EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
}

TEST(Amaq, EvaluationUsesTheWidthsAsTheyAre) {
  const Ends ends = MakeEnds(kSpec, Shape(10));
  TestFrame frame;
  for (uint64_t step = 0; step < 8; ++step) {
    frame.Set({{1, 30}}, step);
    Through(ends, Values(step, 30, kWidth), frame.context);
    ASSERT_TRUE(ends.encoder->ObserveGradient(Values(9, 30, kWidth), frame.context).ok());
    ASSERT_TRUE(ends.encoder->CommitStep(step).ok());
    ASSERT_TRUE(ends.decoder->CommitStep(step).ok());
    const uint64_t hash = ends.decoder->StateHash();
    frame.Set({{7, 30}}, step + 1, 0, false);
    Through(ends, Values(50 + step, 30, kWidth),
            frame.context);  // decodes, whatever table the decoder has
    EXPECT_EQ(ends.decoder->StateHash(), hash);
  }
}

TEST(Amaq, GradientsOfFramesThatWereNotSentAreRefused) {
  const Ends ends = MakeEnds(kSpec, Shape(10));
  TestFrame frame;
  frame.Set({{1, 30}}, 0, 5);
  EXPECT_EQ(ends.encoder->ObserveGradient(Values(9, 30, kWidth), frame.context).code(),
            absl::StatusCode::kInvalidArgument);
  Through(ends, Values(1, 30, kWidth), frame.context);
  std::vector<float> g = Values(9, 30, kWidth);
  g[3] = NAN;
  EXPECT_FALSE(ends.encoder->ObserveGradient(g, frame.context).ok());
  EXPECT_TRUE(ends.encoder->ObserveGradient(Values(9, 30, kWidth), frame.context).ok());
  EXPECT_FALSE(ends.encoder->ObserveGradient(Values(9, 30, kWidth), frame.context).ok());
}

}  // namespace
}  // namespace isthmus
