#include "engine/edge/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/edge/packed_model.h"
#include "model/architecture.h"
#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

constexpr WeightFormatSpec kInt4 = {WeightFormat::kInt4Group, 32};

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class CalibrationTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    WriteTinyModel(plain_.path(), GetParam() ? TinyGpt2ConfigText() : TinyConfigText());
    config_ = ModelDirectory::Open(plain_.path()).value()->config();
  }
  std::string Out(const std::string& name = "packed") const { return folder_.path() + "/" + name; }

  CalibrationOptions Text(int windows, int threads = 1) const {
    CalibrationOptions options;
    options.threads = threads;
    uint32_t state = 1;
    for (int i = 0; i < windows; ++i) {
      Window window;
      const int64_t length = std::min<int64_t>(config_.max_positions, 3 + i % 9);
      for (int64_t p = 0; p < length; ++p) {
        state = state * 1664525u + 1013904223u;
        window.inputs.push_back(static_cast<int32_t>((state >> 16) % config_.vocab_size));
      }
      options.windows.push_back(window);
    }
    return options;
  }

  TemporaryFolder plain_, folder_;
  ModelConfig config_;
};

TEST_P(CalibrationTest, EveryMatrixOfTheBlocksLosesNoMoreThanToNearest) {
  const auto matrices = QuantizeModelCalibrated(plain_.path(), Out(), kInt4, Text(40));
  ASSERT_TRUE(matrices.ok()) << matrices.status();
  std::vector<std::string> names, expected;
  double nearest = 0.0, error = 0.0;
  for (const CalibratedMatrix& matrix : *matrices) {
    names.push_back(matrix.name);
    EXPECT_GT(matrix.error, 0.0) << matrix.name;
    EXPECT_LE(matrix.error, matrix.nearest_error) << matrix.name;
    nearest += matrix.nearest_error;
    error += matrix.error;
  }
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    for (const LinearName& linear : BlockLinears(config_))
      expected.push_back(absl::StrCat(BlockPrefix(config_, layer), linear.module, ".weight"));
  }
  EXPECT_THAT(names, testing::UnorderedElementsAreArray(expected));
  EXPECT_LT(error, 0.8 * nearest);
}

// The same file but for codes and scales of the blocks.
TEST_P(CalibrationTest, PacksWhatRoundingToNearestPacks) {
  ASSERT_TRUE(QuantizeModelCalibrated(plain_.path(), Out(), kInt4, Text(40)).ok());
  ASSERT_TRUE(QuantizeModel(plain_.path(), Out("nearest"), kInt4).ok());
  const auto calibrated = PackedModel::Open(Out()), nearest = PackedModel::Open(Out("nearest"));
  ASSERT_TRUE(calibrated.ok()) << calibrated.status();
  ASSERT_TRUE(nearest.ok());
  EXPECT_EQ((*calibrated)->packed_format(), "int4g32");
  int differ = 0;
  for (const TensorInfo& info : ModelTensors(config_)) {
    const Tensor a = (*calibrated)->Load(info.name).value();
    const Tensor b = (*nearest)->Load(info.name).value();
    ASSERT_EQ(a.shape(), b.shape()) << info.name;
    const bool of_block = info.layer >= 0 && info.layer < config_.num_layers;
    const bool same = a.bytes() == b.bytes();
    EXPECT_TRUE(same || (of_block && (*nearest)->Find(info.name) != nullptr)) << info.name;
    differ += same ? 0 : 1;
  }
  EXPECT_GT(differ, 0);
}

TEST_P(CalibrationTest, IsTheSameForAnyNumberOfThreads) {
  ASSERT_TRUE(QuantizeModelCalibrated(plain_.path(), Out("one"), kInt4, Text(30, 1)).ok());
  ASSERT_TRUE(QuantizeModelCalibrated(plain_.path(), Out("three"), kInt4, Text(30, 3)).ok());
  EXPECT_EQ(ReadAll(Out("one") + "/packed.safetensors"),
            ReadAll(Out("three") + "/packed.safetensors"));
}

TEST_P(CalibrationTest, EveryLowBitFormatCalibrates) {
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    const std::string out = Out(WeightFormatText(spec));
    const auto matrices = QuantizeModelCalibrated(plain_.path(), out, spec, Text(10));
    if (CodeBits(spec.format) > 8) {
      EXPECT_EQ(matrices.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_FALSE(std::filesystem::exists(out));
      continue;
    }
    ASSERT_TRUE(matrices.ok()) << matrices.status();
    EXPECT_TRUE(PackedModel::Open(out).ok());
  }
}

TEST_P(CalibrationTest, TextThatDoesNotFitIsRefused) {
  const auto refused = [&](const CalibrationOptions& options, const std::string& word) {
    const auto matrices = QuantizeModelCalibrated(plain_.path(), Out(), kInt4, options);
    EXPECT_EQ(matrices.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(matrices.status().message()), testing::HasSubstr(word));
    EXPECT_FALSE(std::filesystem::exists(Out()));
  };
  refused(Text(0), "none");
  CalibrationOptions foreign = Text(2);
  foreign.windows[1].inputs[0] = static_cast<int32_t>(config_.vocab_size);
  refused(foreign, "vocabulary");
  CalibrationOptions longer = Text(2);
  longer.windows[1].inputs.assign(static_cast<size_t>(config_.max_positions) + 1, 0);
  refused(longer, "positions");
}

INSTANTIATE_TEST_SUITE_P(Architectures, CalibrationTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "gpt2" : "llama"; });

TEST(SpreadWindowsTest, TakesWindowsFromAllOverTheText) {
  std::vector<Window> windows(100);
  for (size_t i = 0; i < windows.size(); ++i) {
    windows[i].sample = i;
    windows[i].inputs.resize(10);
  }
  EXPECT_EQ(SpreadWindows(windows, 5000).size(), 100u);
  const std::vector<Window> some = SpreadWindows(windows, 205);
  ASSERT_EQ(some.size(), 20u);
  for (size_t i = 0; i < some.size(); ++i)
    EXPECT_NEAR(static_cast<double>(some[i].sample), 4.88 * static_cast<double>(i), 1.0);
  EXPECT_EQ(SpreadWindows(windows, 1).size(), 1u);
}

}  // namespace
}  // namespace isthmus
