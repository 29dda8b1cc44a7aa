// The control plane in one process over real gRPC: a coordinator with a fake planner, fake workers,
// a client.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "coordinator/coordinator.h"
#include "link/coordinator_client.h"
#include "link/frame.h"
#include "link/grpc_environment.h"
#include "link/rate_probe.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSecondUs = 1'000'000;

// One worker a stage, in the order given.
absl::StatusOr<v1::Plan> FakePlan(const v1::PlanRequest& request,
                                  absl::Span<const v1::WorkerInfo> workers,
                                  const std::string& job_id) {
  if (request.schedule() == "impossible") return absl::InvalidArgumentError("schedule: no");
  v1::Plan plan;
  plan.set_job_id(job_id);
  plan.set_generation(1);
  plan.add_parties()->set_name("client");
  plan.add_stages()->set_party(0);
  const int64_t wanted = request.stages() > 0 ? request.stages() : 1;
  for (int64_t i = 0; i < wanted; ++i) {
    plan.add_parties()->set_name(workers[i].name());
    plan.add_stages()->set_party(i + 1);
  }
  return plan;
}

CoordinatorOptions AnyPorts() {
  CoordinatorOptions options;
  options.listen = "127.0.0.1:0";
  options.http = "127.0.0.1:0";
  options.version = "test";
  options.heartbeat_us = 200'000;
  return options;
}

// Collects words from callbacks; Wait blocks until one holds `text`.
class Words {
 public:
  void Add(const std::string& word) {
    MutexLock lock(&mutex_);
    words_.push_back(word);
    changed_.SignalAll();
  }
  // The first word with `text` in it, or what came instead within 10 s.
  std::string Wait(const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    MutexLock lock(&mutex_);
    while (true) {
      for (const std::string& word : words_) {
        if (word.find(text) != std::string::npos) return word;
      }
      if (!changed_.WaitUntil(&mutex_, deadline) && std::chrono::steady_clock::now() >= deadline) {
        std::string all;
        for (const std::string& word : words_) all += word + "; ";
        return "expected \"" + text + "\", got " + all;
      }
    }
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> words_;
};

v1::WorkerInfo Hello(const std::string& name) {
  v1::WorkerInfo hello;
  hello.set_name(name);
  hello.set_address("127.0.0.1:1");
  hello.set_wire_version(kWireVersion);
  return hello;
}

// Prepares whatever it is told, ends when it is told.
class FakeWorker {
 public:
  absl::Status Join(const std::string& coordinator, const std::string& name) {
    WorkerControl::Callbacks callbacks;
    callbacks.prepare = [this](const v1::PrepareJob& prepare) {
      MutexLock lock(&mutex_);
      jobs_.insert(prepare.plan().job_id());
      control_->Prepared(prepare.plan().job_id(), prepare.plan().generation());
      words.Add("prepare " + prepare.plan().job_id() + " as " + std::to_string(prepare.party()));
    };
    callbacks.stop = [this](const v1::StopWork& stop) {
      words.Add("stop " + stop.job_id() + ": " + stop.reason());
      End(stop.job_id());
    };
    callbacks.heartbeat = [this] {
      MutexLock lock(&mutex_);
      v1::Heartbeat heartbeat;
      heartbeat.set_memory_bytes(1000);
      for (const std::string& job : jobs_) heartbeat.add_jobs(job);
      return heartbeat;
    };
    MutexLock lock(&mutex_);
    auto control =
        WorkerControl::Join(coordinator, {}, Hello(name), std::move(callbacks), 10 * kSecondUs);
    if (control.ok()) control_ = *std::move(control);
    return control.status();
  }
  void End(const std::string& job) {
    MutexLock lock(&mutex_);
    jobs_.erase(job);
    control_->Ended(job, absl::OkStatus());
  }
  void Drain() { control_->Draining(); }
  bool connected() const { return control_->connected(); }

  Words words;

