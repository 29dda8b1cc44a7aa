#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "model/convert.h"
#include "model/safetensors.h"
#include "model/weights.h"
#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

class ModelDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override { WriteTinyModel(folder_.path()); }

  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  std::string Read(const std::string& name) const { return ReadFile(Path(name)).value(); }
  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  void ReplaceInConfig(const std::string& from, const std::string& to) const {
    const std::string text = Read("config.json");
    ASSERT_TRUE(absl::StrContains(text, from)) << from;
    Write("config.json", absl::StrReplaceAll(text, {{from, to}}));
  }
  // One line, and one of the two codes that mean "what you gave is wrong".
  void ExpectRefused(const std::string& needle) const {
    const auto model = ModelDirectory::Open(folder_.path());
    ASSERT_FALSE(model.ok());
    const absl::Status& status = model.status();
    EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsNotFound(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), needle)) << status << " lacks " << needle;
    EXPECT_FALSE(absl::StrContains(status.message(), "\n")) << status;
  }

  TemporaryFolder folder_;
};

TEST_F(ModelDirectoryTest, GivesEveryTensorOfTheArchitecture) {
  const auto model = ModelDirectory::Open(folder_.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->config().architecture, "llama");
  EXPECT_EQ((*model)->stored_dtype(), DType::kF32);
  for (const TensorInfo& info : ModelTensors((*model)->config())) {
    const auto tensor = (*model)->Load(info.name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(tensor->shape(), info.shape) << info.name;
  }
  EXPECT_TRUE(absl::IsNotFound((*model)->Load("model.layers.9.norm").status()));
}

TEST_F(ModelDirectoryTest, ConfigAloneIsEnoughWithoutWeights) {
  fs::remove(Path("model.safetensors"));
  ExpectRefused("model.safetensors");
  EXPECT_TRUE(ModelDirectory::Open(folder_.path(), /*weights=*/false).ok());
}

TEST_F(ModelDirectoryTest, TensorsOutliveTheDirectory) {
  Tensor tensor;
  {
    auto model = ModelDirectory::Open(folder_.path());
    ASSERT_TRUE(model.ok());
    tensor = (*model)->Load("model.norm.weight").value();
  }
  for (float value : tensor.floats()) EXPECT_EQ(value, 1.0f);
}

TEST_F(ModelDirectoryTest, MissingFolderAndFileInPlaceOfAFolder) {
  EXPECT_TRUE(absl::IsNotFound(ModelDirectory::Open(Path("nothing")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ModelDirectory::Open(Path("config.json")).status()));
}

TEST_F(ModelDirectoryTest, DamagedWeights) {
  const std::string good = Read("model.safetensors");
  Write("model.safetensors", good.substr(0, good.size() / 2));
  ExpectRefused("model.safetensors");
  Write("model.safetensors", "");
  ExpectRefused("header length");
  Write("model.safetensors", std::string("\0\0\0\0\0\0\0\x40", 8) + good.substr(8));
  ExpectRefused("header length");
  Write("model.safetensors", good.substr(0, 8) + "x" + good.substr(9));
  ExpectRefused("header");
}

TEST_F(ModelDirectoryTest, MissingExtraAndMisshapenTensors) {
  std::vector<NamedTensor> tensors = TinyTensors();
  const std::vector<NamedTensor> good = tensors;
  tensors.pop_back();
  ASSERT_TRUE(WriteSafetensors(Path("model.safetensors"), tensors).ok());
  ExpectRefused(good.back().name);

  tensors = good;
  tensors.push_back({"model.layers.0.self_attn.k_norm.weight", Tensor::Zeros(DType::kF32, {4})});
  ASSERT_TRUE(WriteSafetensors(Path("model.safetensors"), tensors).ok());
  ExpectRefused("k_norm");

  tensors = good;
  tensors[1].tensor = Tensor::Zeros(DType::kF32, {17});
  ASSERT_TRUE(WriteSafetensors(Path("model.safetensors"), tensors).ok());
  ExpectRefused("[17]");

  tensors = good;
  tensors[1].tensor = Tensor::Zeros(DType::kI32, tensors[1].tensor.shape());
  ASSERT_TRUE(WriteSafetensors(Path("model.safetensors"), tensors).ok());
  ExpectRefused("I32");
}

TEST_F(ModelDirectoryTest, BuffersAndTiedHeadAreDropped) {
  std::vector<NamedTensor> tensors = TinyTensors();
  tensors.push_back(
      {"model.layers.0.self_attn.rotary_emb.inv_freq", Tensor::Zeros(DType::kF32, {2})});
  tensors.push_back({"lm_head.weight", Tensor::Zeros(DType::kF32, {11, 16})});
  ASSERT_TRUE(WriteSafetensors(Path("model.safetensors"), tensors).ok());
  const auto model = ModelDirectory::Open(folder_.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE((*model)->Load("lm_head.weight").ok());

  ReplaceInConfig("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
  EXPECT_TRUE(ModelDirectory::Open(folder_.path()).value()->Load("lm_head.weight").ok());
}

TEST_F(ModelDirectoryTest, NamesWithoutTheBasePrefix) {
  std::vector<NamedTensor> tensors = TinyTensors();
  for (NamedTensor& t : tensors) t.name = t.name.substr(std::string("model.").size());
  ASSERT_TRUE(WriteSafetensors(Path("model.safetensors"), tensors).ok());
  EXPECT_TRUE(ModelDirectory::Open(folder_.path()).ok());
  tensors.push_back(TinyTensors()[0]);  // both spellings of one tensor
  ASSERT_TRUE(WriteSafetensors(Path("model.safetensors"), tensors).ok());
  ExpectRefused("twice");
}

TEST_F(ModelDirectoryTest, BadConfigs) {
  const std::string good = Read("config.json");
  Write("config.json", good.substr(0, good.size() - 20));
  ExpectRefused("JSON");
  Write("config.json", good);
  ReplaceInConfig("\"llama\"", "\"lemur\"");
  ExpectRefused("llama, mistral, qwen2, gpt2");
  Write("config.json", good);
  ReplaceInConfig("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  ExpectRefused("model.layers.2.");
  Write("config.json", good);
  ReplaceInConfig("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
  ExpectRefused("model.layers.1.");
  fs::remove(Path("config.json"));
  ExpectRefused("config.json");
}

TEST_F(ModelDirectoryTest, GenerationConfigAddsEndOfTextIds) {
  Write("generation_config.json", R"({"eos_token_id": [2, 5]})");
  EXPECT_EQ(ModelDirectory::Open(folder_.path()).value()->config().eos_ids,
            (std::vector<int64_t>{2, 5}));
  Write("generation_config.json", "[]");
  ExpectRefused("generation_config.json");
}

class ShardedTest : public ModelDirectoryTest {
 protected:
  void SetUp() override {
    ModelDirectoryTest::SetUp();
    whole_id_ = ModelDirectory::Open(folder_.path()).value()->ContentId().value();
    fs::remove(Path("model.safetensors"));
    std::vector<NamedTensor> shards[2];
    std::string map;
    const std::vector<NamedTensor> tensors = TinyTensors();
    for (size_t i = 0; i < tensors.size(); ++i) {
      shards[i % 2].push_back(tensors[i]);
      absl::StrAppend(&map, map.empty() ? "" : ",", "\"", tensors[i].name, "\":\"part-", i % 2,
                      ".safetensors\"");
    }
    ASSERT_TRUE(WriteSafetensors(Path("part-0.safetensors"), shards[0]).ok());
    ASSERT_TRUE(WriteSafetensors(Path("part-1.safetensors"), shards[1]).ok());
    WriteIndex("{" + map + "}");
    map_ = "{" + map + "}";
  }
  void WriteIndex(const std::string& map) const {
    Write("model.safetensors.index.json",
          "{\"metadata\":{\"total_size\":1},\"weight_map\":" + map + "}");
  }

  std::string whole_id_;
  std::string map_;
};

TEST_F(ShardedTest, IsTheSameModel) {
  auto model = ModelDirectory::Open(folder_.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->ContentId().value(), whole_id_);
}

TEST_F(ShardedTest, DamagedIndex) {
  WriteIndex("{}");
  ExpectRefused("weight_map");
  WriteIndex("[1]");
  ExpectRefused("weight_map");
  WriteIndex(R"({"a": 3})");
  ExpectRefused("weight_map");
  for (const char* file : {"../part-0.safetensors", "/etc/passwd", "", ".hidden"}) {
    WriteIndex(absl::StrCat("{\"a\": \"", file, "\"}"));
    ExpectRefused("folder of the index");
  }
  WriteIndex(R"({"a": "part-7.safetensors"})");
  ExpectRefused("part-7.safetensors");
  WriteIndex(map_);
  fs::remove(Path("part-1.safetensors"));
  ExpectRefused("part-1.safetensors");
}

TEST_F(ModelDirectoryTest, ContentIdNamesWhatTheModelComputes) {
  const auto id = [&] { return ModelDirectory::Open(folder_.path()).value()->ContentId().value(); };
  const std::string good = Read("config.json");
  const std::string first = id();
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(id(), first);
  ReplaceInConfig("\"eos_token_id\": 2", "\"eos_token_id\": 3");
  EXPECT_EQ(id(), first);
  std::set<std::string> others = {first};
  ReplaceInConfig("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 1e-06");
  others.insert(id());
  Write("config.json", good);
  std::string bytes = Read("model.safetensors");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  Write("model.safetensors", bytes);
  others.insert(id());
  EXPECT_EQ(others.size(), 3u);
}

// The published models of the workspace, when they are there.
TEST(RealModels, OpenAndAgree) {
  const std::string models = std::string(ISTHMUS_SOURCE_DIR) + "/../shared/models/";
  if (!fs::exists(models)) GTEST_SKIP() << "no folder of reference models";
  std::map<std::string, std::string> ids;
  for (const char* name : {"stories260K", "stories260K-sharded", "stories260K-bf16",
                           "babyllama-105", "mixed-14m", "gpt-nano-sort"}) {
    auto model = ModelDirectory::Open(models + name);
    ASSERT_TRUE(model.ok()) << model.status();
    ids[name] = (*model)->ContentId().value();
  }
  EXPECT_EQ(ids["stories260K"], ids["stories260K-sharded"]);
  EXPECT_NE(ids["stories260K"], ids["stories260K-bf16"]);
  EXPECT_EQ(ModelDirectory::Open(models + "mixed-14m").value()->stored_dtype(), DType::kBF16);
  EXPECT_TRUE(absl::IsInvalidArgument(ModelDirectory::Open(models + "resnet20-cifar10").status()));

  // bfloat16 rounding of the float32 file gives the other file's bytes.
  auto full = ModelDirectory::Open(models + "stories260K").value();
  auto half = ModelDirectory::Open(models + "stories260K-bf16").value();
  for (const TensorInfo& info : ModelTensors(full->config())) {
    const Tensor rounded = FromF32(full->Load(info.name).value(), DType::kBF16).value();
    EXPECT_EQ(rounded.bytes(), half->Load(info.name).value().bytes()) << info.name;
  }
}

}  // namespace
}  // namespace isthmus
