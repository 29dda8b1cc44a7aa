// Fixtures over the built program: a folder of its own, a small job, and a cluster of separate
// processes.
#ifndef ISTHMUS_TESTS_E2E_PROGRAM_FIXTURE_H_
#define ISTHMUS_TESTS_E2E_PROGRAM_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/child.h"
#include "tests/e2e/free_port.h"

namespace isthmus::e2e {

using Words = std::vector<std::string>;

class IsthmusTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // gRPC must never go through a proxy: every process is told of one at a dead port.
  std::unique_ptr<Child> Start(const Words& arguments);
  // A job over the shipped story model; `rest` is more YAML.
  std::string Job(const std::string& codec, int steps, const std::string& rest = "");
  std::string Run(const std::string& file) const { return folder_ + "/run/" + file; }
  int StepsDone() const { return LineCount(FileText(Run("steps.jsonl"))); }
  Words Losses() const;  // of every step, as it was printed

  std::string folder_;
};

// One line on standard error, in the form that every error has.
void ExpectOneError(const Child& child, const std::string& about);

// A coordinator and workers as processes of their own.
class ClusterTest : public IsthmusTest {
 protected:
  void StartCoordinator(const std::string& host, const Words& security);
  // Once more at the same ports, with the same history.
  void StartCoordinatorAgain() { coordinator_ = Start(coordinator_words_); }
  std::unique_ptr<Child> StartWorker(const std::string& name, const Words& more,
                                     int port = FreePort());
  std::unique_ptr<Child> Train(const std::string& job, Words more);
  std::string Coordinator() const { return "127.0.0.1:" + std::to_string(grpc_); }

  int grpc_ = 0, http_ = 0;
  Words coordinator_words_;
  std::unique_ptr<Child> coordinator_;
};

}  // namespace isthmus::e2e

#endif  // ISTHMUS_TESTS_E2E_PROGRAM_FIXTURE_H_
