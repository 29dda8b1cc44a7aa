// The C interface as a program has it: the shared library, against a cluster of processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "isthmus.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/program_fixture.h"

namespace isthmus::e2e {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr char kModel[] = ISTHMUS_SOURCE_DIR "/examples/stories260K";
constexpr int kLength = 16;

// Sample i of a made-up text; ids of the story model's 512.
std::vector<int32_t> Sample(uint64_t i) {
  std::vector<int32_t> ids;
  for (uint64_t j = 0; j <= kLength; ++j)
    ids.push_back(static_cast<int32_t>(3 + (i * 31 + j * j * 7) % 500));
  return ids;
}

// What callbacks see and do.
struct Feed {
  int samples_a_step = 4;
  int64_t ends_after = 1000;  // steps with data
  int64_t fails_at = 0;
  int64_t stops_at = 0;
  isthmus_run* run = nullptr;
  std::vector<int64_t> asked;
  std::vector<double> losses;
  std::string notes;

  static int Batch(void* user, int64_t step, isthmus_batch* batch) {
    auto* feed = static_cast<Feed*>(user);
    feed->asked.push_back(step);
    if (step == feed->fails_at) return 7;
    if (step > feed->ends_after) return 0;
    for (int i = 0; i < feed->samples_a_step; ++i) {
      const auto sample = static_cast<uint64_t>((step - 1) * feed->samples_a_step + i);
      const std::vector<int32_t> ids = Sample(sample);
      if (isthmus_batch_add(batch, ids.data(), nullptr, ids.size(), sample) != ISTHMUS_OK) return 1;
    }
    return 0;
  }
  static int Evaluation(void*, int64_t step, isthmus_batch* batch) {
    if (step != 0) return 1;
    const std::vector<int32_t> ids = Sample(999);
    return isthmus_batch_add(batch, ids.data(), nullptr, ids.size(), 999) == ISTHMUS_OK ? 0 : 1;
  }
  static void Progress(void* user, const isthmus_progress* progress) {
    auto* feed = static_cast<Feed*>(user);
    EXPECT_EQ(progress->struct_size, sizeof(isthmus_progress));
    feed->losses.push_back(progress->loss);
    if (progress->step == feed->stops_at) isthmus_run_stop(feed->run);
  }
  static void Note(void* user, const char* line) { static_cast<Feed*>(user)->notes += line; }
};

class SdkTest : public ClusterTest {
 public:
  void RestartWorker() {
    worker_->Signal(SIGKILL);
    worker_->Wait();
    worker_ = StartWorker("w0", {"--model-root", ISTHMUS_SOURCE_DIR "/examples"});
  }

 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    StartCoordinator("127.0.0.1", {});
    worker_ = StartWorker("w0", {"--model-root", ISTHMUS_SOURCE_DIR "/examples"});
    coordinator_text_ = Coordinator();
  }
  std::string JobText(int steps, const std::string& output, const std::string& rest = "") const {
    return "model: " + std::string(kModel) + "\noutput: " + folder_ + "/" + output +
           "\ndata: {sequence_length: 16, shuffle: false" + rest +
           "}\ntrain: {steps: " + std::to_string(steps) +
           ", micro_batch_size: 2, micro_batches: 2, seed: 7, lora: {rank: 4}, "
           "optimizer: {lr: 5.0e-3}}\ncodec: none\n";
  }
  isthmus_run_options Options(Feed* feed) const {
    isthmus_run_options options = ISTHMUS_RUN_OPTIONS_INIT;
    options.coordinator = coordinator_text_.c_str();
    options.threads = 1;
    options.batches = Feed::Batch;
    options.progress = Feed::Progress;
    options.note = Feed::Note;
    options.user = feed;
    return options;
  }
  // The status of the whole run; its report goes to report_.
  isthmus_status Train(const std::string& job, const isthmus_run_options& options, Feed* feed) {
    isthmus_run* run = nullptr;
    const isthmus_status made = isthmus_run_new(job.c_str(), &options, &run);
    if (made != ISTHMUS_OK) return made;
    feed->run = run;
    const isthmus_status status = isthmus_run_train(run);
    report_ = isthmus_run_report(run);
    isthmus_run_free(run);
    return status;
  }

