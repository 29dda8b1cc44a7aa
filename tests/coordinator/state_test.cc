#include "coordinator/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/state_fixture.h"

namespace isthmus {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// ---- workers

TEST(StateWorkers, AHelloIsWelcomedAndTheFirstHeartbeatMakesItReady) {
  TestCluster c;
  c.Hello(1, TestCluster::Info("a"));
  ASSERT_THAT(c.boxes.workers[1], SizeIs(1));
  EXPECT_EQ(c.boxes.workers[1][0].welcome().heartbeat_us(), kTestSecondUs);
  c.Submit(10, TestCluster::Request(1));
  EXPECT_THAT(c.boxes.workers[1], SizeIs(1));  // nothing before it said what it holds
  c.Beat(1);
  ASSERT_THAT(c.boxes.workers[1], SizeIs(2));
  EXPECT_TRUE(c.boxes.workers[1][1].has_prepare());
}

TEST(StateWorkers, RefusalsSayWhatWasExpected) {
  TestCluster c;
  v1::WorkerInfo wire = TestCluster::Info("a");
  wire.set_wire_version(8);
  c.Hello(1, wire);
  EXPECT_EQ(c.boxes.workers[1][0].refusal().reason(),
            "wire version: expected 7 (coordinator 1.0), got 8 (worker a, 1.0)");
  EXPECT_THAT(c.boxes.closed, SizeIs(1));
  for (const std::string& name : {std::string(), std::string("a b"), std::string(65, 'x'),
                                  std::string("<script>"), std::string("a\n")}) {
    c.Hello(2, TestCluster::Info(name));
    EXPECT_THAT(c.boxes.workers[2].back().refusal().reason(), HasSubstr("worker name"));
  }
  v1::WorkerInfo nowhere = TestCluster::Info("a");
  nowhere.clear_address();
  c.Hello(3, nowhere);
  EXPECT_THAT(c.boxes.workers[3][0].refusal().reason(), HasSubstr("worker address"));
  EXPECT_THAT(c.state.Workers(c.now()), SizeIs(0));
}

TEST(StateWorkers, ALiveNameIsTakenADeadOneIsReplaced) {
  TestCluster c;
  c.Join(1, "a");
  c.Hello(2, TestCluster::Info("a"));
  EXPECT_THAT(c.boxes.workers[2][0].refusal().reason(), HasSubstr("(--name)"));
  c.Do(WorkerStreamEnded{1});
  EXPECT_EQ(c.WorkerState("a"), "none");
  c.Join(3, "a");
  EXPECT_EQ(c.WorkerState("a"), "ready");
}

TEST(StateWorkers, ThreeMissedHeartbeatsAreTooMany) {
  TestCluster c;
  c.Join(1, "a");
  c.Pass(3 * kTestSecondUs);
  EXPECT_EQ(c.WorkerState("a"), "ready");
  c.Pass(1);
  EXPECT_EQ(c.WorkerState("a"), "none");
  EXPECT_EQ(c.boxes.closed.at(1).code(), absl::StatusCode::kUnavailable);
}

TEST(StateWorkers, ThereAreNoMoreThanTheLimit) {
  StateOptions options = TestCluster::Options();
  options.max_workers = 1;
  TestCluster c(options);
  c.Join(1, "a");
  c.Hello(2, TestCluster::Info("b"));
  EXPECT_THAT(c.boxes.workers[2][0].refusal().reason(), HasSubstr("at most 1"));
}

TEST(StateWorkers, ProtocolErrorsCloseTheStream) {
  TestCluster c;
  c.Beat(1);  // before any hello
  EXPECT_EQ(c.boxes.closed.at(1).code(), absl::StatusCode::kInvalidArgument);
  c.Join(2, "a");
  c.Hello(2, TestCluster::Info("a"));  // twice
  EXPECT_EQ(c.boxes.closed.at(2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(c.WorkerState("a"), "none");
}

TEST(StateWorkers, ADrainingWorkerGetsNoNewJobAndKeepsItsOwn) {
  TestCluster c;
  c.Join(1, "a");
  c.Submit(10, TestCluster::Request(1));
  c.Prepared(1, "job-1");
  c.Drain(1);
  EXPECT_EQ(c.WorkerState("a"), "draining");
  EXPECT_EQ(c.Job("job-1").status(), "running");
  c.Finish(10, "completed");
  c.Ended(1, "job-1");
  c.Submit(11, TestCluster::Request(1));
  EXPECT_EQ(c.Job("job-2").status(), "queued");
}

TEST(StateWorkers, RowsShowStagesAndAge) {
  TestCluster c;
  c.RunJobOnTwo();
  c.now_us += 250'000;
  const auto rows = c.state.Workers(c.now());
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[1].info().name(), "b");
  EXPECT_EQ(rows[1].state(), "busy");
  EXPECT_EQ(rows[1].job_id(), "job-1");
  EXPECT_THAT(rows[1].stages(), ElementsAre(2u));
  EXPECT_EQ(rows[1].last_heartbeat_age_us(), 250'000);
  EXPECT_EQ(rows[1].memory_bytes(), 100);
}

// ---- a job's way

TEST(StateJobs, APlanIsPreparedEverywhereBeforeTheClientGetsIt) {
  TestCluster c;
  c.Join(1, "a");
  c.Join(2, "b");
  c.Submit(10, TestCluster::Request(2));
  ASSERT_TRUE(c.boxes.workers[1].back().has_prepare());
  EXPECT_EQ(c.boxes.workers[1].back().prepare().party(), 1u);
  EXPECT_EQ(c.boxes.workers[2].back().prepare().party(), 2u);
  EXPECT_EQ(c.boxes.workers[2].back().prepare().token(), "token-10");
  c.Prepared(1, "job-1");
  EXPECT_FALSE(c.Planned(10));
  c.Prepared(2, "job-1", 2);  // of another generation
  c.Prepared(2, "job-9");
  EXPECT_FALSE(c.Planned(10));
  EXPECT_EQ(c.Job("job-1").status(), "queued");
  c.Prepared(2, "job-1");
  EXPECT_TRUE(c.Planned(10));
  EXPECT_EQ(c.boxes.clients[10].back().planned().token(), "token-10");
  EXPECT_EQ(c.boxes.clients[10].back().planned().plan().parties_size(), 3);
  EXPECT_EQ(c.Job("job-1").status(), "running");
  EXPECT_THAT(c.Job("job-1").workers(), ElementsAre("a", "b"));
}

TEST(StateJobs, ACompletedJobFreesItsWorkersWhenTheySaySo) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Progress(10, 42);
  c.Ended(1, "job-1");  // the client told its workers before the coordinator
  EXPECT_EQ(c.WorkerState("a"), "ready");
  EXPECT_EQ(c.Job("job-1").status(), "running");
  c.Finish(10, "completed");
  EXPECT_EQ(c.Job("job-1").status(), "completed");
  EXPECT_EQ(c.Job("job-1").step(), 42);
  EXPECT_GT(c.Job("job-1").ended_unix_us(), 0);
  EXPECT_TRUE(c.boxes.closed.at(10).ok());
  EXPECT_EQ(c.WorkerState("b"), "busy");
  EXPECT_EQ(c.StopReason(2, "job-1"), "");
  c.Ended(2, "job-1");
  EXPECT_EQ(c.WorkerState("b"), "ready");
  EXPECT_THAT(c.boxes.forgotten, ElementsAre("job-1"));
  EXPECT_EQ(c.boxes.saved.back().status(), "completed");
}

TEST(StateJobs, AWorkerThatDoesNotLetGoIsTold) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Finish(10, "completed");
  c.Pass(6 * kTestSecondUs, {1, 2});
  EXPECT_EQ(c.StopReason(1, "job-1"), "the job is over");
  EXPECT_EQ(c.WorkerState("a"), "busy");
  c.Beat(1);  // no longer names it, though its word was lost
  EXPECT_EQ(c.WorkerState("a"), "ready");
}

TEST(StateJobs, AnUnknownEndCountsAsFailed) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Finish(10, "splendid");
  EXPECT_EQ(c.Job("job-1").status(), "failed");
  EXPECT_THAT(c.StopReason(1, "job-1"), HasSubstr("splendid"));
}

