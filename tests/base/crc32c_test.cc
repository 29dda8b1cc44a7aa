#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/string_view.h"

namespace isthmus {
namespace {

absl::Span<const uint8_t> Span(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Bit by bit, from the definition.
uint32_t ByDefinition(absl::Span<const uint8_t> bytes, uint32_t previous) {
  uint32_t c = ~previous;
  for (const uint8_t byte : bytes) {
    c ^= byte;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) != 0 ? 0x82f63b78u : 0);
  }
  return ~c;
}

std::vector<uint8_t> Noise(size_t n) {
  std::vector<uint8_t> bytes(n);
  uint32_t x = 1;
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((x = x * 1664525 + 1013904223) >> 24);
  return bytes;
}

// RFC 3720, B.4, and the customary check.
TEST(Crc32cTest, PublishedValues) {
  EXPECT_EQ(Crc32c({}), 0u);
  EXPECT_EQ(Crc32c(Span("123456789")), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0x00)), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0xff)), 0x62a8ab43u);
}

class Crc32cPath : public testing::TestWithParam<CrcPath> {};

TEST_P(Crc32cPath, EqualsTheDefinitionAtEveryLengthAndAlignment) {
  if (GetParam() > BestCrcPath()) GTEST_SKIP() << "this processor lacks the instructions";
  const std::vector<uint8_t> bytes = Noise(2600);
  for (size_t begin : {0, 1, 7, 13}) {
    for (size_t n = 0; n + begin <= bytes.size(); n += n < 1300 ? 1 : 37) {
      const absl::Span<const uint8_t> part(bytes.data() + begin, n);
      const uint32_t previous = static_cast<uint32_t>(n * 2654435761u);
      ASSERT_EQ(Crc32cBy(GetParam(), part, previous), ByDefinition(part, previous))
          << n << " bytes from " << begin;
    }
  }
}

TEST_P(Crc32cPath, GoesOnWhereAnEarlierPartEnded) {
  if (GetParam() > BestCrcPath()) GTEST_SKIP() << "this processor lacks the instructions";
  const std::vector<uint8_t> bytes = Noise(20'000);
  const absl::Span<const uint8_t> all(bytes);
  const uint32_t whole = ByDefinition(all, 0);
  for (size_t cut = 0; cut <= bytes.size(); cut += 613) {
    const uint32_t first = Crc32cBy(GetParam(), all.subspan(0, cut), 0);
    ASSERT_EQ(Crc32cBy(GetParam(), all.subspan(cut), first), whole) << "cut at " << cut;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Crc32cPath,
                         testing::Values(CrcPath::kPortable, CrcPath::kSse42, CrcPath::kFold128,
                                         CrcPath::kFold512));

}  // namespace
}  // namespace isthmus
