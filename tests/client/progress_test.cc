#include "client/progress.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ProgressTest : public ::testing::Test {
 protected:
  Progress Make(Progress::Form form, int width = 200) {
    return Progress(
        form, [this](absl::string_view text) { shown_ += std::string(text); }, width, &clock_);
  }
  static Progress::Step At(int64_t step) {
    Progress::Step out;
    out.step = step;
    out.total_steps = 100;
    out.loss = 2.5;
    out.link_mb_per_s = 1.25;
    return out;
  }
  FakeClock clock_;
  std::string shown_;
};

TEST_F(ProgressTest, QuietShowsNothing) {
  Progress progress = Make(Progress::Form::kQuiet);
  progress.Show(At(1));
  progress.Note("hello");
  EXPECT_EQ(shown_, "");
}

TEST_F(ProgressTest, LinesComeEveryFewSeconds) {
  Progress progress = Make(Progress::Form::kLines);
  progress.Show(At(1));
  EXPECT_EQ(shown_, "");
  clock_.AdvanceUs(6'000'000);
  progress.Show(At(4));
  EXPECT_THAT(shown_, StartsWith("step 4/100  loss 2.5000"));
  EXPECT_THAT(shown_, HasSubstr("ETA 3:12"));  // 3 steps in 6 s, 96 to go
  EXPECT_THAT(shown_, Not(HasSubstr("\r")));
  const std::string before = shown_;
  clock_.AdvanceUs(100'000);
  progress.Show(At(5));
  EXPECT_EQ(shown_, before);
}

TEST_F(ProgressTest, TheEndOfLongWorkIsShown) {
  Progress progress = Make(Progress::Form::kLines);
  progress.Show(At(1));
  clock_.AdvanceUs(6'000'000);
  progress.Show(At(99));
  clock_.AdvanceUs(1'000);
  progress.Show(At(100));
  EXPECT_THAT(shown_, HasSubstr("step 100/100"));
}

TEST_F(ProgressTest, ShortWorkIsQuiet) {
  Progress progress = Make(Progress::Form::kLines);
  progress.Show(At(99));
  progress.Show(At(100));
  EXPECT_EQ(shown_, "");
}

TEST_F(ProgressTest, BarIsDrawnOverAndRemoved) {
  Progress progress = Make(Progress::Form::kBar);
  progress.Show(At(50));
  EXPECT_THAT(shown_, StartsWith("\r\x1b[K[##########..........] step 50/100"));
  shown_.clear();
  progress.Finish();
  EXPECT_EQ(shown_, "\r\x1b[K");
}

TEST_F(ProgressTest, BarNeverWraps) {
  Progress progress = Make(Progress::Form::kBar, 40);
  progress.Show(At(50));
  EXPECT_EQ(shown_.size(), 4u + 39u);
}

TEST_F(ProgressTest, NoteStandsOnItsOwnLine) {
  Progress progress = Make(Progress::Form::kBar);
  progress.Show(At(1));
  shown_.clear();
  progress.Note("goes on from step 20");
  EXPECT_EQ(shown_, "\r\x1b[Kgoes on from step 20\n");
}

}  // namespace
}  // namespace isthmus
