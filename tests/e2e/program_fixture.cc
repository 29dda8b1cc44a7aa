#include "tests/e2e/program_fixture.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "nlohmann/json.hpp"

namespace isthmus::e2e {
namespace {

namespace fs = std::filesystem;

const Words kDeadProxy = {"http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9",
                          "no_proxy="};

std::string Local(int port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace

void IsthmusTest::SetUp() {
  std::string name = fs::path(::testing::TempDir()) / "isthmus-e2e-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  folder_ = name;
}

void IsthmusTest::TearDown() {
  if (!HasFailure()) fs::remove_all(folder_);
}

std::unique_ptr<Child> IsthmusTest::Start(const Words& arguments) {
  return std::make_unique<Child>(ISTHMUS_PROGRAM, arguments, folder_, kDeadProxy);
}

std::string IsthmusTest::Job(const std::string& codec, int steps, const std::string& rest) {
  const std::string examples = ISTHMUS_SOURCE_DIR "/examples";
  const std::string path = folder_ + "/job.yaml";
  std::ofstream(path) << "model: " << examples << "/stories260K\ndata:\n  train: " << examples
                      << "/shakespeare/eval.txt\n  sequence_length: 16\n  pack: true\n"
                      << "train:\n  steps: " << steps
                      << "\n  micro_batch_size: 2\n  micro_batches: 2\n  seed: 7\n"
                      << "  optimizer: {name: sgd, lr: 0.1}\ncodec: \"" << codec
                      << "\"\noutput: run\n"
                      << rest;
  return path;
}

Words IsthmusTest::Losses() const {
  Words losses;
  std::istringstream lines(FileText(Run("steps.jsonl")));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json step = nlohmann::json::parse(line, nullptr, false);
    losses.push_back(step.is_object() && step.contains("loss") ? step["loss"].dump() : line);
  }
  return losses;
}

void ExpectOneError(const Child& child, const std::string& about) {
  const std::string error = child.Error();
  EXPECT_EQ(LineCount(error), 1) << error;
  EXPECT_THAT(error, ::testing::StartsWith("isthmus: "));
  EXPECT_THAT(error, ::testing::HasSubstr(about));
  EXPECT_EQ(child.Out(), "");
}

void ClusterTest::StartCoordinator(const std::string& host, const Words& security) {
  grpc_ = FreePort();
  http_ = FreePort();
  coordinator_words_ = {"coordinator",
                        "--listen",
                        host + ":" + std::to_string(grpc_),
                        "--http",
                        Local(http_),
                        "--state",
                        folder_ + "/coordinator"};
  coordinator_words_.insert(coordinator_words_.end(), security.begin(), security.end());
  coordinator_ = Start(coordinator_words_);
}

std::unique_ptr<Child> ClusterTest::StartWorker(const std::string& name, const Words& more,
                                                int port) {
  Words words = {"worker",    "--coordinator",   Coordinator(), "--listen", Local(port),
                 "--metrics", Local(FreePort()), "--name",      name};
  words.insert(words.end(), more.begin(), more.end());
  return Start(words);
}

std::unique_ptr<Child> ClusterTest::Train(const std::string& job, Words more) {
  more.insert(more.begin(), {"train", job, "--quiet", "--coordinator", Coordinator()});
  return Start(more);
}

}  // namespace isthmus::e2e
