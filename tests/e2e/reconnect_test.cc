// --reconnect: a client that lost its cluster, or slept while the cluster was restarted, goes on
// from its newest checkpoint by itself and learns what an undisturbed run learns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "nlohmann/json.hpp"
#include "tests/e2e/program_fixture.h"

namespace isthmus::e2e {
namespace {

class ReconnectTest : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    StartCoordinator("127.0.0.1", {});
    worker_ = StartWorker("w0", {"--state", folder_ + "/w0"});
    job_ = Job("int8", 60, "checkpoint: {every_steps: 2}\n");
  }
  // Running, and far enough for checkpoints, yet not near its end.
  std::unique_ptr<Child> TrainForAWhile(const Words& more) {
    auto client = Train(job_, more);
    EXPECT_TRUE(Eventually([&] { return StepsDone() >= 5 || !client->Running(); }));
    return client;
  }
  void ExpectUndisturbed(Child* client) {
    ASSERT_EQ(client->Wait(), 0) << client->Error();
    const Words disturbed = Losses();
    EXPECT_EQ(disturbed.size(), 60u);
    const auto report = nlohmann::json::parse(FileText(Run("report.json")), nullptr, false);
    EXPECT_EQ(report["status"], "completed");
    EXPECT_GE(report["recoveries"], 1);
    auto whole = Train(job_, {"--overwrite"});
    ASSERT_EQ(whole->Wait(), 0) << whole->Error();
    EXPECT_EQ(disturbed, Losses());
  }

  std::unique_ptr<Child> worker_;
  std::string job_;
};

TEST_F(ReconnectTest, GoesOnWhenTheWorkerIsBack) {
  auto client = TrainForAWhile({"--reconnect", "60s"});
  worker_->Signal(SIGKILL);
  worker_->Wait();
  worker_ = StartWorker("w0", {"--state", folder_ + "/w0"});
  ExpectUndisturbed(client.get());
}

// What a laptop finds when its lid is opened: sockets of processes that are gone.
TEST_F(ReconnectTest, GoesOnAfterASleepThatTheClusterDidNotOutlive) {
  auto client = TrainForAWhile({"--reconnect", "60s"});
  client->Signal(SIGSTOP);
  worker_->Signal(SIGKILL);
  coordinator_->Signal(SIGKILL);
  worker_->Wait();
  coordinator_->Wait();
  StartCoordinatorAgain();
  worker_ = StartWorker("w0", {"--state", folder_ + "/w0"});
  client->Signal(SIGCONT);
  ExpectUndisturbed(client.get());
}

TEST_F(ReconnectTest, GivesUpWhenNobodyComesBack) {
  auto client = TrainForAWhile({"--reconnect", "1s"});
  worker_->Signal(SIGKILL);
  EXPECT_EQ(client->Wait(), 3);
  ExpectOneError(*client, "");
  EXPECT_EQ(Start({"train", job_, "--reconnect", "5s"})->Wait(), 2);
}

}  // namespace
}  // namespace isthmus::e2e
