#include "client/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

Report Sample() {
  Report report;
  report.isthmus_version = "0.1.0";
  report.seed = 3;
  report.job_json = "{\"model\":\"m\"}";
  report.outcome = Report::Outcome::kCompleted;
  report.steps = 10;
  report.loss.train_first = 2.5;
  report.loss.eval_after = 1.25;
  WireRow row;
  row.edge = 1;
  row.direction = Direction::kBackward;
  row.codec = "int8";
  row.codec_full = "int(bits=8)";
  row.elements = 1000;
  row.payload_bytes = 900;
  row.side_bytes = 60;
  row.header_bytes = 40;
  report.wire = {row};
  report.time.wall_s = 1.5;
  report.time.predicted_step_s = 0.25;
  report.processes = {{"client", 1000}};
  return report;
}

TEST(Report, HasTheContractsFields) {
  const auto json = nlohmann::json::parse(Sample().ToJson());
  EXPECT_EQ(json["status"], "completed");
  EXPECT_TRUE(json["resumed_from_step"].is_null());
  EXPECT_TRUE(json["loss"]["eval_before"].is_null());
  EXPECT_EQ(json["loss"]["eval_after"], 1.25);
  EXPECT_EQ(json["job"]["model"], "m");
  const auto& wire = json["wire"][0];
  EXPECT_EQ(wire["direction"], "backward");
  EXPECT_EQ(wire["raw_bytes_fp32"], 4000);
  EXPECT_EQ(wire["wire_bytes"], 1000);
  EXPECT_DOUBLE_EQ(wire["bits_per_element"].get<double>(), 8.0);
  EXPECT_EQ(json["time"]["predicted_step_s"], 0.25);
  EXPECT_EQ(json["processes"][0]["peak_rss_bytes"], 1000);
}

TEST(Report, ReadsBack) {
  const auto read = Report::Parse(Sample().ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ToJson(), Sample().ToJson());
}

TEST(Report, NamesWhatIsWrong) {
  EXPECT_FALSE(Report::Parse("[]").ok());
  EXPECT_FALSE(Report::Parse("{").ok());
  auto json = nlohmann::json::parse(Sample().ToJson());
  json["steps"] = "many";
  const auto read = Report::Parse(json.dump());
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("report.steps"));
}

TEST(Report, BitsAreOverAllEdgesOfADirection) {
  std::vector<WireRow> rows = {Sample().wire[0], Sample().wire[0]};
  rows[1].elements = 3000;
  EXPECT_DOUBLE_EQ(BitsPerElementOf(rows, Direction::kBackward), 8.0 * 2000 / 4000);
  EXPECT_EQ(BitsPerElementOf(rows, Direction::kForward), 0.0);
}

}  // namespace
}  // namespace isthmus
