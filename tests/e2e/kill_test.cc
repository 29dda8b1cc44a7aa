// SIGKILL at every phase of a job, to a worker, to the client and to the coordinator: how the job
// ends, what is left on the disk, and that the cluster takes the next job. docs/failure_model.md
// has the table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "tests/e2e/child.h"
#include "tests/e2e/frame_spy.h"
#include "tests/e2e/free_port.h"
#include "tests/e2e/program_fixture.h"

namespace isthmus::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Frame kinds, and the fields of packet.proto that a link carries.
constexpr int kActivation = 1, kGradient = 2, kControl = 6;
constexpr int kStepNorms = 2, kStepDone = 4, kGenerateExtend = 7, kTensorRequest = 13;
constexpr int kEvaluation = 1;

// A place in the protocol of the second worker's links.
struct Moment {
  const char* name;
  // `steps` is how many steps the worker has said it finished.
  std::function<bool(const SeenFrame&, int steps)> is_here;
  int finished_steps;  // lines of steps.jsonl that are left
  int checkpoint;      // step of the newest, 0: none
};

bool InStepTwo(const SeenFrame& f, int kind) {
  return f.to_worker && f.kind == kind && f.flags == 0 && f.step == 2;
}

const Moment kForward = {"forward", [](auto& f, int) { return InStepTwo(f, kActivation); }, 1, 1};

// Evaluations and checkpoints follow every step of the job below.
const Moment kMoments[] = {
    {"preparing", [](auto& f, int) { return f.to_worker && f.kind == kControl; }, 0, 0},
    {"loading", [](auto& f, int) { return !f.to_worker && f.packet == kTensorRequest; }, 0, 0},
    kForward,
    {"backward", [](auto& f, int) { return InStepTwo(f, kGradient); }, 1, 1},
    {"exchange of norms", [](auto& f, int n) { return f.packet == kStepNorms && n == 1; }, 1, 1},
    {"update", [](auto& f, int n) { return f.packet == kStepDone && n == 1; }, 1, 1},
    {"evaluating",
     [](auto& f, int) { return f.kind == kActivation && f.flags == kEvaluation && f.step == 2; }, 2,
     1},
    {"a checkpoint is being gathered",
     [](auto& f, int n) { return f.to_worker && f.packet == kTensorRequest && n == 2; }, 2, 1},
};

class KillTest : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    std::ofstream(folder_ + "/eval.txt") << "What say you to this? I say no more than truth.";
    job_ = Job("int8", 3,
               "pipeline: {stages: 2}\ncheckpoint: {every_steps: 1, keep: 9}\nsplit: "
               "{head_layers: 1, tail_layers: 1}\n");
    StartCoordinator("127.0.0.1", {});
  }
  void StartFirst() { first_ = StartWorker("first", {"--state", folder_ + "/first"}); }

  // Kills `victim` at `moment`. The worker "second" has no weights of its own and keeps none.
  void StartSecond(const Moment& moment, const std::function<pid_t()>& victim) {
    second_.reset();
    const int port = FreePort();
    spy_ = std::make_unique<FrameSpy>(
        port, [this, moment, victim, steps = 0, killed = false](const SeenFrame& f) mutable {
          const bool now = !killed && moment.is_here(f, steps);
          if (f.packet == kStepDone && !f.to_worker) ++steps;
          if (!now) return true;
          killed = true;
          const pid_t pid = victim();
          ::kill(pid, SIGKILL);
          return pid != second_pid_;  // its last frame goes with it
        });
    second_ =
        StartWorker("second", {"--advertise", "127.0.0.1:" + std::to_string(spy_->port())}, port);
    second_pid_ = second_->pid();
  }
  void StartSecond() {
    StartSecond({"", [](auto&, int) { return false; }, 0, 0}, [] { return pid_t{0}; });
  }
  std::unique_ptr<Child> TrainWith(Words more) {
    more.insert(more.end(), {"--set", "data.eval=" + folder_ + "/eval.txt", "--set",
                             "data.eval_every_steps=1", "--set", "train.optimizer.clip_norm=1"});
    return Train(job_, more);
  }
  std::unique_ptr<Child> TrainAndKillSecond(const Moment& moment) {
    StartSecond(moment, [this] { return second_pid_.load(); });
    return TrainWith({"--overwrite"});
  }
  bool HasCheckpoint(int step) const {
    return fs::exists(Run("checkpoints/step-00000" + std::to_string(step) + "/manifest.json"));
  }
  void ExpectLeft(const Moment& moment) {
    EXPECT_EQ(StepsDone(), moment.finished_steps);
    EXPECT_TRUE(moment.checkpoint == 0 || HasCheckpoint(moment.checkpoint));
    EXPECT_FALSE(HasCheckpoint(moment.checkpoint + 1));
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(Run("checkpoints"), none))
      EXPECT_THAT(entry.path().filename().string(), ::testing::Not(HasSubstr("making")));
  }
  void ExpectResumes() {
    auto resumed = TrainWith({"--resume"});
    EXPECT_EQ(resumed->Wait(), 0) << resumed->Error();
    EXPECT_EQ(StepsDone(), 3);
  }
  void ExpectEndsInGoodOrder(std::vector<Child*> children) {
    for (Child* child : children) {
      child->Signal(SIGTERM);
      EXPECT_EQ(child->Wait(), 0) << child->Error();
    }
  }

  std::string job_;
  std::unique_ptr<Child> first_, second_;
  std::unique_ptr<FrameSpy> spy_;
  std::atomic<pid_t> second_pid_{0}, client_pid_{0};
};