TEST(StateJobs, TooFewWorkersQueueWithANoticeThenEnd) {
  TestCluster c;
  c.Join(1, "a");
  c.Submit(10, TestCluster::Request(2, 5));
  EXPECT_EQ(c.LastNotice(10), "job-1: queued: expected 2 ready workers, got 1");
  c.Pass(5 * kTestSecondUs, {1});
  EXPECT_EQ(c.Job("job-1").status(), "queued");
  c.Pass(kTestSecondUs, {1});
  EXPECT_EQ(c.Stopped(10).first, v1::JobStopped::NO_WORKERS);
  EXPECT_EQ(c.Job("job-1").status(), "failed");
  EXPECT_EQ(c.WorkerState("a"), "ready");
}

TEST(StateJobs, ALateWorkerStartsAQueuedJob) {
  TestCluster c;
  c.Submit(10, TestCluster::Request(0));
  EXPECT_THAT(c.LastNotice(10), HasSubstr("expected 1 or more ready worker, got 0"));
  c.Pass(2 * kTestSecondUs);
  c.Join(1, "a");
  EXPECT_TRUE(c.boxes.workers[1].back().has_prepare());
}

TEST(StateJobs, AZeroWaitStillTriesOnce) {
  TestCluster c;
  c.Join(1, "a");
  c.Submit(10, TestCluster::Request(1, 0));
  EXPECT_TRUE(c.boxes.workers[1].back().has_prepare());
  c.Submit(11, TestCluster::Request(1, -5));
  c.Pass(1, {1});
  EXPECT_EQ(c.Stopped(11).first, v1::JobStopped::NO_WORKERS);
}

