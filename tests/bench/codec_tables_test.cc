// What `./dev bench codecs` concludes from its rows.
#include "bench/codec_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "bench/codec_families.h"
#include "bench/result_file.h"
#include "bench/svg_plot.h"
#include "compression/codec.h"

namespace isthmus::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

nlohmann::json LossRow(const char* family, int cut, double bits, double added) {
  return {{"model", "m"},
          {"text", "t"},
          {"tokens", 128},
          {"after", cut},
          {"family", family},
          {"codec", "any"},
          {"bits_per_element", bits},
          {"added", added}};
}

TEST(CodecTablesTest, EverySpecOfEveryFamilyParses) {
  for (const CodecFamily& family : CodecFamilies()) {
    ASSERT_LT(family.start, family.values.size()) << family.name;
    for (size_t i = 0; i < family.values.size(); ++i)
      EXPECT_TRUE(Codec::Parse(family.Spec(i)).ok()) << family.Spec(i);
  }
}

TEST(CodecTablesTest, BitsAtALossLieBetweenTheMeasuredRates) {
  // A tenth of the loss for two bits more: half way in the logarithm at one bit.
  const Curve curve = {{2, 0.1}, {4, 0.01}};
  EXPECT_NEAR(*BitsAtLoss(curve, 0.1), 2.0, 1e-9);
  EXPECT_NEAR(*BitsAtLoss(curve, std::sqrt(0.001)), 3.0, 1e-9);
  EXPECT_NEAR(*BitsAtLoss(curve, 0.01), 4.0, 1e-9);
  EXPECT_EQ(BitsAtLoss(curve, 0.005), std::nullopt);  // not even the finest
  EXPECT_EQ(*BitsAtLoss(curve, 0.2), 2.0);            // the coarsest adds less
  EXPECT_EQ(BitsAtLoss({}, 0.1), std::nullopt);
  // From fine to coarse: a lucky coarse point is not believed; a gain counts as no loss.
  const Curve bumpy = {{1, 0.02}, {2, 0.2}, {3, -0.01}};
  const double bits = *BitsAtLoss(bumpy, 0.1);
  EXPECT_GT(bits, 2.0);
  EXPECT_LT(bits, 3.0);
}

TEST(CodecTablesTest, BetweenIsStraightAndNothingOutside) {
  const Curve curve = {{10, 1}, {20, 3}};
  EXPECT_EQ(*Between(curve, 15), 2.0);
  EXPECT_EQ(*Between(curve, 20), 3.0);
  EXPECT_EQ(Between(curve, 21), std::nullopt);
  EXPECT_EQ(Between({{10, 1}}, 10), std::nullopt);
}

TEST(CodecTablesTest, SavingsAreAgainstTheBestRivalOfEachCut) {
  const Rows rows = {
      LossRow("ecq", 1, 2, 0.01),
      LossRow("ecq", 1, 1, 0.5),
      LossRow("tah", 1, 4, 0.01),
      LossRow("tah", 1, 3, 0.5),
      LossRow("hadanorm", 1, 5, 0.01),
      LossRow("hadanorm", 1, 4, 0.5),
      LossRow("ecq", 2, 3, 0.01),
      LossRow("ecq", 2, 1, 0.5),
      LossRow("hadanorm", 2, 4, 0.01),
      LossRow("hadanorm", 2, 3, 0.5),
      LossRow("quest", 2, 1, 0.01),  // no rival
      {{"family", "none"}, {"model", "m"}, {"text", "t"}, {"tokens", 128}, {"after", 1}}};
  const std::string text = LossTables(rows);
  EXPECT_THAT(text, HasSubstr("| m | t, 128 positions | 0.01 | 50 25 | 25 | 38 |"));
  EXPECT_THAT(text, HasSubstr("| tah | 4.00 / "));
  EXPECT_THAT(text, HasSubstr("after 2"));
  EXPECT_EQ(LossPlots(rows).size(), 2u);
}

TEST(SvgPlotTest, DrawsEveryLineInsideItsBox) {
  Plot plot;
  plot.title = "a < b";
  plot.most_x = 10;
  plot.most_y = 5;
  plot.lines = {{"one", {{0, 0}, {10, 5}}, false}, {"two", {}, true}};
  const std::string svg = SvgOf(plot);
  EXPECT_THAT(svg, HasSubstr("a &lt; b"));
  EXPECT_THAT(svg, HasSubstr("points=\"70.0,405.0 620.0,40.0 \""));
  EXPECT_THAT(svg, HasSubstr(">two</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(ResultFileTest, GoesOnBehindATornLine) {
  const std::string path = testing::TempDir() + "/results.jsonl";
  std::filesystem::remove(path);
  {
    auto file = ResultFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE(file->Add("a", {{"value", 1}}).ok());
  }
  std::ofstream(path, std::ios::app) << "{\"key\":\"torn\",\"val";
  {
    auto file = ResultFile::Open(path);
    ASSERT_NE(file->Find("a"), nullptr);
    EXPECT_EQ(file->Find("torn"), nullptr);
    ASSERT_TRUE(file->Add("b", {{"value", 2}}).ok());
  }
  auto file = ResultFile::Open(path);
  EXPECT_EQ(file->rows().size(), 2u);
  EXPECT_EQ((*file->Find("b"))["value"], 2);
}

}  // namespace
}  // namespace isthmus::bench
