// What every engine promises, on tiny random models. An engine's test instantiates the suite with
// its factory.
#ifndef ISTHMUS_TESTS_ENGINE_STAGE_CONTRACT_H_
#define ISTHMUS_TESTS_ENGINE_STAGE_CONTRACT_H_

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/chain.h"

namespace isthmus {

class StageContract : public testing::TestWithParam<std::unique_ptr<Engine> (*)()> {
 protected:
  StageContract() : engine_(GetParam()()) {}

  // The architectures and branches that every property is checked on.
  static std::vector<ModelConfig> Models() {
    return {TinyConfig("llama"), TinyConfig("qwen2", R"("tie_word_embeddings": false)"),
            TinyConfig("mistral", R"("sliding_window": 3)"), TinyConfig("gpt2")};
  }
  static TrainSpec Lora(double dropout = 0.0) {
    TrainSpec train;
    train.seed = 7;
    train.lora.rank = 3;
    train.lora.alpha = 6.0;
    train.lora.dropout = dropout;
    return train;
  }
  static TrainSpec Full() {
    TrainSpec train;
    train.full = true;
    train.optimizer.weight_decay = 0.01;
    return train;
  }
  // Ragged, with two positions that are not predicted.
  static MicroBatch Ragged(const ModelConfig& config) {
    MicroBatch mb = PredictNext(RandomDocuments(config.vocab_size, {9, 4, 7, 2}, 5));
    mb.targets[0] = mb.targets[10] = -100;
    mb.loss_scale = 1.0 / static_cast<double>(mb.tokens() - 2);
    return mb;
  }
  Chain Make(const ModelConfig& config, const TrainSpec& train, const Parties& parties) {
    return Chain(engine_.get(), config, train, parties, RandomWeights(config, 11).get());
  }
  // Whether trained matrices are rounded when they are set: the loss is a step function of them,
  // and says nothing about its gradient.
  bool RoundsWeights() {
    const ModelConfig config = TinyConfig("llama");
    Chain chain = Make(config, Full(), Whole(config));
    const NamedTensor first = chain.Trained().front();
    return Take(RandomWeights(config, 11)->Load(first.name)).bytes() != first.tensor.bytes();
  }
  // Four steps of two micro-batches; B of the adapters leaves zero, so that every gradient is in
  // play.
  static std::vector<double> Losses(Chain* chain, const ModelConfig& config) {
    std::vector<double> losses;
    MicroBatch mb = Ragged(config);
    for (mb.step = 1; mb.step <= 4; ++mb.step)
      losses.push_back(chain->TrainStep(Divide(mb, 2), 1e-2));
    return losses;
  }