 private:
  Mutex mutex_;
  std::set<std::string> jobs_;
  std::unique_ptr<WorkerControl> control_;
};

v1::PlanRequest Request(int64_t stages, double wait_s) {
  v1::PlanRequest request;
  request.set_job_name("test");
  request.set_stages(stages);
  request.set_wait_s(wait_s);
  request.set_wire_version(kWireVersion);
  return request;
}

JobControl::Callbacks Callbacks(Words* words) {
  JobControl::Callbacks callbacks;
  callbacks.notice = [words](const std::string& text) { words->Add("notice " + text); };
  callbacks.stopped = [words](const v1::JobStopped& stopped) {
    words->Add("stopped " + v1::JobStopped::Cause_Name(stopped.cause()) + " " + stopped.message());
  };
  return callbacks;
}

class ControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = Coordinator::Start(AnyPorts(), FakePlan);
    ASSERT_TRUE(started.ok()) << started.status();
    coordinator_ = *std::move(started);
    address_ = "127.0.0.1:" + std::to_string(coordinator_->grpc_port());
  }
  v1::JobRow OnlyJob() {
    const auto jobs = ListJobs(address_, {});
    return jobs.ok() && jobs->jobs_size() > 0 ? jobs->jobs(0) : v1::JobRow();
  }
  // A worker's word that it ended arrives when it arrives.
  bool BecomesReady(const std::string& name) {
    for (int i = 0; i < 500; ++i) {
      const auto workers = ListWorkers(address_, {});
      for (const v1::WorkerRow& row : workers->workers()) {
        if (row.info().name() == name && row.state() == "ready") return true;
      }
      usleep(10'000);
    }
    return false;
  }

  std::string address_;
  std::unique_ptr<Coordinator> coordinator_;
};

TEST_F(ControlTest, AJobRunsAndCompletes) {
  FakeWorker a, b;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  ASSERT_TRUE(b.Join(address_, "b").ok());
  Words client;
  auto job = JobControl::Submit(address_, {}, Request(2, 10), Callbacks(&client));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ((*job)->plan().job_id(), "job-1");
  EXPECT_EQ((*job)->plan().stages_size(), 3);
  EXPECT_EQ((*job)->token().size(), 32u);
  EXPECT_EQ(a.words.Wait("prepare"), "prepare job-1 as 1");
  EXPECT_EQ(b.words.Wait("prepare"), "prepare job-1 as 2");
  v1::Progress progress;
  progress.set_step(7);
  progress.set_loss(2.5);
  (*job)->ReportProgress(progress);
  a.End("job-1");
  b.End("job-1");
  (*job)->Finished("completed", "");
  EXPECT_EQ(OnlyJob().status(), "completed");
  EXPECT_EQ(OnlyJob().step(), 7);
  EXPECT_TRUE(BecomesReady("a"));
  EXPECT_TRUE(BecomesReady("b"));
}

TEST_F(ControlTest, ALostWorkerIsToldToTheClientByName) {
  FakeWorker a;
  auto b = std::make_unique<FakeWorker>();
  ASSERT_TRUE(a.Join(address_, "a").ok());
  ASSERT_TRUE(b->Join(address_, "b").ok());
  Words client;
  auto job = JobControl::Submit(address_, {}, Request(2, 10), Callbacks(&client));
  ASSERT_TRUE(job.ok()) << job.status();
  b.reset();
  EXPECT_THAT(client.Wait("WORKER_LOST"), HasSubstr("worker b at 127.0.0.1:1 was lost"));
  EXPECT_THAT(a.words.Wait("stop job-1"), HasSubstr("worker b"));
  EXPECT_EQ(OnlyJob().status(), "failed");
}

TEST_F(ControlTest, ASecondJobQueuesAndSaysSo) {
  FakeWorker a;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  Words first_words, second_words;
  auto first = JobControl::Submit(address_, {}, Request(1, 10), Callbacks(&first_words));
  ASSERT_TRUE(first.ok()) << first.status();
  absl::Status second_status;
  Thread second("second", [&] {
    auto job = JobControl::Submit(address_, {}, Request(1, 10), Callbacks(&second_words));
    second_status = job.status();
    if (job.ok()) (*job)->Finished("completed", "");
  });
  EXPECT_THAT(second_words.Wait("busy"), HasSubstr("busy: a with job-1"));
  a.End("job-1");
  (*first)->Finished("completed", "");
  second.Join();
  EXPECT_TRUE(second_status.ok()) << second_status;
}

TEST_F(ControlTest, NobodyInTimeIsUnavailable) {
  Words client;
  const auto job = JobControl::Submit(address_, {}, Request(1, 0.2), Callbacks(&client));
  EXPECT_EQ(job.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(job.status().message()), HasSubstr("ready worker, got 0"));
}

TEST_F(ControlTest, AnImpossibleRequestIsInvalid) {
  FakeWorker a;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  v1::PlanRequest request = Request(1, 10);
  request.set_schedule("impossible");
  Words client;
  const auto job = JobControl::Submit(address_, {}, request, Callbacks(&client));
  EXPECT_EQ(job.status(), absl::InvalidArgumentError("schedule: no"));
}

