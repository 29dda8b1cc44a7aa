#include "engine/torch/environment.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace isthmus {
namespace {

// Runs this program again as a child that calls TuneProcess and exits with 0 when OPENBLAS_CORETYPE
// is then `want`.
int ExitOfTunedChild(const char* preset, const std::string& want) {
  const pid_t child = fork();
  if (child == 0) {
    if (preset == nullptr) {
      unsetenv("OPENBLAS_CORETYPE");
    } else {
      setenv("OPENBLAS_CORETYPE", preset, 1);
    }
    setenv("ISTHMUS_TEST_WANT", want.c_str(), 1);
    execl("/proc/self/exe", "engine_torch_test", "--gtest_filter=EnvironmentTest.Child", nullptr);
    _exit(99);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Only as the child of the tests below.
TEST(EnvironmentTest, Child) {
  const char* want = std::getenv("ISTHMUS_TEST_WANT");
  if (want == nullptr) GTEST_SKIP() << "runs in a child process";
  std::string name = "engine_torch_test", filter = "--gtest_filter=EnvironmentTest.Child";
  char* argv[] = {name.data(), filter.data(), nullptr};
  TuneProcess(argv);
  const char* got = std::getenv("OPENBLAS_CORETYPE");
  EXPECT_EQ(std::string(got == nullptr ? "" : got), want);
}

TEST(EnvironmentTest, RestartsWithTheKernelsOfThisProcessor) {
  EXPECT_EQ(ExitOfTunedChild(nullptr, BlasKernels()), 0);
}

TEST(EnvironmentTest, LeavesTheUsersChoice) {
  EXPECT_EQ(ExitOfTunedChild("Nehalem", "Nehalem"), 0);
}

}  // namespace
}  // namespace isthmus