  std::unique_ptr<Child> worker_;
  std::string coordinator_text_, report_;
};

TEST_F(SdkTest, CallbacksTrainAsAFileOfTheSameSamplesDoes) {
  Feed feed;
  isthmus_run_options options = Options(&feed);
  options.evaluation = Feed::Evaluation;
  ASSERT_EQ(Train(JobText(5, "own"), options, &feed), ISTHMUS_OK) << isthmus_last_error();
  EXPECT_THAT(feed.asked, ElementsAre(1, 2, 3, 4, 5));
  const Json report = Json::parse(report_);
  EXPECT_EQ(report["status"], "completed");
  EXPECT_LT(report["loss"]["eval_after"], report["loss"]["eval_before"]);
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/own/adapter/adapter_model.safetensors"));

  std::ofstream lines(folder_ + "/samples.jsonl");
  for (uint64_t i = 0; i < 20; ++i) lines << Json{{"input_ids", Sample(i)}}.dump() << "\n";
  lines.close();
  std::ofstream(folder_ + "/job.yaml")
      << JobText(5, "run", ", train: " + folder_ + "/samples.jsonl");
  const auto program = ClusterTest::Train(folder_ + "/job.yaml", {"--threads", "1"});
  ASSERT_EQ(program->Wait(), 0) << program->Error();
  std::vector<double> expected;
  for (const std::string& loss : Losses()) expected.push_back(std::stod(loss));
  // Another engine may compute there: its contract is 1e-4.
  EXPECT_THAT(feed.losses, ::testing::Pointwise(::testing::DoubleNear(1e-4), expected));
}

