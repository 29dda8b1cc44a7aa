#include "tests/engine/chain.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "nlohmann/json.hpp"

namespace isthmus {

Parties Whole(const ModelConfig& config) { return {{{0, config.num_layers, true, true}}}; }

Parties CutAfter(const ModelConfig& config, const std::vector<int64_t>& cuts) {
  Parties parties;
  int64_t first = 0;
  for (int64_t cut : cuts) {
    parties.push_back({{first, cut, parties.empty(), false}});
    first = cut;
  }
  parties.push_back({{first, config.num_layers, parties.empty(), true}});
  return parties;
}

Parties UShape(const ModelConfig& config, int64_t head_layers, int64_t tail_layers) {
  const int64_t tail = config.num_layers - tail_layers;
  return {{{0, head_layers, true, false}, {tail, config.num_layers, false, true}},
          {{head_layers, tail, false, false}}};
}

Chain::Chain(Engine* engine, const ModelConfig& config, const TrainSpec& train,
             const Parties& parties, WeightSource* weights)
    : train_(train) {
  int embedding = -1, head = -1;
  for (size_t p = 0; p < parties.size(); ++p) {
    for (const LayerRange& range : parties[p]) {
      if (range.embedding) embedding = static_cast<int>(p);
      if (range.head) head = static_cast<int>(p);
    }
  }
  const bool apart = config.tied_embeddings && embedding >= 0 && head >= 0 && embedding != head;
  for (size_t p = 0; p < parties.size(); ++p) {
    const int party = static_cast<int>(p);
    const bool shared = apart && train.full && (party == embedding || party == head);
    groups_.push_back(Take(engine->MakeStages(config, train, parties[p], weights, shared)));
    for (size_t s = 0; s < groups_.back()->size(); ++s) stages_.push_back(groups_.back()->stage(s));
  }
  std::sort(stages_.begin(), stages_.end(), [](Stage* a, Stage* b) {
    const LayerRange &x = a->range(), &y = b->range();
    return std::tuple(!x.embedding, x.head, x.first_layer, x.last_layer) <
           std::tuple(!y.embedding, y.head, y.first_layer, y.last_layer);
  });
}

StageOutput Chain::Forward(const MicroBatch& mb, Pass pass) {
  cuts.clear();
  StageOutput out;
  for (Stage* stage : stages_) {
    out = Take(stage->Forward(mb, pass, out.hidden));
    if (!stage->range().head) cuts.push_back(out.hidden);
  }
  return out;
}

void Chain::Backward(uint32_t micro_batch) {
  grad_cuts.clear();
  Tensor grad;
  for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) {
    grad = Take((*stage)->Backward(micro_batch, grad));
    if (!(*stage)->range().embedding) grad_cuts.insert(grad_cuts.begin(), grad);
  }
}

void Chain::ExchangeSharedGradient() {
  std::vector<std::pair<StageGroup*, Tensor>> shared;
  for (auto& group : groups_) {
    Tensor grad = Take(group->SharedGradient());
    if (!grad.empty()) shared.emplace_back(group.get(), std::move(grad));
  }
  if (shared.empty()) return;
  ISTHMUS_CHECK(shared.size() == 2);
  Tensor sum(DType::kF32, shared[0].second.shape());
  for (size_t i = 0; i < sum.mutable_floats().size(); ++i) {
    sum.mutable_floats()[i] = shared[0].second.floats()[i] + shared[1].second.floats()[i];
  }
  for (auto& [group, grad] : shared) ISTHMUS_CHECK(group->SetSharedGradient(sum).ok());
}

double Chain::TrainStep(const std::vector<MicroBatch>& mbs, double lr) {
  double loss = 0.0;
  int64_t predicted = 0;
  for (const MicroBatch& mb : mbs) {
    const StageOutput out = Forward(mb, Pass::kTrain);
    loss += out.loss_sum;
    predicted += out.predicted;
    Backward(mb.index);
  }
  ExchangeSharedGradient();
  double scale = 1.0;
  if (train_.optimizer.clip_norm > 0.0) {
    double squares = 0.0;
    for (const auto& square : GradientSquares()) squares += square.sum_of_squares;
    scale = std::min(1.0, train_.optimizer.clip_norm / (std::sqrt(squares) + 1e-6));
  }
  for (auto& group : groups_) ISTHMUS_CHECK(group->Step(lr, scale).ok());
  return loss / static_cast<double>(predicted);
}

double Chain::MeanLoss(const MicroBatch& mb) {
  const StageOutput out = Forward(mb, Pass::kEval);
  return out.loss_sum / static_cast<double>(out.predicted);
}

Tensor Chain::Extend(const std::vector<int32_t>& ids) {
  Tensor x;
  for (Stage* stage : stages_) x = Take(stage->Extend(ids, x));
  return x;
}

std::vector<int32_t> Chain::Greedy(std::vector<int32_t> ids, size_t length) {
  for (Stage* stage : stages_) stage->ResetCache();
  std::vector<int32_t> next = ids;
  while (ids.size() < length) {
    const Tensor logits = Extend(next);
    const auto best = std::max_element(logits.floats().begin(), logits.floats().end());
    next = {static_cast<int32_t>(best - logits.floats().begin())};
    ids.push_back(next[0]);
  }
  return ids;
}

