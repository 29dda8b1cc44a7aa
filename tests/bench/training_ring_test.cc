// The ring of `./dev bench codecs training` against the program itself.
#include "bench/training_ring.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "bench/process.h"
#include "bench/training_time.h"
#include "engine/torch/engine.h"

namespace isthmus::bench {
namespace {

namespace fs = std::filesystem;

class TrainingRingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::path(::testing::TempDir()) / "isthmus-ring-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    std::ofstream data(folder_ + "/data.jsonl");
    for (int document = 0; document < 6; ++document) {
      data << R"({"input_ids": [1)";
      for (int i = 1; i < 25; ++i) data << ", " << 300 + (i * i * (document + 3)) % 97;
      data << "]}\n";
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Text() const {
    return "model: " ISTHMUS_SOURCE_DIR
           "/examples/stories260K\ncluster: {workers: 1}\npipeline: {stages: 1}\n"
           "data: {train: data.jsonl, eval: data.jsonl, sequence_length: 24}\n"
           "train:\n  epochs: 3\n  micro_batch_size: 2\n  micro_batches: 2\n  seed: 5\n"
           "codec: {forward: \"ecq(db=20)\", backward: \"ecq(db=6)\"}\noutput: run\n";
  }

  std::string folder_;
};

TEST_F(TrainingRingTest, LearnsAndSendsWhatTheProgramDoes) {
  std::ofstream(folder_ + "/job.yaml") << Text();
  const auto report =
      RunJson({ISTHMUS_PROGRAM, "train", folder_ + "/job.yaml", "--json", "--threads", "1"});
  ASSERT_TRUE(report.ok()) << report.status();
  const auto job = ParseJob(Text(), folder_);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto engine = MakeTorchEngine("cpu", 1);
  ASSERT_TRUE(engine.ok());
  const auto row = TrainInRing(engine->get(), *job, false);
  ASSERT_TRUE(row.ok()) << row.status();

  EXPECT_EQ((*row)["steps"], (*report)["steps"]);
  // The program chooses its BLAS kernels when it starts: other last bits.
  const nlohmann::json& loss = (*report)["loss"];
  EXPECT_NEAR(row->value("loss", 0.0), loss.value("eval_after_uncompressed_cut", NAN), 1e-4);
  EXPECT_NEAR(row->value("loss_through_cut", 0.0), loss.value("eval_after", NAN), 1e-4);
  ASSERT_EQ((*row)["edges"].size(), (*report)["wire"].size());
  for (size_t i = 0; i < (*row)["edges"].size(); ++i)
    EXPECT_NEAR((*row)["edges"][i].value("wire_bytes", 0.0),
                (*report)["wire"][i].value("wire_bytes", NAN), 16)
        << i;
}

TEST_F(TrainingRingTest, SlowLinksCostTheirBytesAndFastOnesNothing) {
  const auto job = ParseJob(Text(), folder_);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto plan = PlanOfJob(*job, 1e10);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // A megabyte each way on each of two edges, one frame of each a step: 8 Mbit on a host's link.
  nlohmann::json row = {{"steps", 1}, {"micro_batches", 1}, {"edges", nlohmann::json::array()}};
  for (const int edge : {0, 1})
    for (const char* direction : {"forward", "backward"})
      row["edges"].push_back({{"edge", edge}, {"direction", direction}, {"wire_bytes", 1000000}});
  EXPECT_NEAR(*SimulatedStepSeconds(*plan, row, 0.3, 0, 2), 0.3, 1e-9);
  EXPECT_NEAR(*SimulatedStepSeconds(*plan, row, 0.3, 1e9, 2), 0.3, 1e-3);
  // Two micro-batches, two frames each way at every host: 32 Mbit at 10 Mbit/s are 3.2 s.
  const double slow_s = *SimulatedStepSeconds(*plan, row, 0.3, 10, 2);
  EXPECT_GT(slow_s, 3.2);
  EXPECT_LT(slow_s, 2 * 3.2 + 0.3);
  EXPECT_FALSE(SimulatedStepSeconds(*plan, {{"steps", 1}}, 0.3, 10, 2).ok());
}

}  // namespace
}  // namespace isthmus::bench
