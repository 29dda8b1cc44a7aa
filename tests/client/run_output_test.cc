#include "client/run_output.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "client/tensorboard.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RunOutputTest : public ::testing::Test {
 protected:
  RunOutputTest() {
    std::string pattern = (fs::temp_directory_path() / "run-output-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    folder_ = root_ + "/out";
  }
  ~RunOutputTest() override { fs::remove_all(root_); }

  std::unique_ptr<RunOutput> MustOpen(OutputMode mode) {
    auto output = RunOutput::Open(folder_, mode, "{\"model\":\"m\"}");
    EXPECT_TRUE(output.ok()) << output.status();
    return *std::move(output);
  }
  static StepRecord Record(int64_t step) {
    StepRecord record;
    record.step = step;
    record.loss = 1.0 / static_cast<double>(step);
    return record;
  }
  static Checkpoint MakeCheckpoint(int64_t step) {
    Checkpoint checkpoint;
    checkpoint.step = step;
    checkpoint.trained.push_back(
        {"lora_A", Tensor::FromFloats({2}, {1.0f, static_cast<float>(step)})});
    checkpoint.optimizer.push_back({"exp_avg/lora_A", Tensor::FromFloats({2}, {0.5f, 0.25f})});
    checkpoint.extra_json = "{\"loss\":0.5}";
    return checkpoint;
  }
  static absl::Status Commit(CheckpointWriter* writer, const Checkpoint& checkpoint) {
    return writer->Commit(checkpoint, StreamOf(checkpoint.trained), StreamOf(checkpoint.optimizer));
  }
  static void Save(RunOutput* output, int64_t step) {
    auto writer = output->checkpoints()->Begin(step);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE(Commit(writer->get(), MakeCheckpoint(step)).ok());
  }
  std::string Text(const std::string& name) { return *ReadFile(folder_ + "/" + name); }
  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, text).ok());
  }

  std::string root_, folder_;
};

TEST_F(RunOutputTest, CheckCreatesNothing) {
  EXPECT_TRUE(RunOutput::Check(folder_, OutputMode::kNew).ok());
  EXPECT_FALSE(fs::exists(folder_));
}

TEST_F(RunOutputTest, RefusesFolderOfEarlierRun) {
  MustOpen(OutputMode::kNew);
  const absl::Status status = RunOutput::Check(folder_, OutputMode::kNew);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--resume"));
  EXPECT_TRUE(RunOutput::Check(folder_, OutputMode::kResume).ok());
}

TEST_F(RunOutputTest, RefusesModelFolderEvenWithOverwrite) {
  fs::create_directories(folder_);
  Put("model.safetensors", "weights");
  EXPECT_FALSE(RunOutput::Open(folder_, OutputMode::kOverwrite, "{}").ok());
  EXPECT_EQ(Text("model.safetensors"), "weights");
}

TEST_F(RunOutputTest, RefusesFile) {
  ASSERT_TRUE(WriteFileAtomic(folder_, "a file").ok());
  EXPECT_FALSE(RunOutput::Open(folder_, OutputMode::kNew, "{}").ok());
}

TEST_F(RunOutputTest, OverwriteRemovesTheRunAndNothingElse) {
  {
    auto output = MustOpen(OutputMode::kNew);
    ASSERT_TRUE(output->AppendStep(Record(1)).ok());
    Save(output.get(), 1);
  }
  Put("notes.txt", "mine");
  auto output = MustOpen(OutputMode::kOverwrite);
  EXPECT_EQ(Text("notes.txt"), "mine");
  EXPECT_EQ(Text("steps.jsonl"), "");
  EXPECT_THAT(output->checkpoints()->Steps(), IsEmpty());
}

TEST_F(RunOutputTest, SecondWriterIsRefused) {
  auto output = MustOpen(OutputMode::kNew);
  const auto second = RunOutput::Open(folder_, OutputMode::kResume, "{}");
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("running"));
}

