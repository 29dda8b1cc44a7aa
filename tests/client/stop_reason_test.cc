#include "client/stop_reason.h"

#include <gtest/gtest.h>

namespace isthmus {
namespace {

const absl::Status kLink = absl::CancelledError("link to second: stopped");
absl::Status Nothing() { return absl::OkStatus(); }

TEST(StopReason, TheCoordinatorsWordCountsAlsoWhenItComesLater) {
  int asked = 0;
  const auto late = [&asked] {
    return ++asked < 4 ? absl::OkStatus() : absl::UnavailableError("worker second is gone");
  };
  EXPECT_EQ(StopReason(kLink, late), absl::UnavailableError("worker second is gone"));
  EXPECT_EQ(asked, 4);
  const auto by_user = [] { return absl::CancelledError("a second stop"); };
  EXPECT_EQ(StopReason(absl::UnavailableError("link"), by_user), by_user());
}

TEST(StopReason, WithoutAWordACancelledLinkIsAPeerThatIsGone) {
  EXPECT_EQ(StopReason(kLink, Nothing), absl::UnavailableError("link to second: stopped"));
  EXPECT_EQ(StopReason(absl::UnavailableError("link"), Nothing), absl::UnavailableError("link"));
}

TEST(StopReason, OtherFailuresAreNotHeldUp) {
  int asked = 0;
  const auto never = [&asked] { return ++asked, absl::OkStatus(); };
  EXPECT_EQ(StopReason(absl::DataLossError("frame"), never), absl::DataLossError("frame"));
  EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace isthmus
