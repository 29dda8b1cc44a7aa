// Generation on a low-bit key/value cache: memory, pieces and splits, and real models.
#include "engine/edge/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "engine/edge/edge_stage_group.h"
#include "engine/edge/engine.h"
#include "gtest/gtest.h"
#include "model/dataset.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "tests/engine/chain.h"

namespace isthmus {
namespace {

const char* const kFormats[] = {"fp32", "int8", "int4"};

TrainSpec Frozen() {
  TrainSpec train;
  train.frozen = true;
  return train;
}

Chain MakeChain(const ModelConfig& config, WeightSource* weights, const std::string& kv_cache,
                const Parties& parties, int threads = 2) {
  const auto engine = Take(MakeEdgeEngine(threads, "", kv_cache));
  return Chain(engine.get(), config, Frozen(), parties, weights);
}

TEST(EdgeKvCacheTest, AnUnknownFormatIsRefused) {
  const auto made = MakeEdgeEngine(1, "", "int3");
  EXPECT_EQ(made.status().message(), "--kv-cache: expected fp32, int8 or int4, got int3");
}

// However the ids come, over whatever cut and on however many threads: the same bits.
TEST(EdgeKvCacheTest, PiecesSplitsAndThreadsDoNotShow) {
  for (const ModelConfig& config :
       {TinyConfig("gpt2"), TinyConfig("llama"), TinyConfig("mistral", "\"sliding_window\": 3")}) {
    const auto weights = RandomWeights(config, 5);
    const std::vector<int32_t> ids = RandomDocuments(config.vocab_size, {30}, 9)[0];
    for (const char* format : kFormats) {
      Chain whole = MakeChain(config, weights.get(), format, Whole(config));
      Chain split = MakeChain(config, weights.get(), format, UShape(config, 1, 1), 3);
      const Tensor want = whole.Extend(ids);
      const Tensor across = split.Extend(ids);
      EXPECT_EQ(across.bytes(), want.bytes()) << format;
      for (Stage* stage : split.stages()) stage->ResetCache();
      Tensor got;
      for (size_t at = 0; at < ids.size(); at += 5)
        got = split.Extend({ids.begin() + at, ids.begin() + at + 5});
      // fp32 takes another path for few rows.
      if (std::string(format) != "fp32") {
        EXPECT_EQ(got.bytes(), want.bytes()) << format;
      }
    }
  }
}

// What the caches of `positions` take, counted by the engine.
int64_t CacheBytes(const ModelConfig& config, const std::string& format, int64_t positions) {
  const auto weights = RandomWeights(config, 5);
  Chain chain = MakeChain(config, weights.get(), format, Whole(config), 1);
  auto* group = dynamic_cast<edge::EdgeStageGroup*>(chain.group(0));
  const std::vector<int32_t> ids(static_cast<size_t>(positions), 1);
  // The work space grows with the first pass and not with the second, of the same size.
  MicroBatch mb = PredictNext({ids});
  mb.ids = mb.targets = ids;
  mb.lengths = {static_cast<int32_t>(positions)};
  chain.Forward(mb, Pass::kEval);
  const int64_t before = group->arena_bytes();
  chain.Extend(ids);
  return group->arena_bytes() - before;
}

TEST(EdgeKvCacheTest, TheCacheTakesItsBits) {
  const ModelConfig config =
      TinyConfig("llama", "\"hidden_size\": 256, \"max_position_embeddings\": 128");
  ASSERT_EQ(config.head_dim, 64);
  int64_t bytes[3];
  for (size_t i = 0; i < 3; ++i) bytes[i] = CacheBytes(config, kFormats[i], 100);
  std::printf("caches of 100 positions: %ld, %ld, %ld bytes\n", bytes[0], bytes[1], bytes[2]);
  // 64 floats against 64 codes, or 32 bytes of two, and 4 bytes of scale; blocks of 16.
  EXPECT_NEAR(static_cast<double>(bytes[0]) / static_cast<double>(bytes[1]), 256.0 / 68, 0.5);
  EXPECT_NEAR(static_cast<double>(bytes[0]) / static_cast<double>(bytes[2]), 256.0 / 36, 1.0);
}

std::string Shared(const std::string& path) {
  return absl::StrCat(ISTHMUS_SOURCE_DIR, "/../shared/", path);
}

std::vector<int32_t> IdsOf(const std::string& model, const std::string& data, size_t count) {
  const auto tokenizer = Take(Tokenizer::Open(Shared("models/" + model)));
  DatasetOptions options;
  const auto config = Take(ModelDirectory::Open(Shared("models/" + model)))->config();
  options.sequence_length = config.max_positions;
  options.vocab_size = config.vocab_size;
  const auto documents = Take(ReadDocuments(Shared("data/" + data), tokenizer.get(), options));
  std::vector<int32_t> ids;
  for (const Window& window : Take(CutWindows(documents, options))) {
    if (window.inputs.size() >= count) {
      ids.assign(window.inputs.begin(), window.inputs.begin() + static_cast<int64_t>(count));
      break;
    }
  }
  return ids;
}

// The mean loss of every next id, each given to the model alone.
double LossThroughCache(Chain* chain, const std::vector<int32_t>& ids) {
  for (Stage* stage : chain->stages()) stage->ResetCache();
  double loss = 0.0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const Tensor logits = chain->Extend({ids[i]});
    double sum = 0.0;
    for (float logit : logits.floats()) sum += std::exp(static_cast<double>(logit));
    loss += std::log(sum) - logits.floats()[static_cast<size_t>(ids[i + 1])];
  }
  return loss / static_cast<double>(ids.size() - 1);
}

size_t SameFor(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin());
}