TEST_F(SdkTest, StopsInGoodOrderAndGoesOn) {
  Feed whole;
  ASSERT_EQ(Train(JobText(6, "whole"), Options(&whole), &whole), ISTHMUS_OK)
      << isthmus_last_error();

  Feed first;
  first.stops_at = 2;
  ASSERT_EQ(Train(JobText(6, "parts"), Options(&first), &first), ISTHMUS_CANCELLED);
  EXPECT_THAT(isthmus_last_error(), HasSubstr("after step 2"));
  EXPECT_EQ(Json::parse(report_)["status"], "interrupted");

  Feed second;
  isthmus_run_options options = Options(&second);
  options.resume = 1;
  ASSERT_EQ(Train(JobText(6, "parts"), options, &second), ISTHMUS_OK) << isthmus_last_error();
  EXPECT_THAT(second.asked, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(second.notes, HasSubstr("goes on from step 2"));
  std::vector<double> losses = first.losses;
  losses.insert(losses.end(), second.losses.begin(), second.losses.end());
  EXPECT_EQ(losses, whole.losses);
}

TEST_F(SdkTest, StopFromAnotherThreadEndsTheWaitForWorkers) {
  worker_->Signal(SIGTERM);
  worker_->Wait();
  Feed feed;
  const isthmus_run_options options = Options(&feed);
  isthmus_run* run = nullptr;
  ASSERT_EQ(isthmus_run_new(JobText(3, "never").c_str(), &options, &run), ISTHMUS_OK);
  std::thread stopper([&] { isthmus_run_stop(run); });
  EXPECT_EQ(isthmus_run_train(run), ISTHMUS_CANCELLED) << isthmus_last_error();
  stopper.join();
  EXPECT_EQ(isthmus_run_train(run), ISTHMUS_INVALID_ARGUMENT);  // once
  isthmus_run_free(run);
  EXPECT_THAT(feed.losses, IsEmpty());
}

TEST_F(SdkTest, GoesOnWhenItsWorkerIsBack) {
  Feed whole;
  ASSERT_EQ(Train(JobText(12, "whole"), Options(&whole), &whole), ISTHMUS_OK)
      << isthmus_last_error();
  struct Lossy : Feed {
    SdkTest* test = nullptr;
  } feed;
  feed.test = this;
  isthmus_run_options options = Options(&feed);
  options.reconnect_s = 60;
  options.progress = [](void* user, const isthmus_progress* progress) {
    auto* lossy = static_cast<Lossy*>(user);
    const bool first = lossy->losses.size() < 5;
    Feed::Progress(static_cast<Feed*>(lossy), progress);
    if (first && progress->step == 5) lossy->test->RestartWorker();
  };
  ASSERT_EQ(Train(JobText(12, "disturbed") + "checkpoint: {every_steps: 2}\n", options, &feed),
            ISTHMUS_OK)
      << isthmus_last_error();
  EXPECT_GE(Json::parse(report_)["recoveries"], 1);
  EXPECT_THAT(feed.notes, HasSubstr("goes on when the cluster is back"));
  // Step 5 came after the checkpoint of step 4: it was done again.
  std::vector<double> expected = whole.losses;
  expected.insert(expected.begin() + 5, whole.losses[4]);
  EXPECT_EQ(feed.losses, expected);
}

TEST_F(SdkTest, DataMayEndEarly) {
  Feed feed;
  feed.ends_after = 3;
  ASSERT_EQ(Train(JobText(10, "short"), Options(&feed), &feed), ISTHMUS_OK) << isthmus_last_error();
  EXPECT_EQ(feed.losses.size(), 3u);
  EXPECT_EQ(Json::parse(report_)["steps"], 3);
  EXPECT_THAT(feed.notes, HasSubstr("the data end before step 4"));
}

TEST_F(SdkTest, ACallbackThatFailsKeepsWhatWasLearned) {
  Feed feed;
  feed.fails_at = 3;
  ASSERT_EQ(Train(JobText(5, "failed"), Options(&feed), &feed), ISTHMUS_CALLBACK);
  EXPECT_THAT(isthmus_last_error(), HasSubstr("got 7"));
  Feed second;
  isthmus_run_options options = Options(&second);
  options.resume = 1;
  ASSERT_EQ(Train(JobText(5, "failed"), options, &second), ISTHMUS_OK) << isthmus_last_error();
  EXPECT_THAT(second.asked, ElementsAre(3, 4, 5));
}

TEST_F(SdkTest, WrongIdsAreNamedAndEndTheRunAlone) {
  isthmus_run_options options = ISTHMUS_RUN_OPTIONS_INIT;
  options.coordinator = coordinator_text_.c_str();
  options.batches = [](void*, int64_t, isthmus_batch* batch) {
    const int32_t ids[] = {5, 6, 512};
    return static_cast<int>(isthmus_batch_add(batch, ids, nullptr, 3, 1));
  };
  Feed feed;
  EXPECT_EQ(Train(JobText(2, "wrong"), options, &feed), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_THAT(isthmus_last_error(), HasSubstr("expected targets from 0 to 511"));
  EXPECT_THAT(isthmus_last_error(), HasSubstr("batch of step 1"));
  // The cluster is as it was.
  ASSERT_EQ(Train(JobText(2, "right"), Options(&feed), &feed), ISTHMUS_OK) << isthmus_last_error();
}

TEST_F(SdkTest, GeneratesTheSameTextWholeAndSplit) {
  std::string whole, split;
  const auto hear = [](void* user, const char* text) {
    *static_cast<std::string*>(user) += text;
    return 0;
  };
  isthmus_generate_options options = ISTHMUS_GENERATE_OPTIONS_INIT;
  options.model = kModel;
  options.max_new_tokens = 12;
  options.text = hear;
  options.user = &whole;
  int64_t num_new = 0;
  ASSERT_EQ(isthmus_generate(&options, "Once upon a time", &num_new), ISTHMUS_OK)
      << isthmus_last_error();
  EXPECT_EQ(num_new, 12);
  options.coordinator = coordinator_text_.c_str();
  options.user = &split;
  ASSERT_EQ(isthmus_generate(&options, "Once upon a time", nullptr), ISTHMUS_OK)
      << isthmus_last_error();
  EXPECT_EQ(split, whole);
  EXPECT_THAT(whole, HasSubstr(" there was"));
}

TEST(SdkErrorsTest, EveryWrongArgumentHasALine) {
  isthmus_run* run = nullptr;
  isthmus_run_options options = ISTHMUS_RUN_OPTIONS_INIT;
  EXPECT_EQ(isthmus_run_new(nullptr, &options, &run), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_EQ(isthmus_run_new("model: m", nullptr, &run), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_EQ(isthmus_run_new("model: m\noutput: o", &options, &run), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_THAT(isthmus_last_error(), StartsWith("isthmus_run_new: coordinator: expected HOST:PORT"));
  options.coordinator = "127.0.0.1:1";
  EXPECT_EQ(isthmus_run_new("modell: m\noutput: o", &options, &run), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_THAT(isthmus_last_error(), HasSubstr("model"));
  options.struct_size = 8;
  EXPECT_EQ(isthmus_run_new("model: m\noutput: o", &options, &run), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_THAT(isthmus_last_error(), HasSubstr("struct_size"));
  EXPECT_EQ(run, nullptr);
  EXPECT_EQ(isthmus_run_train(nullptr), ISTHMUS_INVALID_ARGUMENT);
  isthmus_run_stop(nullptr);
  isthmus_run_free(nullptr);
  EXPECT_STREQ(isthmus_run_report(nullptr), "");
  EXPECT_EQ(isthmus_batch_add(nullptr, nullptr, nullptr, 0, 0), ISTHMUS_INVALID_ARGUMENT);

  isthmus_generate_options generate = ISTHMUS_GENERATE_OPTIONS_INIT;
  EXPECT_EQ(isthmus_generate(&generate, "a", nullptr), ISTHMUS_INVALID_ARGUMENT);
  generate.model = "/nowhere";
  EXPECT_EQ(isthmus_generate(&generate, "a", nullptr), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_THAT(isthmus_last_error(), HasSubstr("/nowhere"));
}

TEST(SdkErrorsTest, OwnDataNeedsStepsAndNoFile) {
  Feed feed;
  const std::string start = "model: " + std::string(kModel) + "\noutput: /nonexistent/out\n";
  isthmus_run_options options = ISTHMUS_RUN_OPTIONS_INIT;
  options.coordinator = "127.0.0.1:1";
  options.user = &feed;
  const auto error = [&](const std::string& job) -> std::string {
    isthmus_run* run = nullptr;
    EXPECT_EQ(isthmus_run_new(job.c_str(), &options, &run), ISTHMUS_OK) << isthmus_last_error();
    EXPECT_EQ(isthmus_run_train(run), ISTHMUS_INVALID_ARGUMENT);
    isthmus_run_free(run);
    return isthmus_last_error();
  };
  EXPECT_THAT(error(start), HasSubstr("data.train: expected a path"));
  options.batches = Feed::Batch;
  EXPECT_THAT(error(start), HasSubstr("train.steps: expected a number"));
  EXPECT_THAT(error(start + "data: {train: t.txt}\ntrain: {steps: 3}\n"),
              HasSubstr("data.train: expected no such key"));
}

TEST(SdkTokenizerTest, TextComesBack) {
  isthmus_tokenizer* tokenizer = nullptr;
  ASSERT_EQ(isthmus_tokenizer_open(kModel, &tokenizer), ISTHMUS_OK) << isthmus_last_error();
  const int32_t* ids = nullptr;
  size_t count = 0;
  ASSERT_EQ(isthmus_tokenizer_encode(tokenizer, "The cat sat.", 0, &ids, &count), ISTHMUS_OK);
  const std::vector<int32_t> kept(ids, ids + count);
  const char* text = nullptr;
  ASSERT_EQ(isthmus_tokenizer_decode(tokenizer, kept.data(), kept.size(), &text), ISTHMUS_OK);
  EXPECT_STREQ(text, "The cat sat.");
  const int32_t wrong[] = {-1};
  EXPECT_EQ(isthmus_tokenizer_decode(tokenizer, wrong, 1, &text), ISTHMUS_INVALID_ARGUMENT);
  EXPECT_GE(isthmus_tokenizer_eos(tokenizer), 0);
  isthmus_tokenizer_free(tokenizer);
  EXPECT_EQ(isthmus_tokenizer_open("/nowhere", &tokenizer), ISTHMUS_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace isthmus::e2e
