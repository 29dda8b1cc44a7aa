#include "pipeline/edge_codec.h"

#include <gtest/gtest.h>

#include <limits>

namespace isthmus {
namespace {

EdgeShape Shape(Direction direction) {
  EdgeShape shape;
  shape.width = 4;
  shape.direction = direction;
  shape.num_samples = 4;
  shape.max_sample_tokens = 8;
  return shape;
}

MicroBatch TwoSamples() {
  MicroBatch mb;
  mb.step = 3;
  mb.index = 2;
  mb.samples = {11, 12};
  mb.lengths = {2, 1};
  return mb;
}

Tensor SomeTensor() { return Tensor::FromFloats({3, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}); }

TEST(EdgeCodecTest, ForwardFrameTellsTheReceiverTheMicroBatch) {
  const auto sender = EdgeSender::Make("none", Shape(Direction::kForward), 1);
  const auto receiver = EdgeReceiver::Make("none", Shape(Direction::kForward));
  const auto frame = (*sender)->Encode(TwoSamples(), SomeTensor(), EdgeMode::kTrain, false);
  ASSERT_TRUE(frame.ok()) << frame.status();
  MicroBatch mb;
  const auto tensor = (*receiver)->Decode(*frame, EdgeMode::kTrain, &mb);
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(mb.samples, (std::vector<uint64_t>{11, 12}));
  EXPECT_EQ(mb.lengths, (std::vector<int32_t>{2, 1}));
  EXPECT_EQ(mb.step, 3u);
  EXPECT_EQ(tensor->floats()[11], 12.0f);
}

TEST(EdgeCodecTest, CountsEveryByteOfTheFrame) {
  const auto sender = EdgeSender::Make("int8", Shape(Direction::kForward), 1);
  const auto frame = (*sender)->Encode(TwoSamples(), SomeTensor(), EdgeMode::kTrain, false);
  const EdgeUse use = (*sender)->TakeUse(Traffic::kTraining);
  EXPECT_EQ(use.elements, 12);
  EXPECT_EQ(use.payload_bytes + use.side_bytes, static_cast<int64_t>(frame->payload.size()));
  EXPECT_EQ(use.header_bytes, WireHeaderBytes(static_cast<int64_t>(frame->payload.size()), false));
  EXPECT_EQ((*sender)->TakeUse(Traffic::kTraining).frames, 0);
  EXPECT_EQ((*sender)->TakeUse(Traffic::kEvaluation).frames, 0);
}

TEST(EdgeCodecTest, NonFiniteValuesAreRefusedNamingTheEdge) {
  const auto sender = EdgeSender::Make("none", Shape(Direction::kForward), 1);
  Tensor bad = SomeTensor();
  bad.mutable_floats()[5] = std::numeric_limits<float>::quiet_NaN();
  const auto frame = (*sender)->Encode(TwoSamples(), bad, EdgeMode::kTrain, false);
  EXPECT_EQ(frame.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(frame.status().message().find("edge 0 forward, step 3"), absl::string_view::npos)
      << frame.status();
}

TEST(EdgeCodecTest, DamagedFramesAreRefused) {
  const auto sender = EdgeSender::Make("int8", Shape(Direction::kForward), 1);
  const auto receiver = EdgeReceiver::Make("int8", Shape(Direction::kForward));
  const Frame good = *(*sender)->Encode(TwoSamples(), SomeTensor(), EdgeMode::kTrain, false);
  MicroBatch mb;
  for (size_t n = 0; n < good.payload.size(); ++n) {
    Frame frame = good;
    frame.payload.resize(n);
    EXPECT_FALSE((*receiver)->Decode(frame, EdgeMode::kTrain, &mb).ok()) << n;
  }
  Frame huge = good;
  huge.payload = {1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_FALSE((*receiver)->Decode(huge, EdgeMode::kTrain, &mb).ok());
  EXPECT_TRUE((*receiver)->Decode(good, EdgeMode::kTrain, &mb).ok());
}

}  // namespace
}  // namespace isthmus