TEST_F(RunOutputTest, ResumeKeepsLinesByteForByteAndDropsTornOnes) {
  MustOpen(OutputMode::kNew);
  const std::string kept = "{\"step\":1, \"kept\" : true}\n{\"step\":2}\n";
  Put("steps.jsonl", kept + "{\"step\":3}\nnot json\n{\"step\":2.5}\n{\"step\":4,\"lo");
  auto output = MustOpen(OutputMode::kResume);
  ASSERT_TRUE(output->ResumeAt(2).ok());
  EXPECT_EQ(Text("steps.jsonl"), kept);
  ASSERT_TRUE(output->AppendStep(Record(3)).ok());
  EXPECT_THAT(Text("steps.jsonl"), HasSubstr(kept + "{\"step\":3,"));
}

TEST_F(RunOutputTest, ResumeAtZeroStartsAgain) {
  auto output = MustOpen(OutputMode::kNew);
  ASSERT_TRUE(output->AppendStep(Record(1)).ok());
  ASSERT_TRUE(output->ResumeAt(0).ok());
  EXPECT_EQ(Text("steps.jsonl"), "");
}

TEST_F(RunOutputTest, StepLineReadsBackExactly) {
  StepRecord record = Record(3);
  record.loss = 0.1 + 0.2;
  const auto json = nlohmann::json::parse(record.ToJson());
  EXPECT_EQ(json["loss"].get<double>(), record.loss);
  record.loss = std::nan("");
  EXPECT_TRUE(nlohmann::json::parse(record.ToJson())["loss"].is_null());
}

TEST_F(RunOutputTest, CheckpointReadsBack) {
  auto output = MustOpen(OutputMode::kNew);
  auto writer = *output->checkpoints()->Begin(20);
  const std::string codec = *writer->CodecDirectory(1);
  ASSERT_TRUE(WriteFileAtomic(codec + "/store", "bytes").ok());
  Checkpoint checkpoint = MakeCheckpoint(20);
  checkpoint.codec_hashes[1] = "abcd";
  ASSERT_TRUE(Commit(writer.get(), checkpoint).ok());
  EXPECT_TRUE(fs::exists(folder_ + "/checkpoints/step-000020/manifest.json"));

  std::vector<std::string> warnings;
  const auto read = *output->checkpoints()->Newest(&warnings);
  ASSERT_TRUE(read.has_value());
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(read->step, 20);
  EXPECT_EQ(read->codec_hashes.at(1), "abcd");
  EXPECT_EQ(read->extra_json, "{\"loss\":0.5}");
  ASSERT_THAT(read->trained, SizeIs(1));
  EXPECT_EQ(read->trained[0].tensor.floats()[1], 20.0f);
  EXPECT_EQ(*ReadFile(CodecDirectory(*read, 1) + "/store"), "bytes");
}

TEST_F(RunOutputTest, WriterThatIsGivenUpLeavesNothing) {
  auto output = MustOpen(OutputMode::kNew);
  { auto writer = *output->checkpoints()->Begin(1); }
  std::vector<std::string> warnings;
  EXPECT_FALSE(output->checkpoints()->Newest(&warnings)->has_value());
  EXPECT_TRUE(fs::is_empty(folder_ + "/checkpoints"));
}

// A worker that dies while its state is gathered, or a disk that is full.
TEST_F(RunOutputTest, StateThatDoesNotComeLeavesTheCheckpointBefore) {
  auto output = MustOpen(OutputMode::kNew);
  Save(output.get(), 5);
  const Checkpoint facts = MakeCheckpoint(10);
  TensorStream optimizer = StreamOf(facts.optimizer);
  optimizer.load = [](size_t) -> absl::StatusOr<Tensor> {
    return absl::UnavailableError("worker w0: gone");
  };
  auto writer = *output->checkpoints()->Begin(10);
  EXPECT_EQ(writer->Commit(facts, StreamOf(facts.trained), optimizer),
            absl::UnavailableError("worker w0: gone"));
  writer.reset();
  EXPECT_THAT(output->checkpoints()->Steps(), ElementsAre(5));
  std::vector<std::string> warnings;
  EXPECT_TRUE(output->checkpoints()->Newest(&warnings)->has_value());
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_FALSE(fs::exists(folder_ + "/checkpoints/.making-step-000010"));
}

