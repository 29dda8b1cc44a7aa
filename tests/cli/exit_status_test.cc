#include "cli/exit_status.h"

#include <csignal>

#include "gtest/gtest.h"

namespace isthmus {
namespace {

TEST(ExitStatus, FollowsTheContract) {
  EXPECT_EQ(ExitStatus(absl::OkStatus(), 0), 0);
  EXPECT_EQ(ExitStatus(absl::InvalidArgumentError("x"), 0), 2);
  EXPECT_EQ(ExitStatus(absl::NotFoundError("x"), 0), 2);
  EXPECT_EQ(ExitStatus(absl::UnimplementedError("x"), 0), 2);
  EXPECT_EQ(ExitStatus(absl::UnavailableError("x"), 0), 3);
  EXPECT_EQ(ExitStatus(absl::DeadlineExceededError("x"), 0), 3);
  EXPECT_EQ(ExitStatus(absl::DataLossError("x"), 0), 4);
  EXPECT_EQ(ExitStatus(absl::InternalError("x"), 0), 1);
  EXPECT_EQ(ExitStatus(absl::CancelledError("x"), SIGINT), 130);
  EXPECT_EQ(ExitStatus(absl::CancelledError("x"), SIGTERM), 143);
  EXPECT_EQ(ExitStatus(absl::CancelledError("x"), 0), 1);
}

TEST(ErrorLine, IsOneLine) {
  EXPECT_EQ(ErrorLine(absl::InvalidArgumentError("a:\n\n  b\tc\x1b")), "isthmus: a: b c \n");
  EXPECT_EQ(ErrorLine(absl::InternalError("")), "isthmus: INTERNAL\n");
}

}  // namespace
}  // namespace isthmus