TEST(StateJobs, ASecondJobOnBusyWorkersQueuesAndSaysSo) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Submit(11, TestCluster::Request(1));
  EXPECT_EQ(c.LastNotice(11),
            "job-2: queued: expected 1 ready worker, got 0 (busy: a with job-1, b with job-1)");
  c.Finish(10, "completed");
  c.Ended(2, "job-1");
  EXPECT_EQ(c.boxes.workers[2].back().prepare().plan().job_id(), "job-2");
}

TEST(StateJobs, IdleWorkersAreNamed) {
  TestCluster c;
  c.Join(1, "a");
  c.Join(2, "b");
  c.Join(3, "c");
  c.Submit(10, TestCluster::Request(2));
  EXPECT_EQ(c.LastNotice(10), "job-1: 2 of 3 ready workers run this job; idle: c");
}

TEST(StateJobs, FirstComeFirstServedAmongJobsThatCanRun) {
  TestCluster c;
  c.Join(1, "a");
  c.Join(2, "b");
  c.Submit(10, TestCluster::Request(1));  // job-1 takes a
  c.Submit(11, TestCluster::Request(5));  // job-2 wants more than there are: holds nobody up
  c.Submit(12, TestCluster::Request(2));  // job-3 could run when a is free: b is kept for it
  c.Submit(13, TestCluster::Request(1));  // job-4 waits behind it
  EXPECT_EQ(c.WorkerState("b"), "ready");
  c.Prepared(1, "job-1");
  c.Finish(10, "completed");
  c.Ended(1, "job-1");
  EXPECT_EQ(c.boxes.workers[2].back().prepare().plan().job_id(), "job-3");
  EXPECT_EQ(c.Job("job-4").status(), "queued");
}

TEST(StateJobs, PlannerRefusals) {
  TestCluster c;
  c.Join(1, "a");
  v1::PlanRequest request = TestCluster::Request(1, 5);
  request.set_schedule("impossible");
  c.Submit(10, request);
  EXPECT_EQ(c.Stopped(10),
            std::make_pair(int{v1::JobStopped::IMPOSSIBLE}, std::string("schedule: no")));
  request.set_schedule("few");
  c.Submit(11, request);
  EXPECT_THAT(c.LastNotice(11), HasSubstr("more, please"));
  c.Pass(6 * kTestSecondUs, {1});
  EXPECT_EQ(c.Stopped(11).first, v1::JobStopped::NO_WORKERS);
  request.set_schedule("stranger");
  c.Submit(12, request);
  EXPECT_EQ(c.Stopped(12).first, v1::JobStopped::UNKNOWN);
  EXPECT_EQ(c.WorkerState("a"), "ready");
}

