// Real models against the numbers of another implementation, computed in double
// (shared/models/*/reference.json).
#ifndef ISTHMUS_TESTS_ENGINE_REFERENCE_CONTRACT_H_
#define ISTHMUS_TESTS_ENGINE_REFERENCE_CONTRACT_H_

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/chain.h"

namespace isthmus {

using nlohmann::json;

// A factory of the engine under test.
class ReferenceContract : public testing::TestWithParam<std::unique_ptr<Engine> (*)()> {
 protected:
  // False where the shared models are not checked out.
  bool Open(const std::string& model) {
    const std::string path = absl::StrCat(ISTHMUS_SOURCE_DIR, "/../shared/models/", model);
    if (!std::filesystem::exists(path)) return false;
    directory_ = Take(ModelDirectory::Open(path));
    reference_ = json::parse(Take(ReadFile(path + "/reference.json")));
    engine_ = GetParam()();
    return true;
  }
  const ModelConfig& config() const { return directory_->config(); }

  Chain MakeChain(const TrainSpec& train, const Parties& parties) {
    return Chain(engine_.get(), config(), train, parties, directory_.get());
  }
  static TrainSpec Frozen() {
    TrainSpec train;
    train.frozen = true;
    return train;
  }
  static std::vector<int32_t> Ids(const json& ids) { return ids.get<std::vector<int32_t>>(); }

  // The one sequence that the curves train on: given by its ids or as one of the texts.
  std::vector<int32_t> TrainingIds() const {
    const json& training = reference_["training"];
    if (training.contains("ids")) return Ids(training["ids"]);
    for (const json& text : reference_["texts"]) {
      if (text["text"] == training["text"]) return Ids(text["ids"]);
    }
    ADD_FAILURE() << "no ids of the training text";
    return {};
  }

  // Hidden states after every block, of the last of all ids.
  void CheckHidden(const json& text) {
    std::vector<int64_t> cuts;
    for (int64_t layer = 0; layer <= config().num_layers; ++layer) cuts.push_back(layer);
    Chain chain = MakeChain(Frozen(), CutAfter(config(), cuts));
    MicroBatch mb = PredictNext({Ids(text["ids"])});
    mb.ids = Ids(text["ids"]);
    mb.targets.push_back(-100);
    ++mb.lengths[0];
    chain.Forward(mb, Pass::kEval);
    for (const auto& [layer, values] : text["hidden_last_first8_after_layer_f64"].items()) {
      const Tensor& hidden = chain.cuts[std::stoul(layer)];
      const float* last = hidden.floats().data() + (hidden.dim(0) - 1) * hidden.dim(1);
      for (size_t i = 0; i < values.size(); ++i) {
        const double want = values[i].get<double>();
        EXPECT_NEAR(last[i], want, 2e-5 * (1.0 + std::abs(want))) << "layer " << layer << " " << i;
      }
    }
  }

  // Gradient of the mean loss at the cut that the key names.
  void CheckCutGradient(const json& text, const std::string& layer) {
    const std::string key = absl::StrCat("grad_wrt_hidden_after_layer_", layer);
    const MicroBatch mb = PredictNext({Ids(text["ids"])});
    Chain chain = MakeChain(Frozen(), CutAfter(config(), {std::stol(layer)}));
    chain.Forward(mb, Pass::kTrain);
    chain.Backward(0);
    const absl::Span<const float> grad = chain.grad_cuts[0].floats();
    double squares = 0.0;
    for (float g : grad) squares += static_cast<double>(g) * g;
    const double norm = text[key + "_l2_f64"].get<double>();
    EXPECT_NEAR(std::sqrt(squares), norm, 2e-5 * norm);
    const json& values =
        text[absl::StrCat(key, "_first8_at_input_position_", mb.tokens() - 1, "_f64")];
    ASSERT_EQ(values.size(), 8u);
    for (size_t i = 0; i < 8; ++i) {
      const size_t at = grad.size() - config().hidden_size + i;
      EXPECT_NEAR(grad[at], values[i].get<double>(), 1e-6) << i;
    }
  }