  std::unique_ptr<Engine> engine_;
};

inline void ExpectSameRun(Chain* a, Chain* b, const std::vector<double>& losses_a,
                          const std::vector<double>& losses_b) {
  EXPECT_EQ(losses_a, losses_b);
  EXPECT_TRUE(SameBytes(a->Trained(), b->Trained()));
  EXPECT_LT(losses_a.back(), losses_a.front());
}

TEST_P(StageContract, SplitEqualsUnsplitBitForBit) {
  const bool rounds = RoundsWeights();
  for (const ModelConfig& config : Models()) {
    for (const TrainSpec& train : {Lora(0.2), Full()}) {
      Chain whole = Make(config, train, Whole(config));
      const std::vector<double> want = Losses(&whole, config);
      for (const Parties& parties :
           {CutAfter(config, {2}), CutAfter(config, {0, 1}), CutAfter(config, {1, 2, 3}),
            UShape(config, 1, 1), UShape(config, 0, 0)}) {
        // Rounded at one party, a tied tensor is fp32 at two.
        const bool apart = train.full && config.tied_embeddings && !parties[0].back().head;
        if (apart && rounds) continue;
        SCOPED_TRACE(config.architecture + (train.full ? " full" : " lora"));
        Chain split = Make(config, train, parties);
        ExpectSameRun(&split, &whole, Losses(&split, config), want);
      }
    }
  }
}

// A schedule interleaves forward and backward passes: with a tied tensor in one party the order
// must not show.
TEST_P(StageContract, InterleavedBackwardPassesEqualSequentialOnes) {
  const ModelConfig config = TinyConfig("llama");
  const std::vector<MicroBatch> mbs = Divide(Ragged(config), 2);
  Chain sequential = Make(config, Full(), UShape(config, 1, 1));
  sequential.TrainStep(mbs, 1e-2);
  Chain interleaved = Make(config, Full(), UShape(config, 1, 1));
  for (const MicroBatch& mb : mbs) interleaved.Forward(mb, Pass::kTrain);
  std::vector<Tensor> grads(mbs.size());
  for (size_t s = interleaved.stages().size(); s-- > 0;) {
    for (const MicroBatch& mb : mbs) {
      grads[mb.index] = Take(interleaved.stages()[s]->Backward(mb.index, grads[mb.index]));
    }
  }
  for (size_t party = 0; party < 2; ++party) {
    ASSERT_TRUE(interleaved.group(party)->Step(1e-2, 1.0).ok());
  }
  EXPECT_TRUE(SameBytes(interleaved.Trained(), sequential.Trained()));
}

TEST_P(StageContract, MicroBatchCountsAgree) {
  for (const ModelConfig& config : Models()) {
    const MicroBatch mb = Ragged(config);
    for (const TrainSpec& train : {Lora(0.2), Full()}) {
      Chain one = Make(config, train, Whole(config));
      Chain many = Make(config, train, Whole(config));
      for (int step = 0; step < 4; ++step) {
        const double want = one.TrainStep({mb}, 1e-2);
        EXPECT_NEAR(many.TrainStep(Divide(mb, 1), 1e-2), want, 1e-4 * want);
      }
    }
  }
}

TEST_P(StageContract, RecomputedActivationsChangeNothing) {
  for (const ModelConfig& config : Models()) {
    for (TrainSpec train : {Lora(0.2), Full()}) {
      Chain kept = Make(config, train, UShape(config, 1, 1));
      train.recompute = true;
      Chain recomputed = Make(config, train, UShape(config, 1, 1));
      const std::vector<double> want = Losses(&kept, config);
      ExpectSameRun(&recomputed, &kept, Losses(&recomputed, config), want);
    }
  }
}

TEST_P(StageContract, RecomputationKeepsLess) {
  const ModelConfig config = TinyConfig("llama");
  const LayerRange range{1, 3, false, false};
  const MicroBatch mb = Ragged(config);
  const auto weights = RandomWeights(config, 11);
  int64_t bytes[2];
  for (bool recompute : {false, true}) {
    TrainSpec train = Lora();
    train.recompute = recompute;
    const auto group = Take(engine_->MakeStages(config, train, {&range, 1}, weights.get(), false));
    Stage* stage = group->stage(0);
    EXPECT_EQ(stage->activation_bytes(), 0);
    Take(stage->Forward(mb, Pass::kEval, Tensor::Zeros(DType::kF32, {mb.tokens(), 16})));
    EXPECT_EQ(stage->activation_bytes(), 0);
    Take(stage->Forward(mb, Pass::kTrain, Tensor::Zeros(DType::kF32, {mb.tokens(), 16})));
    bytes[recompute] = stage->activation_bytes();
    stage->DropActivations();
    EXPECT_EQ(stage->activation_bytes(), 0);
    EXPECT_FALSE(stage->Backward(mb.index, Tensor::Zeros(DType::kF32, {mb.tokens(), 16})).ok());
  }
  EXPECT_EQ(bytes[true], 2 * mb.tokens() * 16 * 4);
  EXPECT_GT(bytes[false], 3 * bytes[true]);
}

TEST_P(StageContract, DropoutDependsOnStepAndSampleOnly) {
  const ModelConfig config = TinyConfig("llama");
  MicroBatch mb = Ragged(config);
  Chain chain = Make(config, Lora(0.5), Whole(config));
  chain.TrainStep({mb}, 1e-1);
  const auto losses = [&](const MicroBatch& batch) {
    const StageOutput out = chain.Forward(batch, Pass::kTrain);
    for (Stage* stage : chain.stages()) stage->DropActivations();
    return out.sample_loss_sum;
  };
  const std::vector<double> together = losses(mb);
  EXPECT_EQ(losses(mb), together);
  const std::vector<MicroBatch> alone = Divide(mb, 1);
  for (size_t s = 0; s < alone.size(); ++s) EXPECT_NEAR(losses(alone[s])[0], together[s], 1e-4);
  MicroBatch next = mb;
  ++next.step;
  EXPECT_NE(losses(next), together);
  MicroBatch renamed = mb;
  renamed.samples[0] += 100;
  EXPECT_NE(losses(renamed)[0], together[0]);
  EXPECT_EQ(losses(renamed)[1], together[1]);
  const double evaluated = chain.MeanLoss(mb);
  EXPECT_EQ(chain.MeanLoss(next), evaluated);
}

TEST_P(StageContract, RaggedSamplesDoNotTouchEachOther) {
  for (const ModelConfig& config : Models()) {
    Chain chain = Make(config, Full(), Whole(config));
    const MicroBatch mb = Ragged(config);
    const StageOutput together = chain.Forward(mb, Pass::kEval);
    EXPECT_EQ(together.predicted, mb.tokens() - 2);
    const std::vector<MicroBatch> alone = Divide(mb, 1);
    for (size_t s = 0; s < alone.size(); ++s) {
      const StageOutput one = chain.Forward(alone[s], Pass::kEval);
      EXPECT_NEAR(one.loss_sum, together.sample_loss_sum[s], 1e-4);
      EXPECT_EQ(one.predicted, together.sample_predicted[s]);
    }
  }
}

TEST_P(StageContract, ExportedStateContinuesBitForBit) {
  const ModelConfig config = TinyConfig("llama");
  for (const char* optimizer : {"adamw", "sgd"}) {
    for (TrainSpec train : {Lora(0.2), Full()}) {
      train.optimizer.name = optimizer;
      train.optimizer.momentum = 0.9;
      Chain first = Make(config, train, UShape(config, 1, 1));
      Losses(&first, config);
      // Another placement takes it up.
      Chain second = Make(config, train, CutAfter(config, {1, 3}));
      if (config.tied_embeddings && train.full) second = Make(config, train, UShape(config, 2, 0));
      second.SetTrained(first.Trained());
      second.SetOptimizerState(first.OptimizerState());
      EXPECT_EQ(Losses(&first, config), Losses(&second, config));
      EXPECT_TRUE(SameBytes(first.Trained(), second.Trained()));
      EXPECT_TRUE(SameBytes(first.OptimizerState(), second.OptimizerState()));
    }
  }
}

// Training by probes (engine/zeroth_order.h): what is moved shows in the loss, comes back to the
// bit, and goes down the slopes, wherever the cuts are.
TEST_P(StageContract, ProbesMoveTrainedValuesAndBack) {
  for (TrainSpec train : {Lora(), Full()}) {
    if (train.full && RoundsWeights()) continue;  // refused
    const ModelConfig config = TinyConfig("llama", R"("tie_word_embeddings": false)");
    const MicroBatch mb = Ragged(config);
    train.optimizer.name = "sgd";
    train.probes = 1;
    Chain whole = Make(config, train, Whole(config));
    Chain split = Make(config, train, UShape(config, 1, 1));
    const auto all = [&](const auto& work) {
      ASSERT_TRUE(work(whole.group(0)).ok());
      for (size_t party = 0; party < 2; ++party) ASSERT_TRUE(work(split.group(party)).ok());
      EXPECT_TRUE(SameBytes(whole.Trained(), split.Trained()));
    };
    const std::vector<NamedTensor> before = whole.Trained();
    const double loss = whole.MeanLoss(mb);
    all([](StageGroup* group) { return group->Move({7, 1, 0}, 0.05); });
    EXPECT_NE(whole.MeanLoss(mb), loss);
    EXPECT_EQ(whole.MeanLoss(mb), split.MeanLoss(mb));
    all([](StageGroup* group) { return group->MoveBack(); });
    EXPECT_TRUE(SameBytes(whole.Trained(), before));
    all([](StageGroup* group) { return group->Descend({7, 1, {0.5}, 0.1, 0.0}); });
    EXPECT_FALSE(SameBytes(whole.Trained(), before));
    EXPECT_EQ(whole.MeanLoss(mb), split.MeanLoss(mb));
  }
}

TEST_P(StageContract, IncompleteStateIsRefused) {
  const ModelConfig config = TinyConfig("llama");
  Chain chain = Make(config, Lora(), Whole(config));
  std::vector<NamedTensor> trained = chain.Trained();
  const std::vector<NamedTensor> complete = trained;
  trained.pop_back();
  EXPECT_EQ(chain.group(0)->SetTrained(trained).code(), absl::StatusCode::kNotFound);
  trained.push_back({complete.back().name, Tensor::Zeros(DType::kF32, {1, 1})});
  EXPECT_EQ(chain.group(0)->SetTrained(trained).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(SameBytes(chain.Trained(), complete));
  std::vector<NamedTensor> state = chain.OptimizerState();
  EXPECT_EQ(state.back().name, "step");
  state.pop_back();
  EXPECT_EQ(chain.group(0)->SetOptimizerState(state).code(), absl::StatusCode::kNotFound);
}

// SGD with rate 1 shows the gradient: it is what a step takes away. Along its own direction the
// loss must fall by its norm.
TEST_P(StageContract, GradientsAreFiniteDifferences) {
  if (RoundsWeights()) GTEST_SKIP() << "weights are rounded";
  constexpr double kStep = 4e-3;
  for (const ModelConfig& config : Models()) {
    for (TrainSpec train : {Lora(), Full()}) {
      train.optimizer = {};
      train.optimizer.name = "sgd";
      if (!train.full)
        train.lora.targets = {BlockLinears(config)[0].leaf, BlockLinears(config).back().leaf};
      Chain chain = Make(config, train, Whole(config));
      const MicroBatch mb = Ragged(config);
      if (!train.full) chain.TrainStep({mb}, 1.0);  // B away from zero
      const std::vector<NamedTensor> before = chain.Trained();
      chain.TrainStep({mb}, 1.0);
      const std::vector<NamedTensor> after = chain.Trained();
      int checked = 0;
      for (size_t t = 0; t < before.size(); ++t) {
        const absl::Span<const float> from = before[t].tensor.floats(),
                                      to = after[t].tensor.floats();
        double squares = 0.0;
        for (size_t i = 0; i < from.size(); ++i) squares += std::pow(from[i] - to[i], 2);
        const double norm = std::sqrt(squares);
        if (norm < 5e-2) continue;  // below the rounding of an fp32 loss
        double loss[2];
        for (int side : {0, 1}) {
          std::vector<NamedTensor> moved = before;
          moved[t].tensor = Tensor(DType::kF32, before[t].tensor.shape());
          const double factor = (side == 0 ? -kStep : kStep) / norm;
          for (size_t i = 0; i < from.size(); ++i) {
            moved[t].tensor.mutable_floats()[i] =
                static_cast<float>(from[i] + factor * (from[i] - to[i]));
          }
          chain.SetTrained(moved);
          loss[side] = chain.MeanLoss(mb);
        }
        EXPECT_NEAR((loss[1] - loss[0]) / (2 * kStep), norm, 1e-2 * norm) << before[t].name;
        ++checked;
      }
      EXPECT_GE(checked, 5);
    }
  }
}

TEST_P(StageContract, TiedTensorAtTwoPartiesEqualsOneParty) {
  if (RoundsWeights()) GTEST_SKIP() << "weights are rounded, but not a tensor of two parties";
  for (const char* architecture : {"llama", "gpt2"}) {
    const ModelConfig config = TinyConfig(architecture);
    ASSERT_TRUE(config.tied_embeddings);
    Chain one = Make(config, Full(), UShape(config, 1, 1));
    Chain two = Make(config, Full(), CutAfter(config, {1, 3}));
    const std::vector<double> want = Losses(&one, config);
    ExpectSameRun(&two, &one, Losses(&two, config), want);
  }
}

TEST_P(StageContract, NothingIsSharedWithoutTwoHolders) {
  const ModelConfig config = TinyConfig("llama");
  Chain full = Make(config, Full(), Whole(config));
  EXPECT_TRUE(Take(full.group(0)->SharedGradient()).empty());
  EXPECT_FALSE(full.group(0)->SetSharedGradient(Tensor::Zeros(DType::kF32, {29, 16})).ok());
  Chain lora = Make(config, Lora(), CutAfter(config, {2}));
  EXPECT_TRUE(Take(lora.group(0)->SharedGradient()).empty());
}

// In pieces of any size, over any cut: what the whole sequence gives at once.
TEST_P(StageContract, ExtendEqualsForward) {
  for (const ModelConfig& config : Models()) {
    const std::vector<int32_t> ids = RandomDocuments(config.vocab_size, {12}, 9)[0];
    Parties front = CutAfter(config, {1, 3});
    front.back()[0].head = false;
    Chain chain = Make(config, Lora(), front);
    MicroBatch mb = PredictNext({ids});
    mb.ids = ids;
    ++mb.lengths[0];
    chain.Forward(mb, Pass::kEval);
    const Tensor want = chain.cuts.back();
    for (const std::vector<size_t>& pieces : {std::vector<size_t>{12}, {5, 1, 1, 1, 4}}) {
      for (Stage* stage : chain.stages()) stage->ResetCache();
      size_t at = 0;
      for (size_t piece : pieces) {
        const Tensor got = chain.Extend({ids.begin() + at, ids.begin() + at + piece});
        ASSERT_EQ(got.shape(), (Shape{static_cast<int64_t>(piece), config.hidden_size}));
        for (size_t i = 0; i < got.floats().size(); ++i) {
          ASSERT_NEAR(got.floats()[i], want.floats()[at * config.hidden_size + i], 2e-5);
        }
        at += piece;
      }
    }
  }
}

TEST_P(StageContract, ExtendGivesTheLogitsThatTheLossUses) {
  for (const ModelConfig& config : Models()) {
    Chain chain = Make(config, Lora(), UShape(config, 1, 1));
    const std::vector<int32_t> ids = RandomDocuments(config.vocab_size, {8}, 9)[0];
    MicroBatch mb = PredictNext({ids});
    std::fill(mb.targets.begin(), mb.targets.end() - 1, -100);
    const Tensor logits = chain.Extend({ids.begin(), ids.end() - 1});
    ASSERT_EQ(logits.shape(), Shape{config.vocab_size});
    double sum = 0.0;
    for (float logit : logits.floats()) sum += std::exp(logit);
    EXPECT_NEAR(chain.MeanLoss(mb), std::log(sum) - logits.floats()[ids.back()], 1e-5);
  }
}

TEST_P(StageContract, FrozenStagesGiveGradientsAtTheCut) {
  const ModelConfig config = TinyConfig("llama");
  TrainSpec frozen;
  frozen.frozen = true;
  Chain evaluation = Make(config, frozen, CutAfter(config, {2}));
  Chain training = Make(config, Lora(), CutAfter(config, {2}));  // B = 0: the same function
  for (Chain* chain : {&evaluation, &training}) {
    chain->Forward(Ragged(config), Pass::kTrain);
    chain->Backward(0);
  }
  EXPECT_EQ(evaluation.grad_cuts[0].bytes(), training.grad_cuts[0].bytes());
  EXPECT_TRUE(evaluation.Trained().empty());
  EXPECT_EQ(evaluation.group(0)->trained_bytes(), 0);
  EXPECT_GT(evaluation.group(0)->parameter_bytes(), 0);
}

TEST_P(StageContract, LossScaleAndClipScaleTheGradient) {
  const ModelConfig config = TinyConfig("llama");
  TrainSpec train = Full();
  train.optimizer.weight_decay = 0.0;
  train.optimizer.name = "sgd";
  Chain chain = Make(config, train, Whole(config));
  MicroBatch mb = Ragged(config);
  const auto squares = [&] {
    chain.group(0)->ZeroGradients();
    chain.Forward(mb, Pass::kTrain);
    chain.Backward(0);
    double sum = 0.0;
    for (const auto& square : chain.GradientSquares()) sum += square.sum_of_squares;
    return sum;
  };
  const double plain = squares();
  mb.loss_scale *= 4.0;
  EXPECT_NEAR(squares(), 16.0 * plain, 1e-4 * plain);
  const std::vector<NamedTensor> before = chain.Trained();
  ASSERT_TRUE(chain.group(0)->Step(1.0, 0.25).ok());
  double moved = 0.0;
  const std::vector<NamedTensor> after = chain.Trained();
  for (size_t t = 0; t < before.size(); ++t) {
    for (size_t i = 0; i < before[t].tensor.floats().size(); ++i) {
      moved += std::pow(before[t].tensor.floats()[i] - after[t].tensor.floats()[i], 2);
    }
  }
  EXPECT_NEAR(moved, plain, (RoundsWeights() ? 1e-2 : 1e-4) * plain);
  for (const auto& square : chain.GradientSquares()) EXPECT_EQ(square.sum_of_squares, 0.0);
}

TEST_P(StageContract, NoPredictedTokenIsNoLossAndNoGradient) {
  const ModelConfig config = TinyConfig("llama");
  for (const TrainSpec& train : {Lora(), Full()}) {
    Chain chain = Make(config, train, CutAfter(config, {2}));
    MicroBatch mb = Ragged(config);
    std::fill(mb.targets.begin(), mb.targets.end(), -100);
    const StageOutput out = chain.Forward(mb, Pass::kTrain);
    EXPECT_EQ(out.predicted, 0);
    EXPECT_EQ(out.loss_sum, 0.0);
    chain.Backward(0);
    for (float g : chain.grad_cuts[0].floats()) ASSERT_EQ(g, 0.0f);
  }
}

TEST_P(StageContract, AdapterStartsAsPeftDrawsIt) {
  const ModelConfig config = TinyConfig("llama");
  Chain chain = Make(config, Lora(), Whole(config));
  const std::vector<NamedTensor> trained = chain.Trained();
  ASSERT_EQ(trained.size(), 4u * 2 * 2);
  EXPECT_EQ(trained[0].name, LoraTensorName(config, 0, "self_attn.q_proj", 'A'));
  EXPECT_EQ(trained[1].name, LoraTensorName(config, 0, "self_attn.q_proj", 'B'));
  double largest = 0.0, sum = 0.0;
  for (size_t t = 0; t < trained.size(); ++t) {
    for (float value : trained[t].tensor.floats()) {
      if (t % 2 == 1) {
        ASSERT_EQ(value, 0.0f);
      }
      largest = std::max<double>(largest, std::abs(value));
      sum += value;
    }
  }
  EXPECT_LE(largest, 0.25);  // 1 / sqrt(16)
  EXPECT_GT(largest, 0.24);
  EXPECT_NEAR(sum / (8 * 3 * 16), 0.0, 0.03);
  EXPECT_NE(trained[0].tensor.bytes(), trained[4].tensor.bytes());
}

TEST_P(StageContract, BadInputIsRefused) {
  const ModelConfig config = TinyConfig("gpt2");
  Chain chain = Make(config, Lora(), CutAfter(config, {2}));
  Stage* first = chain.stages()[0];
  Stage* last = chain.stages()[1];
  const MicroBatch good = Ragged(config);
  const Tensor rows = Tensor::Zeros(DType::kF32, {good.tokens(), 16});
  const auto refused = [](const auto& result) {
    return result.status().code() == absl::StatusCode::kInvalidArgument;
  };
  for (int32_t id : {-1, 29, INT32_MAX}) {
    MicroBatch bad = good;
    bad.ids[3] = id;
    EXPECT_TRUE(refused(first->Forward(bad, Pass::kEval, {})));
    EXPECT_TRUE(refused(first->Extend({id}, {})));
    bad = good;
    bad.targets[3] = id;
    EXPECT_TRUE(refused(last->Forward(bad, Pass::kEval, rows)));
  }
  MicroBatch bad = good;
  bad.ids.pop_back();
  EXPECT_TRUE(refused(first->Forward(bad, Pass::kEval, {})));
  bad = good;
  bad.lengths[0] = 0;
  EXPECT_TRUE(refused(first->Forward(bad, Pass::kEval, {})));
  bad = good;
  bad.lengths.clear();
  bad.samples.clear();
  EXPECT_TRUE(refused(first->Forward(bad, Pass::kEval, {})));
  const MicroBatch tall = PredictNext(RandomDocuments(config.vocab_size, {34}, 1));
  EXPECT_TRUE(refused(first->Forward(tall, Pass::kEval, {})));
  EXPECT_TRUE(refused(first->Extend(tall.ids, {})));
  EXPECT_TRUE(refused(first->Extend({}, {})));
  EXPECT_TRUE(refused(last->Forward(good, Pass::kEval, {})));
  EXPECT_TRUE(refused(last->Forward(good, Pass::kEval, Tensor::Zeros(DType::kF32, {3, 16}))));
  EXPECT_TRUE(refused(last->Forward(good, Pass::kEval, Tensor::Zeros(DType::kF16, rows.shape()))));
  Take(first->Forward(good, Pass::kTrain, {}));
  EXPECT_FALSE(first->Forward(good, Pass::kTrain, {}).ok());
  EXPECT_TRUE(refused(first->Backward(0, Tensor::Zeros(DType::kF32, {1, 16}))));
  EXPECT_FALSE(first->Backward(1, rows).ok());
  EXPECT_TRUE(first->Backward(0, rows).ok());
}

TEST_P(StageContract, BadJobsAreRefused) {
  const ModelConfig config = TinyConfig("llama");
  const auto weights = RandomWeights(config, 1);
  const auto status = [&](const TrainSpec& train, const LayerRange& range) {
    return engine_->MakeStages(config, train, {&range, 1}, weights.get(), false).status();
  };
  const LayerRange whole{0, 4, true, true};
  for (const LayerRange& range : {LayerRange{0, 5, true, true}, LayerRange{-1, 4, false, false},
                                  LayerRange{3, 2, false, false}, LayerRange{1, 4, true, false},
                                  LayerRange{0, 3, false, true}}) {
    EXPECT_EQ(status(Lora(), range).code(), absl::StatusCode::kInvalidArgument);
  }
  TrainSpec train = Lora();
  train.lora.targets = {"q_proj", "c_attn"};
  EXPECT_NE(status(train, whole).message().find("c_attn"), absl::string_view::npos);
  train = Lora();
  train.optimizer.name = "lion";
  EXPECT_NE(status(train, whole).message().find("lion"), absl::string_view::npos);
  train = Lora();
  train.lora.rank = 0;
  EXPECT_EQ(status(train, whole).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StageContract, BlocksAreMeasured) {
  for (const ModelConfig& config : Models()) {
    const Engine::Speed speed = Take(engine_->MeasureBlock(config, Lora(), 40));
    EXPECT_GT(speed.forward_s, 0.0);
    EXPECT_GT(speed.backward_s, 0.0);
  }
}

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_ENGINE_STAGE_CONTRACT_H_
