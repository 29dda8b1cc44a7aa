#include "base/done_reading.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/process.h"

namespace isthmus {
namespace {

TEST(DoneReadingTest, PagesOfAMapLeaveMemoryAndReadTheSameAgain) {
  constexpr size_t kBytes = size_t{64} << 20;
  const std::string path = ::testing::TempDir() + "/done_reading_test.bin";
  ASSERT_TRUE(WriteFileAtomic(path, std::string(kBytes, 'x')).ok());
  const auto file = *MappedFile::Open(path);
  const auto sum = [&] {
    return std::accumulate(file->bytes().begin(), file->bytes().end(), uint64_t{0});
  };
  EXPECT_EQ(sum(), kBytes * 'x');
  const int64_t mapped = CurrentResidentBytes();
  DoneReading(file->bytes().subspan(5));
  EXPECT_LT(CurrentResidentBytes(), mapped - int64_t{32} * (1 << 20));
  EXPECT_EQ(sum(), kBytes * 'x');
  std::remove(path.c_str());
}

TEST(DoneReadingTest, OtherMemoryIsLeftAlone) {
  const std::vector<uint8_t> bytes(size_t{1} << 20, 7);
  DoneReading(bytes);
  EXPECT_EQ(bytes, std::vector<uint8_t>(bytes.size(), 7));
  DoneReading({});
}

}  // namespace
}  // namespace isthmus
