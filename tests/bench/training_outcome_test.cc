// What `./dev bench codecs training` concludes from its rows.
#include "bench/training_outcome.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "bench/training_families.h"
#include "bench/training_tables.h"
#include "compression/codec.h"

namespace isthmus::bench {
namespace {

using ::testing::HasSubstr;

nlohmann::json RunRow(const std::string& family, int rung, int seed, double loss, double bits) {
  return {
      {"cell", "m/d/1 epoch/LoRA"}, {"family", family}, {"forward", absl::StrCat("rung ", rung)},
      {"backward", "other"},        {"seed", seed},     {"loss", loss},
      {"bits_per_element", bits}};
}

TEST(TrainingFamiliesTest, EverySpecParsesAndServesItsDirection) {
  for (const TrainingFamily& family : TrainingFamilies()) {
    ASSERT_TRUE(family.rungs.size() == 1 || family.rungs.size() == 7) << family.name;
    for (size_t rung = 0; rung < family.rungs.size(); ++rung) {
      const CodecPair codec = family.At(rung);
      ASSERT_TRUE(Codec::Parse(codec.forward).ok()) << codec.forward;
      const auto backward = Codec::Parse(codec.backward);
      ASSERT_TRUE(backward.ok()) << codec.backward;
      EXPECT_FALSE((*backward)->ForwardOnly()) << codec.backward;
    }
  }
}

TEST(TrainingOutcomeTest, SeedsArePairedWithTheirUncompressedRun) {
  // Seed 2 learns less with any codec, and without one.
  const CellRuns runs({RunRow("none", 0, 1, 2.0, 32), RunRow("none", 0, 2, 4.0, 32),
                       RunRow("a", 3, 1, 2.02, 1.0), RunRow("a", 3, 2, 4.02, 3.0)});
  const std::vector<CellRuns::Spec> specs = runs.SpecsOf("a");
  ASSERT_EQ(specs.size(), 1u);
  EXPECT_NEAR(specs[0].mean_above(), 0.0075, 1e-12);
  EXPECT_NEAR(specs[0].bits, 2.0, 1e-12);
  // Differences of 1 % and 0.5 %: a deviation of 0.354 %, a quarter of it is the mean's own; t
  // = 12.7.
  EXPECT_NEAR(*specs[0].interval(), 12.706 * 0.0025, 1e-9);
  EXPECT_FALSE(specs[0].reaches());
}

TEST(TrainingOutcomeTest, ARunWithoutItsPartnerDoesNotCount) {
  const CellRuns runs(
      {RunRow("none", 0, 1, 2.0, 32), RunRow("a", 0, 1, 2.0, 4), RunRow("a", 0, 2, 1.0, 4)});
  EXPECT_EQ(runs.SpecsOf("a")[0].above.size(), 1u);
  EXPECT_EQ(runs.SpecsOf("a")[0].interval(), std::nullopt);
}

TEST(TrainingOutcomeTest, TheBestReachesTheLossOverAllSeedsWithTheFewestBits) {
  const CellRuns runs({RunRow("none", 0, 1, 2.0, 32), RunRow("none", 0, 2, 2.0, 32),
                       RunRow("a", 0, 1, 2.0, 8), RunRow("a", 0, 2, 2.0, 8),    // fine
                       RunRow("a", 1, 1, 2.02, 4), RunRow("a", 1, 2, 1.98, 4),  // in the mean
                       RunRow("a", 2, 1, 2.0, 3), RunRow("a", 2, 2, 2.04, 3),   // not
                       RunRow("a", 3, 1, 2.0, 2)});                             // one seed only
  EXPECT_EQ(runs.Best("a", 2)->codec.forward, "rung 1");
  EXPECT_EQ(runs.Best("a", 1)->codec.forward, "rung 3");
  EXPECT_EQ(runs.Best("b", 1), std::nullopt);
}

TEST(TrainingTablesTest, OursStandsBesideThePublishedAndTheBestOther) {
  std::vector<nlohmann::json> rows;
  for (const int seed : {1, 2, 3}) {
    rows.push_back(RunRow("none", 0, seed, 2.0, 32));
    rows.push_back(RunRow("ecq", 4, seed, 2.004, 1.0));
    rows.push_back(RunRow("aqsgd 2/4 as published", 0, seed, 2.2, 5.0));
    rows.push_back(RunRow("tah", 4, seed, 2.0, 4.0));
    rows.push_back(RunRow("stamp", 3, seed, 2.0, 4.4));
    rows.push_back(RunRow("quest", 0, seed, 2.1, 6.0));
  }
  const std::string text = TrainingTables(rows);
  EXPECT_THAT(text, HasSubstr("| m/d/1 epoch/LoRA | 3 | 2.000 | 1.00 |"));
  EXPECT_THAT(text, HasSubstr("| +0.20 ± 0.00 | 5.00 | 0.20 | tah | 4.00 | 0.25 |"));
  // What does not reach the loss is shown, in brackets.
  EXPECT_THAT(text, HasSubstr("| (6.00) |"));
  EXPECT_THAT(TrainingPlots(rows)[0].svg, HasSubstr("stamp"));
}

TEST(TrainingTablesTest, TimesStandBesideHalfPrecision) {
  std::vector<nlohmann::json> rows;
  for (const auto& [family, step_s] : {std::pair("fp16", 0.8), std::pair("ecq", 0.1)}) {
    rows.push_back({{"cell", "c"},
                    {"family", family},
                    {"steps", 10},
                    {"simulated", {{{"rate_mbps", 10}, {"step_s", step_s}}}}});
  }
  rows.push_back({{"cell", "c"},
                  {"family", "ecq"},
                  {"rate_mbps", 10},
                  {"measured_s", 0.125},
                  {"simulated_s", 0.1}});
  const std::string text = TrainingTimeTables(rows);
  EXPECT_THAT(text, HasSubstr("| ecq | 1.0 (8.0x) |"));
  EXPECT_THAT(text, HasSubstr("| c | ecq | 10 | 0.12 | 0.10 | 0.80 |"));
}

}  // namespace
}  // namespace isthmus::bench