  void CheckTexts(const std::string& model, const std::string& cut) {
    if (!Open(model)) GTEST_SKIP() << "shared/models is not here";
    Chain whole = MakeChain(Frozen(), Whole(config()));
    ASSERT_EQ(reference_["texts"].size(), 3u);
    for (const json& text : reference_["texts"]) {
      const double want = text["loss_mean_f64"].get<double>();
      EXPECT_NEAR(whole.MeanLoss(PredictNext({Ids(text["ids"])})), want, 2e-5 * want);
      if (text.contains("hidden_last_first8_after_layer_f64")) CheckHidden(text);
      if (!cut.empty()) CheckCutGradient(text, cut);
    }
  }

  // `curve`: 10 steps from the pretrained weights. Tolerance 1e-4 relative: fp32 against double,
  // ten updates deep.
  void CheckCurve(Chain* chain, const json& curve, const std::vector<int32_t>& ids, double lr,
                  double tolerance) {
    const MicroBatch mb = PredictNext({ids});
    const json& losses = curve["losses_f64"];
    ASSERT_EQ(losses.size(), 11u);
    for (size_t step = 0; step < 10; ++step) {
      const double want = losses[step].get<double>();
      EXPECT_NEAR(chain->TrainStep({mb}, lr), want, tolerance * want) << "step " << step;
    }
    const double want = losses[10].get<double>();
    EXPECT_NEAR(chain->MeanLoss(mb), want, tolerance * want);
  }

  void CheckFullCurves(const std::string& model, double sgd_lr, double adamw_lr, double tolerance) {
    if (!Open(model)) GTEST_SKIP() << "shared/models is not here";
    const json& training = reference_["training"];
    TrainSpec train;
    train.full = true;
    train.optimizer.name = "sgd";
    Chain sgd = MakeChain(train, Whole(config()));
    CheckCurve(&sgd, training["sgd"], TrainingIds(), sgd_lr, tolerance);
    train.optimizer.name = "adamw";
    train.optimizer.weight_decay = 0.01;
    Chain adamw = MakeChain(train, UShape(config(), 1, 1));
    CheckCurve(&adamw, training["adamw"], TrainingIds(), adamw_lr, tolerance);
  }

  // The reference draws A[i][j] = float(0.02 sin(1 + i * in + j)).
  static void SetReferenceAdapter(Chain* chain) {
    std::vector<NamedTensor> tensors = chain->Trained();
    for (NamedTensor& tensor : tensors) {
      if (tensor.name.find("lora_A") == std::string::npos) continue;
      Tensor a(DType::kF32, tensor.tensor.shape());
      for (size_t i = 0; i < a.mutable_floats().size(); ++i) {
        a.mutable_floats()[i] = static_cast<float>(0.02 * std::sin(1.0 + static_cast<double>(i)));
      }
      tensor.tensor = a;
    }
    chain->SetTrained(tensors);
  }

  void CheckLoraCurve(const std::string& model) {
    if (!Open(model)) GTEST_SKIP() << "shared/models is not here";
    const json& training = reference_["training"];
    TrainSpec train;
    train.lora.rank = 4;
    train.lora.alpha = 8.0;
    train.lora.targets = {"q_proj", "v_proj"};
    Chain chain = MakeChain(train, UShape(config(), 1, 1));
    SetReferenceAdapter(&chain);
    CheckCurve(&chain, training["lora_adamw"], TrainingIds(), 1e-2, 1e-4);
  }

  void CheckGreedy(const std::string& model) {
    if (!Open(model)) GTEST_SKIP() << "shared/models is not here";
    Chain chain = MakeChain(Frozen(), CutAfter(config(), {1, 3}));
    ASSERT_FALSE(reference_["greedy"].empty());
    for (const json& greedy : reference_["greedy"]) {
      const std::vector<int32_t> want = Ids(greedy["greedy_ids"]);
      EXPECT_EQ(chain.Greedy(Ids(greedy["prompt_ids"]), want.size()), want);
    }
  }

  // "lora/3/q_proj/B" of the reference is "…layers.3.…q_proj.lora_B.weight" here.
  static std::string PeftName(const ModelConfig& config, const std::string& name) {
    const size_t layer = name.find('/') + 1, leaf = name.find('/', layer) + 1;
    const size_t which = name.find('/', leaf) + 1;
    return LoraTensorName(config, std::stol(name.substr(layer)),
                          absl::StrCat("self_attn.", name.substr(leaf, which - 1 - leaf)),
                          name[which]);
  }