TEST_F(KillTest, AWorkerAtAnyPhaseOfAJob) {
  StartFirst();
  for (const Moment& moment : kMoments) {
    SCOPED_TRACE(moment.name);
    auto client = TrainAndKillSecond(moment);
    EXPECT_EQ(client->Wait(), 3);
    ExpectOneError(*client, "second");
    ExpectLeft(moment);
    EXPECT_EQ(second_->Wait(), 128 + SIGKILL);
    EXPECT_TRUE(first_->Running());
    if (HasFailure()) return;
  }
  StartSecond();
  ExpectResumes();
  // Idle: nobody minds.
  second_->Signal(SIGKILL);
  second_->Wait();
  auto alone = TrainWith({"--overwrite", "--set", "pipeline.stages=1"});
  EXPECT_EQ(alone->Wait(), 0) << alone->Error();
  ExpectEndsInGoodOrder({first_.get(), coordinator_.get()});
}

TEST_F(KillTest, AWorkerThatGenerates) {
  int extends = 0;
  StartSecond({"generating",
               [&extends](auto& f, int) {
                 return f.to_worker && f.packet == kGenerateExtend && ++extends == 3;
               },
               0, 0},
              [this] { return second_pid_.load(); });
  auto client = Start({"generate", "--model", ISTHMUS_SOURCE_DIR "/examples/stories260K",
                       "--prompt", "Once", "--json", "--coordinator", Coordinator()});
  EXPECT_EQ(client->Wait(), 3);
  ExpectOneError(*client, "second");
}

// A step of half a minute: the first stop waits for its end, the second does not.
TEST_F(KillTest, ASecondStopEndsTheJobAtOnce) {
  std::atomic<bool> in_step{false};
  const int port = FreePort();
  FrameSpy spy(port, [&](const SeenFrame& f) {
    if (f.kind == kActivation && f.to_worker) in_step = true;
    return true;
  });
  auto slow = StartWorker("slow",
                          {"--advertise", "127.0.0.1:" + std::to_string(spy.port()), "--link-mbps",
                           "0.01", "--model-root", ISTHMUS_SOURCE_DIR "/examples"},
                          port);
  auto client = Train(Job("none", 3), {});
  ASSERT_TRUE(Eventually([&] { return in_step || !client->Running(); }));
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(client->Running()) << client->Error();
    EXPECT_EQ(Start({"stop", "--coordinator", Coordinator()})->Wait(), 0);
  }
  EXPECT_EQ(client->Wait(), 1);
  ExpectOneError(*client, "second stop");
}

TEST_F(KillTest, TheClient) {
  StartFirst();
  StartSecond(kForward, [this] {
    Eventually([this] { return client_pid_ != 0; });
    return client_pid_.load();
  });
  auto client = TrainWith({"--overwrite"});
  client_pid_ = client->pid();
  EXPECT_EQ(client->Wait(), 128 + SIGKILL);
  ExpectLeft(kForward);
  ExpectResumes();
  ExpectEndsInGoodOrder({first_.get(), second_.get(), coordinator_.get()});
}

TEST_F(KillTest, TheCoordinator) {
  StartFirst();
  StartSecond(kForward, [this] { return coordinator_->pid(); });
  auto client = TrainWith({"--overwrite"});
  EXPECT_EQ(client->Wait(), 3);
  ExpectOneError(*client, "coordinator");
  ExpectLeft(kForward);
  coordinator_->Wait();
  StartCoordinatorAgain();
  ExpectResumes();
  ExpectEndsInGoodOrder({first_.get(), second_.get(), coordinator_.get()});
}

}  // namespace
}  // namespace isthmus::e2e
