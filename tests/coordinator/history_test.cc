#include "coordinator/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

namespace isthmus {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class HistoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/history_" + std::to_string(getpid()) + "_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/coordinator.db"; }
  void Execute(const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path().c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
  }

  std::string folder_;
};

v1::JobRow Row(const std::string& id, const std::string& status) {
  v1::JobRow row;
  row.set_id(id);
  row.set_name("it's \"quoted\"; DROP TABLE jobs");
  row.set_status(status);
  row.set_step(3);
  row.set_total_steps(10);
  row.set_loss(1.25);
  row.set_tokens_per_s(100);
  row.set_wire_bytes(int64_t{1} << 40);
  row.set_message("a message");
  row.add_workers("a");
  row.add_workers("b");
  row.set_submitted_unix_us(123);
  row.set_ended_unix_us(456);
  return row;
}

TEST_F(HistoryTest, RowsOutliveTheProcess) {
  {
    auto history = History::Open(folder_);
    ASSERT_TRUE(history.ok()) << history.status();
    EXPECT_EQ(*(*history)->NextJob(), 1);
    ASSERT_TRUE((*history)->SaveJob(Row("job-1", "running")).ok());
    ASSERT_TRUE((*history)->SaveJob(Row("job-10", "queued")).ok());
    ASSERT_TRUE((*history)->SaveJob(Row("job-1", "completed")).ok());
    ASSERT_TRUE((*history)->SaveEvent(5, "job-1", "text").ok());
  }
  auto history = History::Open(folder_);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(*(*history)->NextJob(), 11);
  const auto rows = (*history)->NewestJobs(5);
  ASSERT_TRUE(rows.ok());
  ASSERT_THAT(*rows, SizeIs(2));
  EXPECT_EQ((*rows)[0].SerializeAsString(), Row("job-1", "completed").SerializeAsString());
  EXPECT_EQ((*rows)[1].id(), "job-10");
  EXPECT_THAT(*(*history)->NewestJobs(1), SizeIs(1));
}

TEST_F(HistoryTest, ALossThatIsNotANumberIsKeptAsNone) {
  auto history = History::Open(folder_);
  ASSERT_TRUE(history.ok()) << history.status();
  v1::JobRow row = Row("job-1", "failed");
  row.set_loss(std::nan(""));
  EXPECT_TRUE((*history)->SaveJob(row).ok());
  EXPECT_EQ((*(*history)->NewestJobs(1))[0].loss(), 0);
}

TEST_F(HistoryTest, ASecondCoordinatorIsRefused) {
  auto first = History::Open(folder_);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE((*first)->SaveJob(Row("job-1", "running")).ok());
  const auto second = History::Open(folder_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another coordinator"));
}

TEST_F(HistoryTest, AnotherSchemaIsRefused) {
  ASSERT_TRUE(History::Open(folder_).ok());
  Execute("PRAGMA user_version = 99");
  const auto history = History::Open(folder_);
  EXPECT_EQ(history.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(history.status().message()),
              HasSubstr("expected schema version 1, got 99"));
}

TEST_F(HistoryTest, DamageIsReportedAndTheFileLeftAlone) {
  std::filesystem::create_directories(folder_);
  const std::string garbage(8192, 'x');
  std::ofstream(path()) << garbage;
  const auto history = History::Open(folder_);
  EXPECT_EQ(history.status().code(), absl::StatusCode::kDataLoss) << history.status();
  std::ifstream in(path());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), garbage);
}

TEST_F(HistoryTest, ATornPageIsReported) {
  {
    auto history = History::Open(folder_);
    ASSERT_TRUE(history.ok()) << history.status();
    for (int i = 1; i < 200; ++i) {
      ASSERT_TRUE((*history)->SaveJob(Row("job-" + std::to_string(i), "completed")).ok());
    }
  }
  std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(2 * 4096);
  file << std::string(3 * 4096, '\xff');
  file.close();
  EXPECT_EQ(History::Open(folder_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(HistoryTest, AFolderThatCannotBeIsTheUsersMistake) {
  const auto history = History::Open("/dev/null/state");
  EXPECT_EQ(history.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(history.status().message()), HasSubstr("--state"));
}

}  // namespace
}  // namespace isthmus