struct Bar {
  std::string model;
  size_t greedy;      // int8 writes at least so many ids as fp32 does, on every text
  double int8, int4;  // the most that the loss may move, nats a token, in the mean over the texts
};

class KvCacheModelTest : public testing::TestWithParam<Bar> {};

// Heads of 8 channels (stories260K) have few codes to tell keys apart: 4 bits are too few there.
TEST_P(KvCacheModelTest, WritesTheSameAndLosesLittle) {
  const Bar& bar = GetParam();
  if (!std::filesystem::exists(Shared("models/" + bar.model))) GTEST_SKIP() << "shared is not here";
  const auto directory = Take(ModelDirectory::Open(Shared("models/" + bar.model)));
  const ModelConfig& config = directory->config();
  double moved[3] = {};
  for (const char* text : {"tinystories-sample/stories.jsonl", "tinyshakespeare/input.txt",
                           "wikitext2/valid_first.tokens.txt"}) {
    const std::vector<int32_t> ids = IdsOf(bar.model, text, 200);
    ASSERT_EQ(ids.size(), 200u);
    double losses[3];
    std::vector<int32_t> written[3];
    for (size_t i = 0; i < 3; ++i) {
      Chain chain = MakeChain(config, directory.get(), kFormats[i], Whole(config));
      losses[i] = LossThroughCache(&chain, ids);
      written[i] = chain.Greedy({ids.begin(), ids.begin() + 4}, 120);
      moved[i] += std::abs(losses[i] - losses[0]) / 3.0;
    }
    std::printf("%s on %s: loss %.5f, int8 %+.5f, int4 %+.5f; same ids: %zu, %zu of 120\n",
                bar.model.c_str(), text, losses[0], losses[1] - losses[0], losses[2] - losses[0],
                SameFor(written[0], written[1]), SameFor(written[0], written[2]));
    EXPECT_NE(losses[1], losses[0]);
    EXPECT_NE(losses[2], losses[1]);
    EXPECT_GE(SameFor(written[0], written[1]), bar.greedy);
  }
  EXPECT_LE(moved[1], bar.int8);
  EXPECT_LE(moved[2], bar.int4);
}

INSTANTIATE_TEST_SUITE_P(Models, KvCacheModelTest,
                         testing::Values(Bar{"stories260K", 16, 0.015, 0.35},
                                         Bar{"babyllama-105", 100, 0.003, 0.08}));

}  // namespace
}  // namespace isthmus
