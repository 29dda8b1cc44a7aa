// Room for codec stores: what counts, where it is looked for, and that asking makes nothing.
#include "client/plan_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kMapped[] = "aqsgd(bits=4,store=mmap)";

ModelConfig Config() {
  ModelConfig config;
  config.num_layers = 8;
  config.hidden_size = 1024;
  return config;
}

DataFacts Data(int64_t windows, int64_t tokens) {
  DataFacts data;
  data.num_windows = windows;
  data.max_window_tokens = tokens;
  data.total_steps = windows;
  return data;
}

absl::StatusOr<Codec::StateSize> Check(const std::string& codec, const DataFacts& data,
                                       const StorePlace& place) {
  return CheckStores({codec, "int8", "", false}, Config(), data, place);
}

Job SmallJob() {
  Job job;
  job.output = "somewhere/run";
  job.cluster.workers = 3;
  job.pipeline.stages = 0;
  job.split.head_layers = job.split.tail_layers = 1;
  job.split.labels = LabelsAt::kClient;
  return job;
}

TEST(StoresHere, AnEmbeddedClustersWorkersCountToo) {
  Job job = SmallJob();
  EXPECT_EQ(StoresHere(job, Config(), /*embedded=*/false).ends, 2);
  EXPECT_EQ(StoresHere(job, Config(), /*embedded=*/true).ends, 2 * 4);  // client, 3 workers, client
  job.split.labels = LabelsAt::kServer;
  EXPECT_EQ(StoresHere(job, Config(), false).ends, 1);
  EXPECT_EQ(StoresHere(job, Config(), true).ends, 2 * 3);
  job.cluster.workers = 30;  // at most one a block
  EXPECT_EQ(StoresHere(job, Config(), true).ends, 2 * 6);
  job.pipeline.stages = 2;
  EXPECT_EQ(StoresHere(job, Config(), true).ends, 2 * 2);
  EXPECT_EQ(StoresHere(job, Config(), true).folder, "somewhere/run/state");
}

TEST(CheckStores, EveryEndIsCounted) {
  const StorePlace one{1, ::testing::TempDir()}, six{6, ::testing::TempDir()};
  for (const char* codec : {kMapped, "aqsgd(bits=4,store=ram)"}) {
    const auto small = Check(codec, Data(10, 16), one), large = Check(codec, Data(10, 16), six);
    ASSERT_TRUE(small.ok() && large.ok()) << small.status() << large.status();
    EXPECT_GT(small->ram_bytes, 0);
    EXPECT_EQ(large->ram_bytes, 6 * small->ram_bytes);
    EXPECT_EQ(large->file_bytes, 6 * small->file_bytes);
    EXPECT_EQ(small->file_bytes > 0, codec == kMapped);
  }
}

// One end has room, four have not.
TEST(CheckStores, FilesThatDoNotFitTogetherAreRefused) {
  const auto one_window = Check(kMapped, Data(1, 1 << 12), {1, ::testing::TempDir()});
  ASSERT_TRUE(one_window.ok()) << one_window.status();
  const auto free = static_cast<int64_t>(fs::space(::testing::TempDir()).available);
  const int64_t windows = free / one_window->file_bytes / 2;
  if (windows == 0) GTEST_SKIP() << "the temporary folder has hardly any room";
  EXPECT_TRUE(Check(kMapped, Data(windows, 1 << 12), {1, ::testing::TempDir()}).ok());
  const auto four = Check(kMapped, Data(windows, 1 << 12), {4, ::testing::TempDir()});
  EXPECT_EQ(four.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(four.status().message(), HasSubstr("4 stores"));
}

TEST(CheckStores, TheFileSystemOfTheFolderIsAskedAndNothingIsMade) {
  const std::string folder = ::testing::TempDir() + "/no-such-run/state";
  ASSERT_TRUE(Check(kMapped, Data(10, 16), {2, folder}).ok());
  EXPECT_FALSE(fs::exists(fs::path(folder).parent_path()));
  // No file fits there, and memory is another matter.
  const auto full = Check(kMapped, Data(10, 16), {2, "/proc/no-such-run/state"});
  EXPECT_EQ(full.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(full.status().message(), HasSubstr("/proc/no-such-run/state"));
  EXPECT_TRUE(Check("aqsgd(bits=4,store=ram)", Data(10, 16), {2, "/proc/no-such-run/state"}).ok());
}

TEST(CheckStores, MemoryThatDoesNotFitIsRefused) {
  const auto huge =
      Check("aqsgd(bits=4,store=ram)", Data(1 << 30, 1 << 12), {2, ::testing::TempDir()});
  EXPECT_EQ(huge.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(huge.status().message(), HasSubstr("store=mmap"));
}

}  // namespace
}  // namespace isthmus