  void CheckFirstGradients(const TrainSpec& train, const json& norms) {
    Chain chain = MakeChain(train, UShape(config(), 2, 1));
    if (!train.full) SetReferenceAdapter(&chain);
    const MicroBatch mb = PredictNext({TrainingIds()});
    chain.Forward(mb, Pass::kTrain);
    chain.Backward(0);
    std::map<std::string, double> got;
    for (const auto& square : chain.GradientSquares())
      got[square.name] = std::sqrt(square.sum_of_squares);
    EXPECT_EQ(got.size(), norms.size());
    for (const auto& [name, norm] : norms.items()) {
      const std::string ours = train.full ? name : PeftName(config(), name);
      ASSERT_TRUE(got.count(ours)) << ours;
      EXPECT_NEAR(got[ours], norm.get<double>(), 2e-5 * norm.get<double>() + 1e-9) << name;
    }
  }

  std::unique_ptr<ModelDirectory> directory_;
  std::unique_ptr<Engine> engine_;
  json reference_;
};

TEST_P(ReferenceContract, Stories260K) { CheckTexts("stories260K", "2"); }
TEST_P(ReferenceContract, Stories260KBf16Stored) { CheckTexts("stories260K-bf16", ""); }
TEST_P(ReferenceContract, BabyLlama) { CheckTexts("babyllama-105", "2"); }
TEST_P(ReferenceContract, Mixed14m) { CheckTexts("mixed-14m", "4"); }

TEST_P(ReferenceContract, GptNano) {
  if (!Open("gpt-nano-sort")) GTEST_SKIP() << "shared/models is not here";
  Chain whole = MakeChain(Frozen(), Whole(config()));
  for (const json& text : reference_["own"]) {
    const double want = text["loss_mean_f64"].get<double>();
    EXPECT_NEAR(whole.MeanLoss(PredictNext({Ids(text["ids"])})), want, 2e-5 * want);
  }
  for (const json& text : reference_["pytorch"]) {
    CheckHidden(text);
    whole.stages()[0]->ResetCache();
    const Tensor logits = whole.Extend(Ids(text["ids"]));
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(logits.floats()[i], text["logits_last_f64"][i].get<double>(), 1e-4);
    }
  }
}

TEST_P(ReferenceContract, Stories260KFull) { CheckFullCurves("stories260K", 0.01, 3e-4, 1e-4); }
TEST_P(ReferenceContract, BabyLlamaFull) { CheckFullCurves("babyllama-105", 1e-3, 3e-4, 1e-4); }
TEST_P(ReferenceContract, Mixed14mFull) { CheckFullCurves("mixed-14m", 0.01, 3e-4, 1e-4); }
// A rate of 0.1 makes this curve chaotic: fp32 and double of the reference itself are 2e-4 apart.
TEST_P(ReferenceContract, GptNanoFull) { CheckFullCurves("gpt-nano-sort", 0.1, 1e-3, 1e-3); }

TEST_P(ReferenceContract, Stories260KLora) { CheckLoraCurve("stories260K"); }
TEST_P(ReferenceContract, BabyLlamaLora) { CheckLoraCurve("babyllama-105"); }
TEST_P(ReferenceContract, Mixed14mLora) { CheckLoraCurve("mixed-14m"); }

TEST_P(ReferenceContract, FirstGradientsOfFullTraining) {
  for (const char* model : {"stories260K", "babyllama-105"}) {
    if (!Open(model)) GTEST_SKIP() << "shared/models is not here";
    TrainSpec train;
    train.full = true;
    CheckFirstGradients(train, reference_["training"]["sgd"]["first_step_grad_l2_f64"]);
  }
}

TEST_P(ReferenceContract, FirstGradientsOfLora) {
  for (const char* model : {"stories260K", "babyllama-105"}) {
    if (!Open(model)) GTEST_SKIP() << "shared/models is not here";
    TrainSpec train;
    train.lora.rank = 4;
    train.lora.alpha = 8.0;
    train.lora.targets = {"q_proj", "v_proj"};
    CheckFirstGradients(train, reference_["training"]["lora_adamw"]["first_step_grad_l2_f64"]);
  }
}

TEST_P(ReferenceContract, GreedyStories260K) { CheckGreedy("stories260K"); }
TEST_P(ReferenceContract, GreedyBabyLlama) { CheckGreedy("babyllama-105"); }
TEST_P(ReferenceContract, GreedyMixed14m) { CheckGreedy("mixed-14m"); }

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_ENGINE_REFERENCE_CONTRACT_H_