TEST(StateJobs, RequestsThatCannotBe) {
  TestCluster c;
  v1::PlanRequest request = TestCluster::Request(1);
  request.set_wire_version(6);
  c.Submit(10, request);
  EXPECT_EQ(c.Stopped(10), std::make_pair(int{v1::JobStopped::IMPOSSIBLE},
                                          std::string("wire version: expected 7 (coordinator "
                                                      "1.0), got 6 (client, 1.0)")));
  c.Submit(11, TestCluster::Request(-1));
  EXPECT_THAT(c.Stopped(11).second, HasSubstr("pipeline.stages"));
  EXPECT_THAT(c.state.Jobs(), SizeIs(0));
}

TEST(StateJobs, TooManyOpenJobsAreRefused) {
  StateOptions options = TestCluster::Options();
  options.max_open_jobs = 1;
  TestCluster c(options);
  c.Submit(10, TestCluster::Request(1));
  c.Submit(11, TestCluster::Request(1));
  EXPECT_EQ(c.Stopped(11).first, v1::JobStopped::NO_WORKERS);
}

TEST(StateJobs, OldJobsAreForgotten) {
  StateOptions options = TestCluster::Options();
  options.max_ended_jobs = 2;
  TestCluster c(options);
  for (StreamId client = 10; client < 15; ++client) {
    c.Submit(client, TestCluster::Request(1));
    c.Do(ClientStreamEnded{client});
  }
  ASSERT_THAT(c.state.Jobs(), SizeIs(2));
  EXPECT_EQ(c.state.Jobs()[0].id(), "job-4");
}

TEST(StateJobs, ASecondSubmitOnAStreamEndsTheFirst) {
  TestCluster c;
  c.Submit(10, TestCluster::Request(1));
  c.Submit(10, TestCluster::Request(1));
  EXPECT_EQ(c.Job("job-1").status(), "failed");
  EXPECT_THAT(c.boxes.closed, SizeIs(1));
  c.Progress(11, 1);
  EXPECT_EQ(c.boxes.closed.at(11).code(), absl::StatusCode::kInvalidArgument);
}

TEST(StateJobs, ProgressIsSavedNowAndThen) {
  TestCluster c;
  c.RunJobOnTwo();
  const size_t before = c.boxes.saved.size();
  for (int step = 1; step <= 25; ++step) {
    c.Pass(kTestSecondUs, {1, 2});
    c.Progress(10, step);
  }
  EXPECT_EQ(c.boxes.saved.size(), before + 2);
  EXPECT_EQ(c.Job("job-1").step(), 25);
}

// ---- losses

TEST(StateLosses, ASilentWorkerEndsItsJobByName) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Pass(4 * kTestSecondUs, {1});
  const auto [cause, message] = c.Stopped(10);
  EXPECT_EQ(cause, v1::JobStopped::WORKER_LOST);
  EXPECT_THAT(message, AllOf(HasSubstr("worker b at b:7601 was lost"), HasSubstr("no heartbeat")));
  EXPECT_EQ(c.Job("job-1").status(), "failed");
  EXPECT_EQ(c.StopReason(1, "job-1"), message);
  c.Ended(1, "job-1", false, "stopped");
  EXPECT_EQ(c.WorkerState("a"), "ready");
}

TEST(StateLosses, AShortBreakCostsNothing) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Do(WorkerStreamEnded{2});
  c.Pass(2 * kTestSecondUs, {1});
  c.Hello(3, TestCluster::Info("b"));
  c.Beat(3, {"job-1"});
  c.Pass(10 * kTestSecondUs, {1});
  EXPECT_EQ(c.Job("job-1").status(), "failed");  // only because it beats no more
  TestCluster d;
  d.RunJobOnTwo();
  d.Do(WorkerStreamEnded{2});
  d.Hello(3, TestCluster::Info("b"));
  d.jobs_of[3] = {"job-1"};
  d.Beat(3, {"job-1"});
  d.Pass(10 * kTestSecondUs, {1, 3});
  EXPECT_EQ(d.Job("job-1").status(), "running");
  EXPECT_EQ(d.Stopped(10).first, -1);
}

