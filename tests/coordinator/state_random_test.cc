// Long random lives of a cluster: whatever order events come in, the promises of state.h hold; and
// the same life twice gives the same commands.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "base/rng.h"
#include "tests/coordinator/state_fixture.h"

namespace isthmus {
namespace {

class RandomLife {
 public:
  explicit RandomLife(uint64_t seed) : rng_(RandomKey(seed, "life")) {}

  void Run(int num_events) {
    for (int i = 0; i < num_events && !::testing::Test::HasFailure(); ++i) {
      Step();
      Do(Tick{});
      CheckPromises();
    }
  }
  std::string log() const { return log_.str(); }
  int planned() const { return planned_; }

 private:
  void Step() {
    c_.now_us += static_cast<int64_t>(rng_.NextBelow(900'000));
    const StreamId worker = PickOf(workers_);
    const StreamId client = PickOf(clients_);
    const std::string job = "job-" + std::to_string(1 + rng_.NextBelow(1 + jobs_));
    switch (rng_.NextBelow(16)) {
      case 0: {
        const StreamId stream = next_stream_++;
        workers_.insert(stream);
        v1::WorkerEvent event;
        *event.mutable_hello() =
            TestCluster::Info(std::string(1, static_cast<char>('a' + rng_.NextBelow(4))));
        return Do(WorkerSaid{stream, event});
      }
      case 1: {
        if (clients_.size() > 6) return;
        const StreamId stream = next_stream_++;
        clients_.insert(stream);
        ++jobs_;
        v1::ClientEvent event;
        *event.mutable_submit() = TestCluster::Request(static_cast<int64_t>(rng_.NextBelow(4)),
                                                       static_cast<double>(rng_.NextBelow(30)));
        return Do(ClientSaid{stream, event, "t"});
      }
      case 2:
        if (worker == 0 || rng_.NextBelow(4) != 0) return;
        workers_.erase(worker);
        return Do(WorkerStreamEnded{worker});
      case 3:
        if (client == 0 || rng_.NextBelow(4) != 0) return;
        clients_.erase(client);
        return Do(ClientStreamEnded{client});
      case 4: {
        if (client == 0) return;
        v1::ClientEvent event;
        event.mutable_finished()->set_status(rng_.NextBelow(2) == 0 ? "completed" : "failed");
        return Do(ClientSaid{client, event, ""});
      }
      case 5: {
        if (client == 0) return;
        v1::ClientEvent event;
        event.mutable_progress()->set_step(static_cast<int64_t>(rng_.NextBelow(100)));
        return Do(ClientSaid{client, event, ""});
      }
      case 6:
        return Do(StopAsked{next_call_++, rng_.NextBelow(2) == 0 ? job : ""});
      case 7: {
        if (worker == 0) return;
        v1::WorkerEvent event;
        event.mutable_ended()->set_job_id(job);
        event.mutable_ended()->set_ok(rng_.NextBelow(2) == 0);
        return Do(WorkerSaid{worker, event});
      }
      case 8:
        return Do(Tick{});
      default:
        return AllBeat();
    }
  }

  // Live workers answer for what they were given: mostly prepared at once, sometimes with a
  // heartbeat of somebody else's job.
  void AllBeat() {
    const std::set<StreamId> streams = workers_;  // events may close some
    for (StreamId stream : streams) {
      v1::WorkerEvent event;
      const std::set<std::string> held = held_[stream];
      for (const std::string& job : held) {
        v1::WorkerEvent prepared;
        prepared.mutable_prepared()->set_job_id(job);
        prepared.mutable_prepared()->set_generation(1);
        if (rng_.NextBelow(3) != 0 && workers_.count(stream) > 0) {
          Do(WorkerSaid{stream, prepared});
        }
        event.mutable_heartbeat()->add_jobs(job);
      }
      event.mutable_heartbeat();
      if (workers_.count(stream) > 0) Do(WorkerSaid{stream, event});
    }
  }

  void Do(const Event& event) {
    for (const Command& command : c_.state.Handle(event, c_.now())) Obey(command);
  }

  void Obey(const Command& command) {
    if (const auto* c = std::get_if<SendToWorker>(&command)) {
      EXPECT_EQ(workers_.count(c->stream), 1u) << "sent to a worker's closed stream";
      if (c->command.has_prepare()) held_[c->stream].insert(c->command.prepare().plan().job_id());
      if (c->command.has_stop() && rng_.NextBelow(3) != 0) {
        held_[c->stream].erase(c->command.stop().job_id());
      }
      log_ << c->stream << ' ' << c->command.ShortDebugString() << '\n';
    } else if (const auto* c = std::get_if<SendToClient>(&command)) {
      EXPECT_EQ(clients_.count(c->stream), 1u) << "sent to a client's closed stream";
      if (c->command.has_planned()) ++planned_;
      log_ << c->stream << ' ' << c->command.ShortDebugString() << '\n';
    } else if (const auto* c = std::get_if<CloseStream>(&command)) {
      EXPECT_EQ(workers_.erase(c->stream) + clients_.erase(c->stream), 1u) << "closed twice";
      log_ << c->stream << " closed " << c->status.ToString() << '\n';
    } else if (const auto* c = std::get_if<AnswerStop>(&command)) {
      EXPECT_TRUE(answered_.insert(c->call).second) << "answered twice";
    } else if (const auto* c = std::get_if<SaveJob>(&command)) {
      const std::string& status = c->row.status();
      if (status == "queued" || status == "running") {
        EXPECT_EQ(over_.count(c->row.id()), 0u) << c->row.id() << " came back to life";
      } else {
        EXPECT_TRUE(over_.insert(c->row.id()).second) << c->row.id() << " ended twice";
      }
    }
  }

  void CheckPromises() {
    EXPECT_EQ(answered_.size(), next_call_ - 1) << "every stop is answered at once";
    std::set<std::string> names;
    std::map<std::string, std::set<uint32_t>> stages;
    for (const v1::WorkerRow& row : c_.state.Workers(c_.now())) {
      EXPECT_TRUE(names.insert(row.info().name()).second);
      EXPECT_EQ(row.state() == "busy", !row.job_id().empty());
      EXPECT_LE(row.last_heartbeat_age_us(), 3 * kTestSecondUs);
      for (uint32_t stage : row.stages()) {
        EXPECT_TRUE(stages[row.job_id()].insert(stage).second) << "a stage at two workers";
      }
    }
    size_t open = 0;
    for (const v1::JobRow& row : c_.state.Jobs()) {
      const bool is_open = row.status() == "queued" || row.status() == "running";
      open += is_open;
      EXPECT_EQ(is_open, row.ended_unix_us() == 0) << row.id();
    }
    EXPECT_EQ(open, clients_.size()) << "an open job is one client's stream, and the reverse";
  }

  StreamId PickOf(const std::set<StreamId>& streams) {
    if (streams.empty()) return 0;
    return *std::next(streams.begin(), static_cast<int64_t>(rng_.NextBelow(streams.size())));
  }

  CounterRng rng_;
  TestCluster c_;
  std::set<StreamId> workers_, clients_;  // open streams
  std::map<StreamId, std::set<std::string>> held_;
  std::set<uint64_t> answered_;
  std::set<std::string> over_;
  StreamId next_stream_ = 1;
  uint64_t next_call_ = 1;
  int64_t jobs_ = 0;
  int planned_ = 0;
  std::ostringstream log_;
};

TEST(StateRandom, PromisesHoldInAnyOrderOfEvents) {
  int planned = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RandomLife life(seed);
    life.Run(400);
    planned += life.planned();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(planned, 500) << "lives in which nothing happens prove nothing";
}

TEST(StateRandom, TheSameLifeTwiceIsTheSame) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    RandomLife first(seed), second(seed);
    first.Run(400);
    second.Run(400);
    EXPECT_TRUE(first.log() == second.log()) << "seed " << seed;
    EXPECT_FALSE(first.log().empty());
  }
}

}  // namespace
}  // namespace isthmus
