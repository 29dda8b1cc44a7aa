#include "engine/edge/packed_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "model/convert.h"
#include "tests/model/weights/tiny_model.h"

namespace isthmus {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

double RelativeError(absl::Span<const float> a, absl::Span<const float> b) {
  double error = 0.0, norm = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return norm > 0.0 ? std::sqrt(error / norm) : std::sqrt(error);
}

class PackedModelTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    WriteTinyModel(plain_.path(), GetParam() ? TinyGpt2ConfigText() : TinyConfigText());
  }
  std::string Out() const { return folder_.path() + "/packed"; }
  std::string File() const { return Out() + "/packed.safetensors"; }

  TemporaryFolder plain_, folder_;
};

TEST_P(PackedModelTest, GivesBackEveryTensorWithinItsFormat) {
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    std::filesystem::remove_all(Out());
    ASSERT_TRUE(QuantizeModel(plain_.path(), Out(), spec).ok());
    EXPECT_TRUE(PackedModel::IsPacked(Out()));
    EXPECT_FALSE(PackedModel::IsPacked(plain_.path()));
    const auto packed = PackedModel::Open(Out());
    ASSERT_TRUE(packed.ok()) << packed.status();
    const auto plain = ModelDirectory::Open(plain_.path());
    ASSERT_TRUE(plain.ok());
    const double bound = CodeBits(spec.format) >= 8 ? 0.04 : 0.16;
    for (const TensorInfo& info : ModelTensors((*packed)->config())) {
      const Tensor expected = ToF32((*plain)->Load(info.name).value()).value();
      const auto got = (*packed)->Load(info.name);
      ASSERT_TRUE(got.ok()) << got.status();
      ASSERT_EQ(got->shape(), expected.shape()) << info.name;
      const double error = RelativeError(ToF32(*got)->floats(), expected.floats());
      const bool is_packed = (*packed)->Find(info.name) != nullptr;
      EXPECT_LE(error, is_packed ? bound : 0.0) << info.name << " " << WeightFormatText(spec);
    }
  }
}

TEST_P(PackedModelTest, EmbeddingKeepsEightBits) {
  ASSERT_TRUE(QuantizeModel(plain_.path(), Out(), {WeightFormat::kInt4Group, 64}).ok());
  const auto packed = PackedModel::Open(Out());
  ASSERT_TRUE(packed.ok());
  const std::string embedding = ModelTensors((*packed)->config())[0].name;
  ASSERT_NE((*packed)->Find(embedding), nullptr);
  EXPECT_EQ((*packed)->Find(embedding)->spec().format, WeightFormat::kInt8);
}

// One format in all blocks: memory is planned by it.
TEST_P(PackedModelTest, ItsFormatIsThatOfTheBlocks) {
  std::vector<std::string> ids = {ModelDirectory::Open(plain_.path()).value()->ContentId().value()};
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    std::filesystem::remove_all(Out());
    ASSERT_TRUE(QuantizeModel(plain_.path(), Out(), spec).ok());
    const auto packed = PackedModel::Open(Out());
    ASSERT_TRUE(packed.ok()) << packed.status();
    EXPECT_EQ((*packed)->packed_format(), WeightFormatText(spec));
    const std::string id = (*packed)->ContentId().value();
    EXPECT_EQ(PackedModel::Open(Out()).value()->ContentId().value(), id);
    EXPECT_THAT(ids, testing::Not(testing::Contains(id)));
    ids.push_back(id);
  }
}

TEST_P(PackedModelTest, APlainDirectoryOfItIsRefusedWithAHint) {
  ASSERT_TRUE(QuantizeModel(plain_.path(), Out(), {WeightFormat::kInt8, 0}).ok());
  const auto plain = ModelDirectory::Open(Out());
  EXPECT_TRUE(absl::IsInvalidArgument(plain.status()));
  EXPECT_THAT(std::string(plain.status().message()), testing::HasSubstr("--engine edge"));
}

TEST_P(PackedModelTest, AnOutFolderInUseIsLeftAlone) {
  std::filesystem::create_directories(Out());
  WriteAll(Out() + "/mine", "x");
  EXPECT_FALSE(QuantizeModel(plain_.path(), Out(), {WeightFormat::kInt8, 0}).ok());
  EXPECT_EQ(ReadAll(Out() + "/mine"), "x");
}

// Any change of the header's text or length is refused or harmless; the codes may hold any values.
TEST_P(PackedModelTest, DamagedFilesAreRefusedWithOneLine) {
  ASSERT_TRUE(QuantizeModel(plain_.path(), Out(), {WeightFormat::kInt4Group, 64}).ok());
  const std::string good = ReadAll(File());
  const auto refused = [&](const std::string& bytes) {
    WriteAll(File(), bytes);
    const auto model = PackedModel::Open(Out());
    EXPECT_FALSE(model.ok());
    EXPECT_THAT(std::string(model.status().message()), testing::Not(testing::HasSubstr("\n")));
  };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    const size_t at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    refused(bytes.replace(at, from.size(), to));
  };
  refused(good.substr(0, good.size() - 1));
  refused(good.substr(0, 100));
  replaced("isthmus-packed-1", "isthmus-packed-2");
  replaced("int4g64 ", "int4g48 ");
  replaced("int4g64 ", "int8g64 ");
  replaced("int4g64 1", "int4g64 9");
}

INSTANTIATE_TEST_SUITE_P(Architectures, PackedModelTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "gpt2" : "llama"; });

}  // namespace
}  // namespace isthmus