TEST(StateLosses, AProcessThatStartedAgainHasLostItsJob) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Do(WorkerStreamEnded{2});
  c.Join(3, "b");
  EXPECT_EQ(c.Stopped(10).first, v1::JobStopped::WORKER_LOST);
  EXPECT_EQ(c.WorkerState("b"), "ready");
}

TEST(StateLosses, TheSameNameFromElsewhereHasLostItsJob) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Do(WorkerStreamEnded{2});
  v1::WorkerInfo moved = TestCluster::Info("b");
  moved.set_address("elsewhere:7601");
  c.Hello(3, moved);
  EXPECT_EQ(c.Stopped(10).first, v1::JobStopped::WORKER_LOST);
  c.Beat(3);
  EXPECT_EQ(c.WorkerState("b"), "ready");
}

TEST(StateLosses, AWorkerThatCannotPrepareEndsTheJob) {
  TestCluster c;
  c.Join(1, "a");
  c.Submit(10, TestCluster::Request(1));
  c.Ended(1, "job-1", false, "no memory");
  EXPECT_EQ(c.Stopped(10), std::make_pair(int{v1::JobStopped::WORKER_LOST},
                                          std::string("worker a could not prepare the job: no "
                                                      "memory")));
}

TEST(StateLosses, AWorkerThatNeverPreparesEndsTheJob) {
  TestCluster c;
  c.Join(1, "a");
  c.Join(2, "b");
  c.Submit(10, TestCluster::Request(2));
  c.Prepared(1, "job-1");
  c.Pass(31 * kTestSecondUs, {1, 2});
  EXPECT_EQ(c.Stopped(10).second, "not prepared in time: worker b");
}

// The worker's own failure travels to the client on their link with its code; the coordinator
// speaks when the client does not.
TEST(StateLosses, AFailureInAStageWaitsForTheClientsWord) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Ended(2, "job-1", false, "NaN in the loss");
  EXPECT_EQ(c.Stopped(10).first, -1);
  c.Finish(10, "failed", "client's words");
  EXPECT_EQ(c.Job("job-1").message(), "client's words");

  TestCluster d;
  d.RunJobOnTwo();
  d.Ended(2, "job-1", false, "NaN in the loss");
  d.Pass(6 * kTestSecondUs, {1, 2});
  EXPECT_EQ(d.Stopped(10).second, "worker b ended the job: NaN in the loss");
}

TEST(StateLosses, AClientThatGoesStopsItsWorkers) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Do(ClientStreamEnded{10});
  EXPECT_EQ(c.Job("job-1").status(), "failed");
  EXPECT_EQ(c.StopReason(1, "job-1"), "the client is gone");
  EXPECT_EQ(c.StopReason(2, "job-1"), "the client is gone");
}

TEST(StateLosses, AWorkerThatLeftInOrderIsNotMissed) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Ended(2, "job-1");
  c.Do(WorkerStreamEnded{2});
  EXPECT_EQ(c.Job("job-1").status(), "running");
  EXPECT_EQ(c.WorkerState("b"), "none");
}

// ---- stops

TEST(StateStops, ARunningJobsClientGetsTimeForItsCheckpoint) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Do(StopAsked{1, ""});
  EXPECT_EQ(*c.boxes.answers.at(1), "job-1");
  EXPECT_EQ(c.Stopped(10).first, v1::JobStopped::STOPPED_BY_USER);
  EXPECT_EQ(c.StopReason(1, "job-1"), "");
  c.Pass(10 * kTestSecondUs, {1, 2});
  EXPECT_EQ(c.Job("job-1").status(), "running");
  c.Finish(10, "interrupted");
  EXPECT_EQ(c.Job("job-1").status(), "interrupted");
}

TEST(StateStops, AClientThatDoesNotObeyIsEnded) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Do(StopAsked{1, "job-1"});
  c.Pass(301 * kTestSecondUs, {1, 2});
  EXPECT_EQ(c.Job("job-1").status(), "interrupted");
  EXPECT_THAT(c.StopReason(1, "job-1"), HasSubstr("did not finish in time"));
}

