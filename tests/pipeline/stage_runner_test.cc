#include "pipeline/stage_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "model/npy.h"
#include "tests/pipeline/fake_engine.h"
#include "tests/pipeline/parties.h"

namespace isthmus {
namespace {

// The model in one piece, without links or codecs.
struct Unsplit {
  double loss_sum = 0.0;
  std::vector<double> squares;
};
Unsplit RunUnsplit(const PlanShape& shape) {
  const ModelConfig config = FakeConfig(shape.layers, shape.width);
  const auto group = MakeFakeStages(config, {{0, shape.layers, true, true}});
  TestBatches batches;
  Unsplit result;
  const uint32_t n = static_cast<uint32_t>(shape.micro_batches);
  for (uint32_t m = 0; m < n; ++m) {
    MicroBatch mb = batches.Batch(m);
    mb.index = m;
    mb.loss_scale = 1.0 / static_cast<double>(TestBatches::PredictedOf(n));
    result.loss_sum += group->stage(0)->Forward(mb, Pass::kTrain, {})->loss_sum;
    EXPECT_TRUE(group->stage(0)->Backward(m, {}).ok());
  }
  const auto squares = group->GradientSquares();
  for (const auto& s : *squares) result.squares.push_back(s.sum_of_squares);
  return result;
}

PassSpec TrainPass(const PlanShape& shape, uint64_t step) {
  const uint32_t n = static_cast<uint32_t>(shape.micro_batches);
  return {step, n, EdgeMode::kTrain, 1.0 / static_cast<double>(TestBatches::PredictedOf(n))};
}

std::vector<double> SquaresInLayerOrder(Parties* parties) {
  std::map<std::string, double> by_name;
  for (uint32_t p = 0; p < static_cast<uint32_t>(parties->plan().parties_size()); ++p) {
    const auto squares = parties->group(p)->GradientSquares();
    for (const auto& s : *squares) by_name[s.name] = s.sum_of_squares;
  }
  std::vector<double> squares;
  for (const auto& [name, value] : by_name) squares.push_back(value);
  return squares;
}

double LossSum(const Parties::Outcome& outcome) {
  double sum = 0.0;
  for (const MicroBatchLoss& loss : outcome.losses) sum += loss.loss_sum;
  return sum;
}

class Placement : public testing::TestWithParam<std::tuple<int, bool, const char*, int>> {};

// With the identity codec a placement changes no bit, wherever the labels are and whatever the
// schedule.
TEST_P(Placement, SplitEqualsUnsplitBitForBit) {
  PlanShape shape;
  std::tie(shape.workers, shape.labels_at_server, shape.schedule, shape.micro_batches) = GetParam();
  const Unsplit whole = RunUnsplit(shape);
  Parties parties(MakeTestPlan(shape));
  const Parties::Outcome outcome = parties.Run(TrainPass(shape, 1));
  for (const absl::Status& status : outcome.status) ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(LossSum(outcome), whole.loss_sum);
  EXPECT_EQ(SquaresInLayerOrder(&parties), whole.squares);
}
INSTANTIATE_TEST_SUITE_P(All, Placement,
                         testing::Combine(testing::Values(1, 2, 4), testing::Bool(),
                                          testing::Values("1f1b", "gpipe", "sequential"),
                                          testing::Values(1, 4)));

TEST(StageRunnerTest, EvaluationGivesTheSameLossAndChangesNoCodecState) {
  PlanShape shape;
  shape.codec_forward = "aqsgd(bits=4)";
  shape.codec_backward = "int8";
  Parties parties(MakeTestPlan(shape));
  ASSERT_TRUE(parties.Run(TrainPass(shape, 1)).status[0].ok());
  Bytes before, after;
  const int64_t state = parties.runner(0)->codec_state_bytes();
  const auto first = parties.Run({1, 4, EdgeMode::kEval, 1.0});
  const auto second = parties.Run({1, 4, EdgeMode::kEval, 1.0});
  ASSERT_TRUE(first.status[0].ok()) << first.status[0];
  EXPECT_EQ(LossSum(first), LossSum(second));
  EXPECT_EQ(parties.runner(0)->codec_state_bytes(), state);
}

// A probe's pass is an evaluation whose bytes are training's.
TEST(StageRunnerTest, ProbesComputeAsEvaluationAndCountAsTraining) {
  PlanShape shape;
  shape.codec_forward = "int8";
  Parties parties(MakeTestPlan(shape));
  const auto evaluated = parties.Run({1, 4, EdgeMode::kEval, 1.0});
  const auto evaluation = parties.runner(0)->TakeUse();
  const auto probed = parties.Run({1, 4, EdgeMode::kProbe, 1.0});
  const auto probe = parties.runner(0)->TakeUse();
  ASSERT_TRUE(probed.status[0].ok()) << probed.status[0];
  EXPECT_EQ(LossSum(probed), LossSum(evaluated));
  ASSERT_EQ(probe.size(), 1u);
  ASSERT_EQ(evaluation.size(), 1u);
  EXPECT_EQ(evaluation[0].traffic, Traffic::kEvaluation);
  EXPECT_EQ(probe[0].traffic, Traffic::kTraining);
  EXPECT_EQ(probe[0].use.wire_bytes(), evaluation[0].use.wire_bytes());
}

TEST(StageRunnerTest, UncompressedEvaluationEqualsTheIdentityCodec) {
  PlanShape shape, identity;
  shape.codec_forward = shape.codec_backward = "int4";
  Parties parties(MakeTestPlan(shape)), plain(MakeTestPlan(identity));
  EXPECT_EQ(LossSum(parties.Run({0, 4, EdgeMode::kUncompressed, 1.0})),
            LossSum(plain.Run({0, 4, EdgeMode::kEval, 1.0})));
  EXPECT_NE(LossSum(parties.Run({0, 4, EdgeMode::kEval, 1.0})),
            LossSum(plain.Run({0, 4, EdgeMode::kEval, 1.0})));
}

// A decoder that lost its state asks for key frames; the step ends, and the next one is coded as
// deltas again.
TEST(StageRunnerTest, LostDecoderStateIsMendedByKeyFrames) {
  PlanShape shape;
  shape.codec_forward = "aqsgd(bits=4)";
  shape.codec_backward = "int8";
  Parties parties(MakeTestPlan(shape));
  const auto key_frames = [&parties] {
    int64_t n = 0;
    for (const auto& report : parties.runner(0)->TakeUse()) n += report.use.key_frames;
    return n;
  };
  ASSERT_TRUE(parties.Run(TrainPass(shape, 1)).status[1].ok());
  EXPECT_GT(key_frames(), 0);
  ASSERT_TRUE(parties.Run(TrainPass(shape, 2)).status[1].ok());
  EXPECT_EQ(key_frames(), 0);
  parties.runner(1)->ForgetDecoderState();
  const auto outcome = parties.Run(TrainPass(shape, 3));
  for (const absl::Status& status : outcome.status) ASSERT_TRUE(status.ok()) << status;
  EXPECT_GT(key_frames(), 0);
  // Samples whose frame had been sent before the request get their key frame in the next step.
  ASSERT_TRUE(parties.Run(TrainPass(shape, 4)).status[1].ok());
  key_frames();
  ASSERT_TRUE(parties.Run(TrainPass(shape, 5)).status[1].ok());
  EXPECT_EQ(key_frames(), 0);
}

// A codec whose every frame follows the one before, evaluation included, with row ids that cross
// the edges (one worker: both ends of the second edge know them).
class DerivedState : public testing::TestWithParam<int> {};
TEST_P(DerivedState, IsMendedInTrainingAndInEvaluation) {
  PlanShape shape;
  shape.workers = GetParam();
  shape.codec_forward = "ecq(db=30)";
  shape.codec_backward = "int8";
  Parties parties(MakeTestPlan(shape));
  const auto run = [&](const PassSpec& pass) {
    const auto outcome = parties.Run(pass);
    for (const absl::Status& status : outcome.status) EXPECT_TRUE(status.ok()) << status;
  };
  run(TrainPass(shape, 1));
  run({1, 4, EdgeMode::kEval, 1.0});
  parties.runner(1)->ForgetDecoderState();
  run(TrainPass(shape, 2));
  run(TrainPass(shape, 3));
  parties.runner(1)->ForgetDecoderState();
  run({3, 4, EdgeMode::kEval, 1.0});
  run(TrainPass(shape, 4));
  for (const auto& report : parties.runner(0)->TakeUse()) EXPECT_GT(report.use.wire_bytes(), 0);
  run(TrainPass(shape, 20));
  for (const auto& report : parties.runner(0)->TakeUse()) EXPECT_EQ(report.use.key_frames, 0);
}
INSTANTIATE_TEST_SUITE_P(Workers, DerivedState, testing::Values(1, 2));

// Each party in turn cannot follow the gradients of a step, or the activations of an evaluation.
// The sender of the last of them has left its pass by then; it answers all the same.
class LateRequest : public testing::TestWithParam<std::tuple<int, int>> {};
TEST_P(LateRequest, IsAnsweredAfterThePass) {
  PlanShape shape;
  uint32_t forgetful = 0;
  std::tie(shape.micro_batches, forgetful) = GetParam();
  shape.codec_forward = "ecq(db=30)";
  shape.codec_backward = "ecq(db=30)";
  Parties parties(MakeTestPlan(shape));
  const auto run = [&](const PassSpec& pass) {
    const auto outcome = parties.Run(pass);
    for (const absl::Status& status : outcome.status) EXPECT_TRUE(status.ok()) << status;
  };
  const PassSpec evaluation = {2, static_cast<uint32_t>(shape.micro_batches), EdgeMode::kEval, 1.0};
  run(TrainPass(shape, 1));
  parties.runner(forgetful)->ForgetDecoderState();
  run(TrainPass(shape, 2));
  parties.runner(forgetful)->ForgetDecoderState();
  run(evaluation);
  run(TrainPass(shape, 3));
}
INSTANTIATE_TEST_SUITE_P(All, LateRequest,
                         testing::Combine(testing::Values(1, 4), testing::Values(0, 1, 2)));

// Nobody waits for ever for a frame that is not kept any more.
TEST(StageRunnerTest, ARequestForAFrameThatIsGoneIsDataLoss) {
  PlanShape shape;
  shape.codec_forward = "aqsgd(bits=4)";
  Parties parties(MakeTestPlan(shape));
  ASSERT_TRUE(parties.Run(TrainPass(shape, 1)).status[0].ok());
  FrameHeader request;
  request.kind = FrameKind::kKeyFrameRequest;
  request.step = 1;
  const absl::Status status = parties.runner(0)->AnswerKeyFrameRequest(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("micro-batch 0 of step 1"));
  request.edge = 99;
  EXPECT_EQ(parties.runner(0)->AnswerKeyFrameRequest(request).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(StageRunnerTest, CodecStateSurvivesSaveAndRestore) {
  const std::string folder = testing::TempDir() + "/codecs";
  PlanShape shape;
  shape.codec_forward = "aqsgd(bits=4)";
  shape.codec_backward = "int8";
  Parties calm(MakeTestPlan(shape)), resumed(MakeTestPlan(shape));
  for (uint64_t step = 1; step <= 2; ++step)
    ASSERT_TRUE(calm.Run(TrainPass(shape, step)).status[0].ok());
  std::vector<std::string> hashes;
  for (uint32_t p = 0; p < 3; ++p) hashes.push_back(*calm.runner(p)->SaveCodecs(folder));
  for (uint32_t p = 0; p < 3; ++p)
    ASSERT_TRUE(resumed.runner(p)->RestoreCodecs(folder, hashes[p]).ok());
  EXPECT_EQ(LossSum(calm.Run(TrainPass(shape, 3))), LossSum(resumed.Run(TrainPass(shape, 3))));
  EXPECT_FALSE(resumed.runner(0)->RestoreCodecs(folder, "0123456789abcdef").ok());
}

// Every edge and direction of the first steps, each tensor once, as it was before encoding.
TEST(StageRunnerTest, DumpKeepsWhatTrainingSends) {
  const EdgeDumpOptions options{testing::TempDir() + "/edge-dump", 1};
  std::filesystem::remove_all(options.directory);
  ASSERT_TRUE(EdgeDump::Prepare(options).ok());
  PlanShape shape;
  shape.codec_forward = shape.codec_backward = "int4";
  Parties parties(MakeTestPlan(shape));
  for (uint32_t p = 0; p < 3; ++p)
    parties.runner(p)->set_edge_dump(std::make_unique<EdgeDump>(options));
  PassSpec evaluation = TrainPass(shape, 1);
  evaluation.mode = EdgeMode::kEval;
  ASSERT_TRUE(parties.Run(evaluation).status[0].ok());
  for (uint64_t step = 1; step <= 2; ++step)
    ASSERT_TRUE(parties.Run(TrainPass(shape, step)).status[0].ok());
  const std::string index = *ReadFile(options.directory + "/index.jsonl");
  EXPECT_EQ(std::count(index.begin(), index.end(), '\n'), 3 * 2 * shape.micro_batches);
  const auto x = ReadNpy(options.directory + "/edge1_backward_step000001_mb03.npy");
  ASSERT_TRUE(x.ok()) << x.status();
  EXPECT_EQ(x->dim(1), shape.width);
  EXPECT_TRUE(
      std::filesystem::exists(options.directory + "/edge0_forward_step000001_mb00_row_ids.npy"));
  EXPECT_EQ(EdgeDump::Check(options).code(), absl::StatusCode::kInvalidArgument);
}

// A second job into the same folder, or a full disk, ends the step and says so.
TEST(StageRunnerTest, ADumpThatCannotBeWrittenEndsTheStep) {
  const EdgeDumpOptions options{testing::TempDir() + "/edge-dump-gone", 1};
  std::filesystem::remove_all(options.directory);
  const PlanShape shape;
  Parties parties(MakeTestPlan(shape));
  parties.runner(1)->set_edge_dump(std::make_unique<EdgeDump>(options));
  const absl::Status status = parties.Run(TrainPass(shape, 1)).status[1];
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("--dump-edges: "));
}

// A link that breaks before, after or inside any frame of a step costs nothing but time.
class BrokenLink : public testing::TestWithParam<Fault::Kind> {};
TEST_P(BrokenLink, StepEqualsTheUndisturbedOne) {
  PlanShape shape;
  shape.codec_forward = "aqsgd(bits=4)";
  shape.codec_backward = "int8";
  Parties calm(MakeTestPlan(shape));
  const double want = LossSum(calm.Run(TrainPass(shape, 1)));
  for (int64_t frame = 1; frame <= 4; ++frame) {
    Parties parties(MakeTestPlan(shape), {{GetParam(), static_cast<int>(frame % 2), frame, 0}});
    const auto outcome = parties.Run(TrainPass(shape, 1));
    for (const absl::Status& status : outcome.status)
      ASSERT_TRUE(status.ok()) << status << " frame " << frame;
    EXPECT_EQ(LossSum(outcome), want) << "frame " << frame;
    EXPECT_EQ(SquaresInLayerOrder(&parties), SquaresInLayerOrder(&calm)) << "frame " << frame;
  }
}
INSTANTIATE_TEST_SUITE_P(All, BrokenLink,
                         testing::Values(Fault::Kind::kCutBefore, Fault::Kind::kCutAfter,
                                         Fault::Kind::kTruncate, Fault::Kind::kCorrupt,
                                         Fault::Kind::kDuplicate));

using Row = std::tuple<uint32_t, Direction, Traffic>;
std::map<Row, EdgeUse> TakeRows(Parties* parties) {
  std::map<Row, EdgeUse> rows;
  for (uint32_t p = 0; p < static_cast<uint32_t>(parties->plan().parties_size()); ++p) {
    for (const StageRunner::EdgeReport& report : parties->runner(p)->TakeUse()) {
      // As it travels to the client.
      const StageRunner::EdgeReport told = EdgeUseFromProto(EdgeUseToProto(report));
      rows[{told.edge, told.direction, told.traffic}].Add(told.use);
    }
  }
  return rows;
}

// A link that is cut in a training step and again in an evaluation: what it sends twice is counted
// in the rows of edge, direction and traffic, once as bytes on the socket and once as resends.
TEST(StageRunnerTest, ResendsAreCountedInTheirRows) {
  PlanShape shape;
  shape.codec_forward = shape.codec_backward = "int8";
  Parties calm(MakeTestPlan(shape));
  // The second activation to worker 1, and one of the evaluation: at most two are lost by a cut.
  Parties cut(MakeTestPlan(shape),
              {{Fault::Kind::kCutBefore, 0, 2, 0}, {Fault::Kind::kCutBefore, 0, 8, 0}});
  for (Parties* parties : {&calm, &cut}) {
    ASSERT_TRUE(parties->Run(TrainPass(shape, 1)).status[0].ok());
    ASSERT_TRUE(parties->Run({1, 4, EdgeMode::kEval, 1.0}).status[0].ok());
  }
  const std::map<Row, EdgeUse> want = TakeRows(&calm);
  std::map<Row, EdgeUse> got = TakeRows(&cut);
  EXPECT_GE((got[{0, Direction::kForward, Traffic::kTraining}].resends), 1);
  EXPECT_GE((got[{0, Direction::kForward, Traffic::kEvaluation}].resends), 1);
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [row, use] : want) {
    EXPECT_EQ(use.resends, 0);
    EXPECT_EQ(use.resend_bytes, 0);
    const EdgeUse& more = got[row];
    EXPECT_EQ(more.frames, use.frames);
    EXPECT_EQ(more.elements, use.elements);
    EXPECT_EQ(more.wire_bytes(), use.wire_bytes() + more.resend_bytes);
    // The frames of a row are equally long here: resends are whole frames, in each of the sums.
    EXPECT_EQ(more.payload_bytes * use.frames, use.payload_bytes * (use.frames + more.resends));
    EXPECT_EQ(more.side_bytes * use.frames, use.side_bytes * (use.frames + more.resends));
    EXPECT_EQ(more.header_bytes * use.frames, use.header_bytes * (use.frames + more.resends));
    const bool over_the_cut_link = std::get<0>(row) == 0;
    EXPECT_TRUE(over_the_cut_link || more.resends == 0);
  }
}

// A peer that is gone for good, at whatever frame, ends the step at every party with a status;
// nobody waits for ever.
TEST(StageRunnerTest, LostPeerEndsTheStep) {
  for (int64_t frame = 1; frame <= 4; ++frame) {
    PlanShape shape;
    Parties parties(MakeTestPlan(shape),
                    {{Fault::Kind::kLoseForGood, static_cast<int>(frame % 2), frame, 0}});
    const auto outcome = parties.Run(TrainPass(shape, 1));
    EXPECT_FALSE(outcome.status[0].ok()) << "frame " << frame;
  }
}

}  // namespace
}  // namespace isthmus
