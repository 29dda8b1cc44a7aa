#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/adapter.h"
#include "model/convert.h"
#include "model/safetensors.h"
#include "model/weights.h"
#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

class MergeTest : public ::testing::TestWithParam<std::pair<std::string, DType>> {
 protected:
  void SetUp() override {
    fs::create_directory(base_);
    config_ = ParseModelConfig(GetParam().first).value();
    std::ofstream(base_ + "/config.json") << GetParam().first;
    std::ofstream(base_ + "/tokenizer.json") << "{}";
    std::ofstream(base_ + "/notes.txt") << "not copied";
    tensors_ = TinyTensors(config_);
    for (NamedTensor& t : tensors_) t.tensor = FromF32(t.tensor, GetParam().second).value();
    ASSERT_TRUE(WriteSafetensors(base_ + "/model.safetensors", tensors_).ok());
    WriteRandomAdapter();
  }

  void WriteRandomAdapter() {
    adapter_.lora.rank = 2;
    adapter_.lora.alpha = 3;
    CounterRng rng(11);
    const std::vector<TensorInfo> infos = AdapterTensors(config_, adapter_.lora).value();
    for (const TensorInfo& info : infos) {
      Tensor values(DType::kF32, info.shape);
      for (float& v : values.mutable_floats()) v = static_cast<float>(rng.NextNormal());
      adapter_.tensors.push_back({info.name, values});
    }
    ASSERT_TRUE(WriteAdapter(lora_, config_, adapter_).ok());
  }

  const Tensor& Lora(int64_t layer, const std::string& module, char which) const {
    const std::string name = LoraTensorName(config_, layer, module, which);
    for (const NamedTensor& t : adapter_.tensors) {
      if (t.name == name) return t.tensor;
    }
    ADD_FAILURE() << name;
    return adapter_.tensors[0].tensor;
  }

  // scale * (B A)[o, i] in double.
  double Delta(int64_t layer, const std::string& module, int64_t o, int64_t i) const {
    const Tensor& a = Lora(layer, module, 'A');
    const Tensor& b = Lora(layer, module, 'B');
    double sum = 0.0;
    for (int64_t k = 0; k < 2; ++k) {
      sum += double{b.floats()[static_cast<size_t>(o * 2 + k)]} *
             double{a.floats()[static_cast<size_t>(k * a.dim(1) + i)]};
    }
    return 1.5 * sum;
  }

  TemporaryFolder folder_;
  std::string base_ = folder_.path() + "/base";
  std::string lora_ = folder_.path() + "/lora";
  std::string out_ = folder_.path() + "/out";
  ModelConfig config_;
  std::vector<NamedTensor> tensors_;
  Adapter adapter_;
};

TEST_P(MergeTest, AddsTheProductAndKeepsTheRest) {
  ASSERT_TRUE(MergeAdapter(base_, lora_, out_).ok());
  auto merged = ModelDirectory::Open(out_);
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_EQ((*merged)->stored_dtype(), GetParam().second);
  const std::vector<LinearName> linears = LoraLinears(config_, adapter_.lora).value();
  // Half of the last place of a value near 4: the roundings of one store.
  const double tolerance = GetParam().second == DType::kF32   ? 1e-6
                           : GetParam().second == DType::kF16 ? 2.1e-3
                                                              : 1.6e-2;
  for (const NamedTensor& t : tensors_) {
    const Tensor got = (*merged)->Load(t.name).value();
    const LinearName* linear = nullptr;
    int64_t layer = 0;
    for (; layer < config_.num_layers && linear == nullptr; ++layer) {
      for (const LinearName& l : linears) {
        if (t.name == BlockPrefix(config_, layer) + l.module + ".weight") linear = &l;
      }
      if (linear != nullptr) break;
    }
    if (linear == nullptr) {
      EXPECT_EQ(got.bytes(), t.tensor.bytes()) << t.name;
      continue;
    }
    const Tensor before = ToF32(t.tensor).value(), after = ToF32(got).value();
    for (int64_t o = 0; o < linear->out; ++o) {
      for (int64_t i = 0; i < linear->in; ++i) {
        const auto at = static_cast<size_t>(config_.transposed_linear ? i * linear->out + o
                                                                      : o * linear->in + i);
        const double wanted = before.floats()[at] + Delta(layer, linear->module, o, i);
        ASSERT_NEAR(after.floats()[at], wanted, tolerance * std::max(1.0, std::fabs(wanted) / 4))
            << t.name << " " << o << " " << i;
      }
    }
  }
}

TEST_P(MergeTest, CopiesWhatHuggingFaceReads) {
  ASSERT_TRUE(MergeAdapter(base_, lora_, out_ + "/").ok());
  EXPECT_EQ(ReadFile(out_ + "/config.json").value(), GetParam().first);
  EXPECT_TRUE(fs::exists(out_ + "/tokenizer.json"));
  EXPECT_FALSE(fs::exists(out_ + "/notes.txt"));
  const auto file = Safetensors::Open(out_ + "/model.safetensors").value();
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_EQ(file->tensors().count("lm_head.weight"), config_.tied_embeddings ? 0u : 1u);
}

TEST_P(MergeTest, NeverOverwrites) {
  EXPECT_TRUE(absl::IsInvalidArgument(MergeAdapter(base_, lora_, base_)));
  fs::create_directory(out_);
  EXPECT_TRUE(MergeAdapter(base_, lora_, out_).ok());  // empty: fine
  EXPECT_TRUE(absl::IsInvalidArgument(MergeAdapter(base_, lora_, out_)));
}

class OverflowTest : public MergeTest {};

TEST_P(OverflowTest, LeavesNothingBehind) {
  adapter_.lora.alpha = 1e8;
  ASSERT_TRUE(WriteAdapter(lora_, config_, adapter_).ok());
  const absl::Status status = MergeAdapter(base_, lora_, out_);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "finite")) << status;
  EXPECT_FALSE(fs::exists(out_));
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder_.path())) files += entry.exists();
  EXPECT_EQ(files, 2u);
}

INSTANTIATE_TEST_SUITE_P(F16, OverflowTest,
                         ::testing::Values(std::pair{TinyConfigText(), DType::kF16}));
INSTANTIATE_TEST_SUITE_P(Models, MergeTest,
                         ::testing::Values(std::pair{TinyConfigText(), DType::kF32},
                                           std::pair{TinyConfigText(), DType::kBF16},
                                           std::pair{TinyConfigText(), DType::kF16},
                                           std::pair{TinyGpt2ConfigText(), DType::kF32}));

}  // namespace
}  // namespace isthmus
