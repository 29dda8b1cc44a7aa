#include "client/tensorboard.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

// An independent reader: the steps of a file, by the framing and the protobuf wire format.
std::vector<int64_t> StepsIn(const std::string& path) {
  const std::string text = *ReadFile(path);
  std::vector<int64_t> steps;
  size_t at = 0;
  while (at < text.size()) {
    uint64_t length = 0;
    std::memcpy(&length, text.data() + at, 8);
    uint32_t crc = 0;
    std::memcpy(&crc, text.data() + at + 12 + length, 4);
    const auto* event = reinterpret_cast<const uint8_t*>(text.data() + at + 12);
    EXPECT_EQ(crc, MaskedCrc32c({event, length}));
    EXPECT_EQ(event[0], 0x09);   // wall time, eight bytes
    EXPECT_EQ(event[9], 0x10);   // step, varint
    steps.push_back(event[10]);  // below 128
    at += 16 + length;
  }
  return steps;
}

class TensorboardTest : public ::testing::Test {
 protected:
  TensorboardTest() {
    std::string pattern = (fs::temp_directory_path() / "tensorboard-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~TensorboardTest() override { fs::remove_all(folder_); }
  std::string File() {
    for (const auto& entry : fs::directory_iterator(folder_)) return entry.path().string();
    return "";
  }
  void Write(std::vector<int64_t> steps) {
    auto writer = *TensorboardWriter::Open(folder_);
    const Scalar scalar{"loss", 1.5};
    for (const int64_t step : steps) ASSERT_TRUE(writer->Append(step, {&scalar, 1}).ok());
  }
  std::string folder_;
};

// RFC 3720 gives CRC-32C of 32 zero bytes as 0x8a9136aa; masked by rotation and the constant.
TEST(Tensorboard, MasksTheChecksum) {
  const std::vector<uint8_t> zeros(32, 0);
  const uint32_t crc = 0x8a9136aa;
  EXPECT_EQ(MaskedCrc32c(zeros), ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
}

TEST_F(TensorboardTest, WritesOneEventAStep) {
  Write({1, 2, 3});
  EXPECT_THAT(StepsIn(File()), ElementsAre(0, 1, 2, 3));
}

TEST_F(TensorboardTest, ScalarIsWhereTheFormatSays) {
  Write({1});
  const std::string text = *ReadFile(File());
  // Summary { value { tag: "loss" simple_value: 1.5 } }
  EXPECT_NE(text.find(std::string("\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f", 15)),
            std::string::npos);
}

TEST_F(TensorboardTest, DropsLaterStepsAndGoesOnInTheSameFile) {
  Write({1, 2, 3, 4});
  ASSERT_TRUE(TensorboardWriter::DropAfter(folder_, 2).ok());
  Write({3});
  EXPECT_THAT(StepsIn(File()), ElementsAre(0, 1, 2, 3));
}

TEST_F(TensorboardTest, DropsATornTail) {
  Write({1, 2});
  const std::string text = *ReadFile(File());
  ASSERT_TRUE(WriteFileAtomic(File(), text.substr(0, text.size() - 3)).ok());
  ASSERT_TRUE(TensorboardWriter::DropAfter(folder_, 9).ok());
  EXPECT_THAT(StepsIn(File()), ElementsAre(0, 1));
}

TEST_F(TensorboardTest, SurvivesForeignBytes) {
  const std::string path = folder_ + "/events.out.tfevents.1.x";
  ASSERT_TRUE(WriteFileAtomic(path, std::string(100, '\xff')).ok());
  ASSERT_TRUE(TensorboardWriter::DropAfter(folder_, 9).ok());
  EXPECT_EQ(fs::file_size(path), 0u);
}

}  // namespace
}  // namespace isthmus
