#include "client/cluster_child.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A child is this same test program: it runs one of the disabled tests below.
std::vector<std::string> Child(const std::string& name) {
  return {"--gtest_also_run_disabled_tests",
          absl::StrCat("--gtest_filter=ChildBody.DISABLED_", name)};
}

TEST(ChildBody, DISABLED_Ready) {
  ReportReady({.grpc = 1234, .http = 5678});
  ::pause();
}
TEST(ChildBody, DISABLED_Fails) {
  std::fputs("isthmus: --listen: the port is taken\n", stderr);
  ::_exit(2);
}
TEST(ChildBody, DISABLED_Silent) { ::pause(); }
TEST(ChildBody, DISABLED_Environment) {
  ReportReady({.grpc = std::getenv("ISTHMUS_MODEL") == nullptr ? 1 : 2,
               .http = std::getenv("OTHER_VARIABLE") != nullptr ? 1 : 2});
  ::pause();
}
// A parent of its own: starts a child, says its process id, waits to be killed.
TEST(ChildBody, DISABLED_Parent) {
  const std::string log = absl::StrCat("/tmp/cluster-child-", ::getpid(), ".log");
  auto child = *ChildProcess::Start("grandchild", Child("Ready"), log);
  ASSERT_TRUE(child->WaitReady(30).ok());
  fs::remove(log);
  ReportReady({.grpc = child->pid(), .http = 0});
  ::pause();
}

class ClusterChildTest : public ::testing::Test {
 protected:
  ClusterChildTest() {
    std::string pattern = (fs::temp_directory_path() / "cluster-child-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~ClusterChildTest() override { fs::remove_all(folder_); }
  std::unique_ptr<ChildProcess> Start(const std::string& name) {
    auto child = ChildProcess::Start("worker w0", Child(name), folder_ + "/log");
    EXPECT_TRUE(child.ok()) << child.status();
    return *std::move(child);
  }
  std::string folder_;
};

TEST_F(ClusterChildTest, SaysItsPorts) {
  auto child = Start("Ready");
  const auto ports = child->WaitReady(30);
  ASSERT_TRUE(ports.ok()) << ports.status();
  EXPECT_EQ(ports->grpc, 1234);
  EXPECT_EQ(ports->http, 5678);
  EXPECT_FALSE(child->Ended().has_value());
  child->Terminate();
  EXPECT_TRUE(child->WaitEnd(30));
  EXPECT_THAT(*child->Ended(), HasSubstr("signal 15"));
}

TEST_F(ClusterChildTest, DeathBeforeReadyIsSaidWithItsLastWords) {
  auto child = Start("Fails");
  const auto ports = child->WaitReady(30);
  EXPECT_EQ(ports.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(ports.status().message()), HasSubstr("worker w0"));
  EXPECT_THAT(std::string(ports.status().message()),
              HasSubstr("exit status 2, --listen: the port is taken"));
}

TEST_F(ClusterChildTest, SilenceEndsTheWait) {
  auto child = Start("Silent");
  EXPECT_EQ(child->WaitReady(0.05).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClusterChildTest, KilledChildIsNoticed) {
  auto child = Start("Ready");
  ASSERT_TRUE(child->WaitReady(30).ok());
  ::kill(child->pid(), SIGKILL);
  ASSERT_TRUE(child->WaitEnd(30));
  EXPECT_THAT(*child->Ended(), HasSubstr("signal 9"));
}

TEST_F(ClusterChildTest, OwnVariablesAreNotInherited) {
  ::setenv("ISTHMUS_MODEL", "x", 1);
  ::setenv("OTHER_VARIABLE", "x", 1);
  auto child = Start("Environment");
  ::unsetenv("ISTHMUS_MODEL");
  const auto ports = child->WaitReady(30);
  ASSERT_TRUE(ports.ok()) << ports.status();
  EXPECT_EQ(ports->grpc, 1);
  EXPECT_EQ(ports->http, 1);
}

// True once the process is gone or a zombie that nobody runs any more.
bool GoneWithin(pid_t pid, double seconds) {
  for (int i = 0; i < static_cast<int>(seconds * 100); ++i) {
    std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
    std::string line;
    if (!std::getline(stat, line)) return true;
    if (line.find(") Z ") != std::string::npos) return true;
    ::usleep(10'000);
  }
  return false;
}

TEST_F(ClusterChildTest, ChildDiesWithAParentThatIsKilled) {
  auto parent = Start("Parent");
  const auto ports = parent->WaitReady(60);
  ASSERT_TRUE(ports.ok()) << ports.status();
  const pid_t grandchild = ports->grpc;
  EXPECT_FALSE(GoneWithin(grandchild, 0.05));
  parent->Kill();
  EXPECT_TRUE(GoneWithin(grandchild, 30));
}

}  // namespace
}  // namespace isthmus