TEST(StateStops, AskedTwiceItEndsAtOnce) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Do(StopAsked{1, "job-1"});
  EXPECT_EQ(c.Job("job-1").status(), "running");
  c.Do(StopAsked{2, "job-1"});
  EXPECT_TRUE(c.boxes.answers.at(2).ok());
  EXPECT_EQ(c.Job("job-1").status(), "interrupted");
  EXPECT_EQ(c.StopReason(1, "job-1"), "stopped by isthmus stop");
}

TEST(StateStops, AQueuedJobJustEnds) {
  TestCluster c;
  c.Submit(10, TestCluster::Request(1));
  c.Do(StopAsked{1, "job-1"});
  EXPECT_EQ(c.Job("job-1").status(), "interrupted");
  EXPECT_TRUE(c.boxes.closed.at(10).ok());
}

TEST(StateStops, WhichJob) {
  TestCluster c;
  c.Do(StopAsked{1, ""});
  EXPECT_EQ(c.boxes.answers.at(1).status().code(), absl::StatusCode::kNotFound);
  c.Submit(10, TestCluster::Request(1));
  c.Submit(11, TestCluster::Request(1));
  c.Do(StopAsked{2, ""});
  EXPECT_THAT(std::string(c.boxes.answers.at(2).status().message()),
              HasSubstr("(open are job-1, job-2)"));
  c.Do(StopAsked{3, "job-2"});
  c.Do(StopAsked{4, "job-2"});
  EXPECT_THAT(std::string(c.boxes.answers.at(4).status().message()),
              HasSubstr("which is interrupted"));
  for (const char* id : {"job-9", "2", "job-", "job-1x", "job--1"}) {
    c.boxes.answers.clear();
    c.Do(StopAsked{5, id});
    EXPECT_EQ(c.boxes.answers.at(5).status().code(), absl::StatusCode::kNotFound) << id;
  }
}

TEST(StateStops, DrainingAsksRunningJobsEndsWaitingOnesTakesNoNew) {
  TestCluster c;
  c.RunJobOnTwo();
  c.Submit(11, TestCluster::Request(1));
  c.Do(DrainRequested{});
  EXPECT_EQ(c.Stopped(10).first, v1::JobStopped::DRAINING);
  EXPECT_EQ(c.Stopped(11).first, v1::JobStopped::DRAINING);
  EXPECT_EQ(c.Job("job-2").status(), "interrupted");
  EXPECT_TRUE(c.state.HasOpenJobs());
  c.Finish(10, "interrupted");
  EXPECT_FALSE(c.state.HasOpenJobs());
  c.Submit(12, TestCluster::Request(1));
  EXPECT_EQ(c.Stopped(12).first, v1::JobStopped::DRAINING);
  c.Hello(3, TestCluster::Info("c"));
  EXPECT_EQ(c.boxes.closed.at(3).code(), absl::StatusCode::kUnavailable);
}

// ---- restarts

TEST(StateRestarts, OpenJobsOfAnEarlierLifeHaveFailed) {
  TestCluster c;
  v1::JobRow done, running;
  done.set_id("job-3");
  done.set_status("completed");
  running.set_id("job-4");
  running.set_status("running");
  const auto failed = c.state.Restore({done, running}, 5, c.now());
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_EQ(failed[0].id(), "job-4");
  EXPECT_EQ(failed[0].status(), "failed");
  EXPECT_EQ(c.Job("job-3").status(), "completed");
  c.Submit(10, TestCluster::Request(1));
  EXPECT_EQ(c.state.Jobs().back().id(), "job-5");
}

TEST(StateRestarts, AWorkerHoldingAJobOfAnEarlierLifeLetsGoFirst) {
  TestCluster c;
  c.Hello(1, TestCluster::Info("a"));
  c.Beat(1, {"job-77"});
  EXPECT_THAT(c.StopReason(1, "job-77"), HasSubstr("does not know this job"));
  c.Submit(10, TestCluster::Request(1));
  EXPECT_EQ(c.Job("job-1").status(), "queued");
  EXPECT_FALSE(c.boxes.workers[1].back().has_prepare());
  c.Ended(1, "job-77");
  EXPECT_TRUE(c.boxes.workers[1].back().has_prepare());
}

}  // namespace
}  // namespace isthmus