std::vector<NamedTensor> Chain::Trained() {
  std::vector<NamedTensor> all;
  for (auto& group : groups_) {
    for (NamedTensor& tensor : Take(group->Trained())) all.push_back(std::move(tensor));
  }
  return all;
}

void Chain::SetTrained(const std::vector<NamedTensor>& tensors) {
  for (auto& group : groups_) ISTHMUS_CHECK(group->SetTrained(tensors).ok());
}

std::vector<NamedTensor> Chain::OptimizerState() {
  std::vector<NamedTensor> all;
  for (auto& group : groups_) {
    for (NamedTensor& tensor : Take(group->OptimizerState())) all.push_back(std::move(tensor));
  }
  return all;
}

void Chain::SetOptimizerState(const std::vector<NamedTensor>& tensors) {
  for (auto& group : groups_) ISTHMUS_CHECK(group->SetOptimizerState(tensors).ok());
}

std::vector<StageGroup::NamedSquare> Chain::GradientSquares() {
  std::vector<StageGroup::NamedSquare> all;
  for (auto& group : groups_) {
    for (auto& square : Take(group->GradientSquares())) all.push_back(std::move(square));
  }
  return all;
}

MicroBatch PredictNext(const std::vector<std::vector<int32_t>>& documents, uint64_t first_sample) {
  MicroBatch mb;
  mb.step = 1;
  for (const std::vector<int32_t>& ids : documents) {
    mb.samples.push_back(first_sample + mb.samples.size());
    mb.lengths.push_back(static_cast<int32_t>(ids.size()) - 1);
    mb.ids.insert(mb.ids.end(), ids.begin(), ids.end() - 1);
    mb.targets.insert(mb.targets.end(), ids.begin() + 1, ids.end());
  }
  mb.loss_scale = 1.0 / static_cast<double>(mb.tokens());
  return mb;
}

std::vector<MicroBatch> Divide(const MicroBatch& mb, size_t size) {
  std::vector<MicroBatch> parts;
  int64_t row = 0;
  for (size_t s = 0; s < mb.samples.size(); ++s) {
    if (s % size == 0) {
      MicroBatch part;
      part.step = mb.step;
      part.index = static_cast<uint32_t>(parts.size());
      part.loss_scale = mb.loss_scale;
      parts.push_back(part);
    }
    MicroBatch& part = parts.back();
    const int32_t length = mb.lengths[s];
    part.samples.push_back(mb.samples[s]);
    part.lengths.push_back(length);
    part.ids.insert(part.ids.end(), mb.ids.begin() + row, mb.ids.begin() + row + length);
    part.targets.insert(part.targets.end(), mb.targets.begin() + row,
                        mb.targets.begin() + row + length);
    row += length;
  }
  return parts;
}

std::vector<std::vector<int32_t>> RandomDocuments(int64_t vocab, const std::vector<int>& lengths,
                                                  uint64_t seed) {
  CounterRng rng(RandomKey(seed, "test.documents"));
  std::vector<std::vector<int32_t>> documents;
  for (int length : lengths) {
    documents.emplace_back();
    for (int i = 0; i < length; ++i) {
      documents.back().push_back(static_cast<int32_t>(rng.NextBelow(vocab)));
    }
  }
  return documents;
}

ModelConfig TinyConfig(const std::string& architecture, const std::string& extra) {
  nlohmann::json json;
  if (architecture == "gpt2") {
    json = {{"model_type", "gpt2"},
            {"n_layer", 4},
            {"n_embd", 16},
            {"n_head", 4},
            {"n_positions", 32},
            {"vocab_size", 29},
            {"architectures", {"GPT2LMHeadModel"}},
            {"initializer_range", 0.2}};
  } else {
    json = {{"model_type", architecture},
            {"num_hidden_layers", 4},
            {"hidden_size", 16},
            {"num_attention_heads", 4},
            {"num_key_value_heads", 2},
            {"intermediate_size", 24},
            {"vocab_size", 29},
            {"max_position_embeddings", 32},
            {"tie_word_embeddings", true},
            {"initializer_range", 0.2}};
  }
  json.update(nlohmann::json::parse(absl::StrCat("{", extra, "}")));
  return Take(ParseModelConfig(json.dump()));
}

bool SameBytes(const std::vector<NamedTensor>& a, const std::vector<NamedTensor>& b) {
  std::map<std::string, absl::Span<const uint8_t>> by_name;
  for (const NamedTensor& tensor : b) by_name[tensor.name] = tensor.tensor.bytes();
  for (const NamedTensor& tensor : a) {
    const auto found = by_name.find(tensor.name);
    if (found == by_name.end() || found->second != tensor.tensor.bytes()) {
      std::fprintf(stderr, "%s differs\n", tensor.name.c_str());
      return false;
    }
  }
  return !a.empty();
}

}  // namespace isthmus
