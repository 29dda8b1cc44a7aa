// Every preset of the table in a run of the built program: it learns what an uncompressed run
// learns, its sums agree, and the same seed gives the same run.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "compression/codec_table.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/child.h"
#include "tests/e2e/program_fixture.h"

namespace isthmus::e2e {
namespace {

// Four documents, seen in each of the steps: codecs with a memory of samples use it.
constexpr int kDocuments = 4, kIds = 41, kSteps = 10;
// Rows of codecs.def: plain ones, which other tests here train with; then those with a state of
// their own; then compositions.
constexpr int kFirstPreset = 7, kFirstComposition = 20;

class PresetTest : public IsthmusTest, public ::testing::WithParamInterface<CodecRow> {
 protected:
  nlohmann::json Trained(const std::string& codec) {
    std::ofstream data(folder_ + "/train.jsonl");
    for (int document = 0; document < kDocuments; ++document) {
      data << R"({"input_ids": [1)";
      for (int i = 1; i < kIds; ++i) data << ", " << 300 + (i * i * (document + 3)) % 97;
      data << "]}\n";
    }
    data.close();
    std::ofstream(folder_ + "/job.yaml")
        << "model: " ISTHMUS_SOURCE_DIR "/examples/stories260K\ncluster: {workers: 1}\n"
        << "data: {train: train.jsonl, eval: train.jsonl, shuffle: false, append_eos: false}\n"
        << "train:\n  method: lora\n  steps: " << kSteps << "\n  micro_batch_size: 2\n"
        << "  micro_batches: 2\n  seed: 3\n  optimizer: {name: adamw, lr: 1.0e-2}\n"
        << "  lora: {rank: 4, alpha: 8, targets: [q_proj, v_proj, o_proj, down_proj]}\n"
        << "codec: \"" << codec << "\"\noutput: run\n";
    auto train = Start({"train", folder_ + "/job.yaml", "--json", "--overwrite", "--threads", "1"});
    EXPECT_EQ(train->Wait(), 0) << train->Error();
    return nlohmann::json::parse(train->Out(), nullptr, false);
  }

  static double Loss(const nlohmann::json& report, const char* when) {
    return report.is_object() ? report["loss"].value(when, NAN) : NAN;
  }
};

void ExpectSumsAgree(const nlohmann::json& row) {
  const double wire = row["wire_bytes"], elements = row["elements"];
  EXPECT_EQ(wire, row["payload_bytes"].get<double>() + row["side_bytes"].get<double>() +
                      row["header_bytes"].get<double>());
  EXPECT_GT(wire, 0.0);
  EXPECT_EQ(elements, 64.0 * (kIds - 1) * kDocuments * kSteps);
  EXPECT_NEAR(row["bits_per_element"].get<double>(), 8.0 * wire / elements, 1e-9 * wire);
}

TEST_P(PresetTest, LearnsWhatAnUncompressedRunLearns) {
  static const nlohmann::json plain = Trained("none");
  const double before = Loss(plain, "eval_before"), learned = before - Loss(plain, "eval_after");
  ASSERT_GT(learned, 0.1 * before);

  const std::string codec(GetParam().example);
  const nlohmann::json report = Trained(codec);
  EXPECT_NEAR(Loss(report, "eval_after"), Loss(plain, "eval_after"), 0.25 * learned);
  // Two edges, two directions.
  ASSERT_EQ(report["wire"].size(), 4u);
  for (const nlohmann::json& row : report["wire"]) ExpectSumsAgree(row);
  // Rows below are compositions of parts that those above use, too.
  if (GetParam().number < kFirstComposition) {
    EXPECT_EQ(Trained(codec)["loss"], report["loss"]);
  }
}

std::vector<CodecRow> Presets() {
  std::vector<CodecRow> rows;
  for (const CodecRow& row : CodecTable())
    if (row.number >= kFirstPreset) rows.push_back(row);
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Table, PresetTest, ::testing::ValuesIn(Presets()), [](const auto& info) {
  return absl::StrReplaceAll(info.param.name, {{"-", "_"}});
});

}  // namespace
}  // namespace isthmus::e2e
