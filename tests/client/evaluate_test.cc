// The whole model in this process against numbers that another program computed in float64.
#include "client/evaluate.h"

#include <filesystem>

#include "base/file.h"
#include "engine/torch/engine.h"
#include "gtest/gtest.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::json;

const std::string kModel = std::string(ISTHMUS_SOURCE_DIR) + "/examples/stories260K";

class EvaluateTest : public ::testing::Test {
 protected:
  EvaluateTest() {
    reference_ = Json::parse(*ReadFile(kModel + "/reference.json"));
    directory_ = *ModelDirectory::Open(kModel);
    engine_ = *MakeTorchEngine("cpu", 1);
    for (const Json& text : reference_["texts"]) {
      Document document;
      document.ids = text["ids"].get<std::vector<int32_t>>();
      document.labels.assign(document.ids.begin() + 1, document.ids.end());
      document.labels.push_back(-100);
      documents_.push_back(std::move(document));
    }
  }
  std::unique_ptr<CutModel> Open(std::vector<int64_t> cuts, const std::string& codec) {
    CutModel::Options options;
    options.cuts = {std::move(cuts), codec};
    options.threads = 1;
    options.num_samples = static_cast<int64_t>(Windows(512).size());
    options.max_sample_tokens = 512;
    auto model = CutModel::Open(engine_.get(), directory_->config(), directory_.get(), options);
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }
  std::vector<Window> Windows(int64_t length) {
    DatasetOptions options;
    options.sequence_length = length;
    options.vocab_size = directory_->config().vocab_size;
    return *CutWindows(documents_, options);
  }
  Evaluation Evaluated(std::vector<int64_t> cuts, const std::string& codec, int64_t length = 512) {
    auto evaluation =
        Evaluate(Open(std::move(cuts), codec).get(), Windows(length),
                 static_cast<int64_t>(documents_.size()), [](int64_t) { return true; });
    EXPECT_TRUE(evaluation.ok()) << evaluation.status();
    return *std::move(evaluation);
  }

  Json reference_;
  std::unique_ptr<ModelDirectory> directory_;
  std::unique_ptr<Engine> engine_;
  std::vector<Document> documents_;
};

TEST_F(EvaluateTest, LossIsTheReferences) {
  const Evaluation evaluation = Evaluated({}, "none");
  ASSERT_EQ(evaluation.documents.size(), reference_["texts"].size());
  for (size_t i = 0; i < evaluation.documents.size(); ++i) {
    const double expected = reference_["texts"][i]["loss_mean_f64"];
    const DocumentLoss& got = evaluation.documents[i];
    EXPECT_NEAR(got.loss_sum / got.tokens, expected, 2e-5 * expected);
    EXPECT_EQ(got.tokens, static_cast<int64_t>(documents_[i].ids.size()) - 1);
  }
}

TEST_F(EvaluateTest, IdentityCutsChangeNoBit) {
  const double whole = Evaluated({}, "none").total().loss_sum;
  for (int64_t k = 0; k <= directory_->config().num_layers; ++k) {
    EXPECT_EQ(Evaluated({k}, "none").total().loss_sum, whole) << "cut after " << k;
  }
  EXPECT_EQ(Evaluated({0, 2, 5}, "none").total().loss_sum, whole);
}

TEST_F(EvaluateTest, ElementsAreInputPositionsTimesWidth) {
  const Evaluation evaluation = Evaluated({2}, "int8");
  int64_t positions = 0;
  for (const Document& document : documents_) positions += document.ids.size() - 1;
  ASSERT_EQ(evaluation.cuts.size(), 1u);
  EXPECT_EQ(evaluation.cuts[0].elements, positions * directory_->config().hidden_size);
  const Json json = Json::parse(evaluation.ToJson());
  EXPECT_DOUBLE_EQ(json["cuts"][0]["bits_per_element"].get<double>(),
                   8.0 * evaluation.cuts[0].wire_bytes / evaluation.cuts[0].elements);
}

TEST_F(EvaluateTest, FewerBitsCostMoreLoss) {
  const double whole = Evaluated({}, "none").total().loss_sum;
  const double int8 = std::abs(Evaluated({2}, "int8").total().loss_sum - whole);
  const double int4 = std::abs(Evaluated({2}, "int4").total().loss_sum - whole);
  EXPECT_GT(int8, 0.0);
  EXPECT_GT(int4, int8);
}

TEST_F(EvaluateTest, AStoreInAFileIsTheOneInMemory) {
  const Evaluation file = Evaluated({1, 3}, "aqsgd(bits=4,store=mmap)");
  const Evaluation memory = Evaluated({1, 3}, "aqsgd(bits=4,store=ram)");
  EXPECT_EQ(file.total().loss_sum, memory.total().loss_sum);
  ASSERT_EQ(file.cuts.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(file.cuts[i].wire_bytes, memory.cuts[i].wire_bytes);
}

TEST_F(EvaluateTest, WindowsPredictEveryIdButTheFirst) {
  EXPECT_EQ(Evaluated({}, "none", 32).total().tokens, Evaluated({}, "none").total().tokens);
}

TEST_F(EvaluateTest, GreedyTextIsTheReferencesWholeAndCut) {
  for (const Json& greedy : reference_["greedy"]) {
    const auto prompt = greedy["prompt_ids"].get<std::vector<int32_t>>();
    const auto expected = greedy["greedy_ids"].get<std::vector<int32_t>>();
    GenerateOptions options;
    options.max_new_tokens = static_cast<int64_t>(expected.size() - prompt.size());
    options.max_positions = directory_->config().max_positions;
    for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{}, std::vector<int64_t>{1, 3}}) {
      const auto out =
          Generate(Open(cuts, "none").get(), prompt, options, [](int32_t) { return true; });
      ASSERT_TRUE(out.ok()) << out.status();
      EXPECT_EQ(out->ids, expected);
    }
  }
}

TEST(ParseCuts, TakesAscendingBlocks) {
  EXPECT_EQ(*ParseCuts("0,3,5", 5), (std::vector<int64_t>{0, 3, 5}));
  for (const char* bad : {"", "6", "-1", "3,1", "2,2", "a", "1,"})
    EXPECT_FALSE(ParseCuts(bad, 5).ok()) << bad;
}

}  // namespace
}  // namespace isthmus
