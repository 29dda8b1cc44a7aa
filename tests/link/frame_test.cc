#include "link/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crc32c.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

Frame Example() {
  Frame frame;
  frame.header.kind = FrameKind::kGradient;
  frame.header.direction = 1;
  frame.header.flags = 3;
  frame.header.edge = 0x0102;
  frame.header.generation = 0x03040506;
  frame.header.step = 0x0708090a0b0c0d0e;
  frame.header.micro_batch = 0x0f101112;
  frame.header.sequence = 0x131415161718191a;
  for (int i = 0; i < 100; ++i) frame.payload.push_back(static_cast<uint8_t>(i * 3));
  return frame;
}

Bytes Encode(const Frame& frame) {
  Bytes bytes(FrameHeader::kBytes);
  WriteFrameHeader(frame, bytes.data());
  bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
  return bytes;
}

absl::StatusOr<Frame> Decode(const Bytes& bytes, size_t piece_bytes = 1 << 20,
                             int64_t max = 1 << 20) {
  std::vector<absl::Span<const uint8_t>> pieces;
  for (size_t at = 0; at < bytes.size(); at += piece_bytes)
    pieces.push_back(absl::MakeConstSpan(bytes).subspan(at, piece_bytes));
  return ParseFrame(pieces, max);
}

// Puts a right checksum on a changed header.
void Reseal(Bytes* bytes) {
  const uint32_t crc = Crc32c(absl::MakeConstSpan(*bytes).subspan(0, 44));
  std::memcpy(bytes->data() + 44, &crc, 4);
}

TEST(FrameTest, BytesAreTheDocumentedOnes) {
  const Bytes bytes = Encode(Example());
  const Bytes expected = {'I',  'S',  'T',  'H',  2,    0,    2,    1,    3,    0,
                          2,    1,    6,    5,    4,    3,    0x0e, 0x0d, 0x0c, 0x0b,
                          0x0a, 9,    8,    7,    0x12, 0x11, 0x10, 0x0f, 0x1a, 0x19,
                          0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 100,  0,    0,    0};
  EXPECT_EQ(Bytes(bytes.begin(), bytes.begin() + 40), expected);
  EXPECT_EQ(bytes.size(), 148u);
}

TEST(FrameTest, RoundTripInPiecesOfAnySize) {
  const Frame frame = Example();
  const Bytes bytes = Encode(frame);
  for (size_t piece : {1u, 7u, 47u, 48u, 49u, 100u, 1000u}) {
    const auto got = Decode(bytes, piece);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->payload, frame.payload);
    EXPECT_EQ(got->header.sequence, frame.header.sequence);
    EXPECT_EQ(got->header.step, frame.header.step);
    EXPECT_EQ(got->header.edge, frame.header.edge);
  }
}

TEST(FrameTest, RefusesEveryTruncation) {
  const Bytes bytes = Encode(Example());
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(Decode(Bytes(bytes.begin(), bytes.begin() + static_cast<int64_t>(n))).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(Decode(longer).ok());
}

TEST(FrameTest, RefusesEveryFlippedBit) {
  const Bytes bytes = Encode(Example());
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes bad = bytes;
    bad[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(Decode(bad).ok()) << "bit " << bit;
  }
}

TEST(FrameTest, AnotherVersionIsNamedWithOurs) {
  Bytes bytes = Encode(Example());
  bytes[4] = 9;
  Reseal(&bytes);
  const absl::Status status = Decode(bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("expected 2, got 9"));
}

TEST(FrameTest, AnUnknownKindIsRefused) {
  for (uint8_t kind : {0, 11, 255}) {
    Bytes bytes = Encode(Example());
    bytes[6] = kind;
    Reseal(&bytes);
    EXPECT_EQ(Decode(bytes).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// The size is checked against the limit on the header alone: a header without its payload is enough
// to be refused for size.
TEST(FrameTest, AnOversizedFrameIsRefusedByItsHeader) {
  FrameHeader header;
  header.payload_bytes = 0xffffffff;
  uint8_t bytes[FrameHeader::kBytes];
  WriteFrameHeader(header, bytes);
  const auto got = ParseFrameHeader(bytes, 1 << 20);
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(got.status().message()),
              HasSubstr("at most 1048576 bytes, got 4294967295"));
  EXPECT_TRUE(ParseFrameHeader(bytes, int64_t{1} << 33).ok());
}

TEST(FrameTest, WireHeaderBytes) {
  // 48 + 5 in one HTTP/2 frame.
  EXPECT_EQ(WireHeaderBytes(0, false), 48 + 5 + 9);
  EXPECT_EQ(WireHeaderBytes(16384 - 53, false), 48 + 5 + 9);
  EXPECT_EQ(WireHeaderBytes(16384 - 52, false), 48 + 5 + 18);
  EXPECT_EQ(WireHeaderBytes(1 << 20, false), 48 + 5 + 65 * 9);
  EXPECT_EQ(WireHeaderBytes(0, true), 48 + 5 + 9 + 22);
  EXPECT_EQ(WireHeaderBytes(1 << 20, true), 48 + 5 + 65 * 9 + 65 * 22);
}

}  // namespace
}  // namespace isthmus