TEST_F(RunOutputTest, PruneKeepsTheNewestAndTheBest) {
  auto output = MustOpen(OutputMode::kNew);
  for (const int64_t step : {5, 10, 15, 20}) Save(output.get(), step);
  auto best = *output->checkpoints()->BeginBest();
  ASSERT_TRUE(Commit(best.get(), MakeCheckpoint(10)).ok());
  fs::create_directories(folder_ + "/checkpoints/.making-step-000025");
  ASSERT_TRUE(output->checkpoints()->Prune(2).ok());
  EXPECT_THAT(output->checkpoints()->Steps(), ElementsAre(15, 20));
  EXPECT_TRUE(fs::exists(folder_ + "/checkpoints/best/manifest.json"));
  EXPECT_FALSE(fs::exists(folder_ + "/checkpoints/.making-step-000025"));
}

TEST_F(RunOutputTest, CommitReplacesACheckpointOfTheSameStep) {
  auto output = MustOpen(OutputMode::kNew);
  Save(output.get(), 5);
  Save(output.get(), 5);
  EXPECT_THAT(output->checkpoints()->Steps(), ElementsAre(5));
}

class DamagedCheckpoint : public RunOutputTest,
                          public ::testing::WithParamInterface<const char*> {};

TEST_P(DamagedCheckpoint, IsPassedOverWithAWarning) {
  auto output = MustOpen(OutputMode::kNew);
  Save(output.get(), 5);
  Save(output.get(), 10);
  const std::string path = std::string("checkpoints/step-000010/") + GetParam();
  const std::string good = Text(path);
  for (size_t at = 0; at < good.size(); at += 7) {  // every place, every kind of bit
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    Put(path, bad);
    std::vector<std::string> warnings;
    const auto newest = output->checkpoints()->Newest(&warnings);
    ASSERT_TRUE(newest.ok() && newest->has_value());
    EXPECT_EQ((*newest)->step, 5) << "flipped a bit of byte " << at;
    EXPECT_THAT(warnings, SizeIs(1));
  }
  Put(path, good.substr(0, good.size() / 2));
  std::vector<std::string> warnings;
  EXPECT_EQ((*output->checkpoints()->Newest(&warnings))->step, 5);
}
INSTANTIATE_TEST_SUITE_P(Files, DamagedCheckpoint,
                         ::testing::Values("manifest.json", "trained.safetensors",
                                           "optimizer.safetensors"));

TEST_F(RunOutputTest, NoReadableCheckpointIsDataLoss) {
  auto output = MustOpen(OutputMode::kNew);
  Save(output.get(), 5);
  fs::remove(folder_ + "/checkpoints/step-000005/trained.safetensors");
  std::vector<std::string> warnings;
  EXPECT_EQ(output->checkpoints()->Newest(&warnings).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(RunOutputTest, ResumeDropsLaterCheckpointsAndReport) {
  auto output = MustOpen(OutputMode::kNew);
  Save(output.get(), 5);
  Save(output.get(), 10);
  Report report;
  report.outcome = Report::Outcome::kFailed;
  ASSERT_TRUE(output->WriteReport(report).ok());
  ASSERT_TRUE(output->ResumeAt(5).ok());
  EXPECT_THAT(output->checkpoints()->Steps(), ElementsAre(5));
  EXPECT_FALSE(fs::exists(folder_ + "/report.json"));
}

TEST_F(RunOutputTest, OnlyACompletedReportCounts) {
  auto output = MustOpen(OutputMode::kNew);
  EXPECT_FALSE(RunOutput::CompletedReport(folder_)->has_value());
  Report report;
  report.outcome = Report::Outcome::kInterrupted;
  ASSERT_TRUE(output->WriteReport(report).ok());
  EXPECT_FALSE(RunOutput::CompletedReport(folder_)->has_value());
  report.outcome = Report::Outcome::kCompleted;
  report.steps = 7;
  ASSERT_TRUE(output->WriteReport(report).ok());
  EXPECT_EQ((*RunOutput::CompletedReport(folder_))->steps, 7);
}

TEST_F(RunOutputTest, EarlierJobIsKept) {
  EXPECT_FALSE(RunOutput::EarlierJob(folder_)->has_value());
  MustOpen(OutputMode::kNew);
  EXPECT_EQ(**RunOutput::EarlierJob(folder_), "{\"model\":\"m\"}\n");
}

}  // namespace
}  // namespace isthmus
