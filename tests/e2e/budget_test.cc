// train --max-bytes: a traffic budget ends a run in good order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"
#include "tests/e2e/program_fixture.h"

namespace isthmus::e2e {
namespace {

using ::testing::HasSubstr;

class BudgetTest : public IsthmusTest {};

TEST_F(BudgetTest, StopsBeforeTheStepThatGoesBeyondAndGoesOnLater) {
  const std::string job = Job("none", 6);
  ASSERT_EQ(Start({"train", job, "--quiet"})->Wait(), 0);
  const Words whole = Losses();
  const auto report = nlohmann::json::parse(FileText(Run("report.json")));
  double bytes = 0;  // over all edges; the client's links carry two of three
  for (const auto& row : report["wire"]) bytes += row["wire_bytes"].get<double>();
  const auto budget = static_cast<int64_t>(bytes / 2);

  const auto limited = Start({"train", job, "--overwrite", "--max-bytes", std::to_string(budget)});
  EXPECT_EQ(limited->Wait(), 1);
  EXPECT_THAT(limited->Error(), HasSubstr("--max-bytes"));
  EXPECT_THAT(limited->Error(), HasSubstr("--resume"));
  const int done = StepsDone();
  EXPECT_GT(done, 1);
  EXPECT_LT(done, 6);
  EXPECT_EQ(nlohmann::json::parse(FileText(Run("report.json")))["status"], "interrupted");

  EXPECT_EQ(Start({"train", job, "--quiet", "--resume"})->Wait(), 0);
  EXPECT_EQ(Losses(), whole);
}

}  // namespace
}  // namespace isthmus::e2e