TEST_F(ControlTest, OtherWireVersionsAreRefusedOnBothSides) {
  v1::WorkerInfo hello = Hello("a");
  hello.set_wire_version(kWireVersion + 1);
  WorkerControl::Callbacks callbacks;
  callbacks.heartbeat = [] { return v1::Heartbeat(); };
  const auto worker = WorkerControl::Join(address_, {}, hello, callbacks, 10 * kSecondUs);
  EXPECT_EQ(worker.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(worker.status().message()),
              HasSubstr(absl::StrCat("wire version: expected ", kWireVersion)));
  v1::PlanRequest request = Request(1, 10);
  request.set_wire_version(kWireVersion + 1);
  Words client;
  const auto job = JobControl::Submit(address_, {}, request, Callbacks(&client));
  EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ControlTest, ATakenNameIsRefused) {
  FakeWorker a, again;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  EXPECT_EQ(again.Join(address_, "a").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ControlTest, StopReachesTheClientAndItsWordEndsTheJob) {
  FakeWorker a;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  Words client;
  auto job = JobControl::Submit(address_, {}, Request(1, 10), Callbacks(&client));
  ASSERT_TRUE(job.ok()) << job.status();
  const auto stopped = StopJob(address_, {}, "");
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(*stopped, "job-1");
  EXPECT_THAT(client.Wait("stopped"), HasSubstr("STOPPED_BY_USER"));
  (*job)->Finished("interrupted", "step 3");
  EXPECT_EQ(OnlyJob().status(), "interrupted");
  EXPECT_EQ(StopJob(address_, {}, "job-1").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StopJob(address_, {}, "nonsense").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ControlTest, AClientThatGoesStopsItsWorkers) {
  FakeWorker a;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  Words client;
  auto job = JobControl::Submit(address_, {}, Request(1, 10), Callbacks(&client));
  ASSERT_TRUE(job.ok()) << job.status();
  job->reset();
  EXPECT_EQ(a.words.Wait("stop"), "stop job-1: the client is gone");
  EXPECT_EQ(OnlyJob().status(), "failed");
}

TEST_F(ControlTest, DrainingStopsAJobAndLetsTheClientFinish) {
  FakeWorker a;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  Words client;
  auto job = JobControl::Submit(address_, {}, Request(1, 10), Callbacks(&client));
  ASSERT_TRUE(job.ok()) << job.status();
  coordinator_->Drain();
  EXPECT_THAT(client.Wait("stopped"), HasSubstr("DRAINING"));
  (*job)->Finished("interrupted", "");
  coordinator_->WaitUntilDrained();
}

TEST_F(ControlTest, AWorkerJoinsAgainWhenTheCoordinatorComesBack) {
  FakeWorker a;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  Words client;
  auto job = JobControl::Submit(address_, {}, Request(1, 10), Callbacks(&client));
  ASSERT_TRUE(job.ok()) << job.status();
  CoordinatorOptions options = AnyPorts();
  options.listen = address_;
  coordinator_ = nullptr;
  EXPECT_THAT(client.Wait("stopped"), HasSubstr("UNKNOWN"));
  auto again = Coordinator::Start(options, FakePlan);
  ASSERT_TRUE(again.ok()) << again.status();
  coordinator_ = *std::move(again);
  // The new coordinator does not know the job that the worker still holds.
  EXPECT_THAT(a.words.Wait("stop job-1"), HasSubstr("does not know this job"));
  EXPECT_TRUE(BecomesReady("a"));
}

TEST_F(ControlTest, AClientWaitsForACoordinatorThatIsNotUpYet) {
  CoordinatorOptions options = AnyPorts();
  options.listen = address_;
  coordinator_ = nullptr;
  absl::Status status;
  Words client;
  Thread submit("submit", [&] {
    auto job = JobControl::Submit(address_, {}, Request(1, 20), Callbacks(&client));
    status = job.status();
    if (job.ok()) (*job)->Finished("completed", "");
  });
  usleep(300'000);
  auto again = Coordinator::Start(options, FakePlan);
  ASSERT_TRUE(again.ok()) << again.status();
  coordinator_ = *std::move(again);
  FakeWorker a;
  ASSERT_TRUE(a.Join(address_, "a").ok());
  submit.Join();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ControlTest, ACancelledSubmitReturns) {
  JobControl::Callbacks callbacks;
  callbacks.notice = [](const std::string&) {};
  callbacks.stopped = [](const v1::JobStopped&) {};
  callbacks.cancelled = [] { return true; };
  const auto job = JobControl::Submit(address_, {}, Request(1, 60), std::move(callbacks));
  EXPECT_EQ(job.status().code(), absl::StatusCode::kCancelled);
}

// gRPC would obey http_proxy even for loopback addresses.
TEST_F(ControlTest, ADeadHttpProxyDoesNotMatter) {
  setenv("http_proxy", "http://127.0.0.1:9", 1);
  const auto workers = ListWorkers(address_, {});
  unsetenv("http_proxy");
  EXPECT_TRUE(workers.ok()) << workers.status();
}

// What the first caller of a port says, up to the blank line.
class OneRequest {
 public:
  OneRequest() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_, 8), 0);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~OneRequest() { ::close(socket_); }
  int port() const { return port_; }
  std::string Read() const {
    const int caller = ::accept(socket_, nullptr, nullptr);
    std::string text;
    char c = 0;
    while (text.find("\r\n\r\n") == std::string::npos && ::read(caller, &c, 1) == 1) text += c;
    ::close(caller);
    return text;
  }

 private:
  int socket_ = -1, port_ = 0;
};

TEST(ControlClient, GoesThroughTheProxyThatWasNamedUnlessItIsLoopback) {
  OneRequest proxy;
  UseHttpProxy("127.0.0.1:" + std::to_string(proxy.port()));
  EXPECT_EQ(HttpProxyFor("127.0.0.1:7600"), "");
  EXPECT_EQ(HttpProxyFor("localhost:7600"), "");
  EXPECT_NE(HttpProxyFor("192.0.2.1:7600"), "");
  std::string asked;
  Thread reader("proxy", [&] { asked = proxy.Read(); });
  EXPECT_TRUE(absl::IsUnavailable(ListWorkers("192.0.2.1:7600", {}).status()));  // TEST-NET-1
  reader.Join();
  UseHttpProxy("");
  EXPECT_THAT(asked, HasSubstr("CONNECT 192.0.2.1:7600"));
}

TEST(ControlClient, NobodyThereIsUnavailableAndNamesTheFlag) {
  const auto workers = ListWorkers("127.0.0.1:1", {});
  EXPECT_EQ(workers.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(workers.status().message()), HasSubstr("--coordinator"));
  WorkerControl::Callbacks callbacks;
  const auto worker = WorkerControl::Join("127.0.0.1:1", {}, Hello("a"), callbacks, 200'000);
  EXPECT_EQ(worker.status().code(), absl::StatusCode::kUnavailable);
}

TEST(CoordinatorStart, ATakenPortNamesItsFlag) {
  auto first = Coordinator::Start(AnyPorts(), FakePlan);
  ASSERT_TRUE(first.ok()) << first.status();
  CoordinatorOptions options = AnyPorts();
  options.listen = "127.0.0.1:" + std::to_string((*first)->grpc_port());
  auto second = Coordinator::Start(options, FakePlan);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--listen"));
  options = AnyPorts();
  options.http = "127.0.0.1:" + std::to_string((*first)->http_port());
  second = Coordinator::Start(options, FakePlan);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--http"));
}

TEST(CoordinatorStart, AddressesBeyondLoopbackNeedTlsOrInsecure) {
  CoordinatorOptions options = AnyPorts();
  options.listen = "0.0.0.0:0";
  EXPECT_EQ(Coordinator::Start(options, FakePlan).status().code(),
            absl::StatusCode::kInvalidArgument);
  options.insecure = true;
  EXPECT_TRUE(Coordinator::Start(options, FakePlan).ok());
}

// A link of 8 Mbit/s up (a byte a microsecond) and 16 down, 20 ms there and back, in time of its
// own.
TEST(RateProbeTest, SeesRatesBehindTheRoundTrip) {
  int64_t most = 0;
  const auto rate = MeasureLinkRate([&most](int64_t up, int64_t down) -> absl::StatusOr<double> {
    most = std::max({most, up, down});
    return 0.020 + static_cast<double>(up) * 1e-6 + static_cast<double>(down) * 0.5e-6;
  });
  ASSERT_TRUE(rate.ok()) << rate.status();
  EXPECT_NEAR(rate->up_mbps, 8.0, 1e-6);
  EXPECT_NEAR(rate->down_mbps, 16.0, 1e-6);
  EXPECT_NEAR(rate->round_trip_s, 0.020, 1e-9);
  EXPECT_LE(most, 256 << 10) << "a slow link is not kept busy for long";
}

TEST(RateProbeTest, AsksACoordinator) {
  const auto coordinator = Coordinator::Start(AnyPorts(), FakePlan);
  ASSERT_TRUE(coordinator.ok()) << coordinator.status();
  const std::string address = "127.0.0.1:" + std::to_string((*coordinator)->grpc_port());
  const auto rate = MeasureLinkRate(address, {}, kSecondUs, 2);
  ASSERT_TRUE(rate.ok()) << rate.status();
  EXPECT_GT(rate->slower_mbps(), 10.0);  // loopback
  EXPECT_TRUE(absl::IsUnavailable(MeasureLinkRate("127.0.0.1:1", {}, 0, 1).status()));
}

}  // namespace
}  // namespace isthmus
