// Bytes on the wire and the floats they mean, kept in vectors.txt: every machine of a job must make
// the same of the same bytes, whatever its processor, compiler and vector width.
//
// After a change of a format on purpose: ISTHMUS_WRITE_VECTORS=tests/compression/vectors.txt
// vectors_test.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "absl/strings/escaping.h"
#include "base/crc32c.h"
#include "compression/codec_table.h"
#include "compression/part_table.h"
#include "frames.h"
#include "hwy/targets.h"

namespace isthmus {
namespace {

constexpr int64_t kWidth = 24;
constexpr int kFrames = 3;

struct Vector {
  std::string bytes_hex;
  uint32_t floats_crc = 0;  // of what was decoded
};
// Spec and direction -> frame after frame.
using Vectors = std::map<std::string, std::vector<Vector>>;

std::string VectorsPath() { return ISTHMUS_SOURCE_DIR "/tests/compression/vectors.txt"; }

std::set<std::string> Specs() {
  std::set<std::string> specs;
  for (const CodecRow& row : CodecTable()) specs.emplace(row.example);
  for (const PartRow& row : PartTable()) specs.emplace(row.example);
  for (const char* more : {"aqsgd(bits=4,dtype=bf16)", "int(bits=3,group=channel)", "ecq(bits=2)",
                           "amaq(min=2,max=8,target=3)"})
    specs.emplace(more);
  return specs;
}

// Sums of small whole numbers over a power of two: no machine rounds them.
float ExactValue(uint64_t frame, uint64_t i) {
  uint64_t state = RandomKey(frame, "test.vectors") + i * 0x9e3779b97f4a7c15u;
  int64_t sum = 0;
  for (int k = 0; k < 4; ++k) {
    state ^= state >> 29;
    state *= 0xbf58476d1ce4e5b9u;
    sum += static_cast<int64_t>(state >> 54) - 512;
  }
  const int64_t channel = static_cast<int64_t>(i % kWidth % 5) + 1;
  return static_cast<float>(sum * channel) / 512.0f;
}

// The same two samples come again, a little changed.
std::vector<float> FrameValues(uint64_t frame, int64_t tokens) {
  std::vector<float> x(static_cast<size_t>(tokens * kWidth));
  for (size_t i = 0; i < x.size(); ++i) x[i] = ExactValue(0, i) + ExactValue(frame + 1, i) / 16.0f;
  return x;
}

EdgeShape VectorShape(Direction direction) {
  EdgeShape shape;
  shape.width = kWidth;
  shape.edge = 1;
  shape.direction = direction;
  shape.seed = 5;
  shape.num_samples = 2;
  shape.max_sample_tokens = 8;
  shape.total_steps = 10;
  shape.state_dir = testing::TempDir();
  return shape;
}

uint32_t CrcOf(const std::vector<float>& y) {
  return Crc32c({reinterpret_cast<const uint8_t*>(y.data()), y.size() * sizeof(float)});
}

void Observe(const Ends& ends, const TestFrame& frame, uint64_t i) {
  if (!ends.encoder->WantsGradient()) return;
  std::vector<float> gradient = FrameValues(100 + i, frame.tokens);
  for (float& g : gradient) g /= 1024.0f;
  EXPECT_TRUE(ends.encoder->ObserveGradient(gradient, frame.context).ok());
}

std::vector<Vector> Encode(const std::string& spec, Direction direction) {
  const Ends ends = MakeEnds(spec, VectorShape(direction));
  std::vector<Vector> vectors;
  for (uint64_t i = 0; i < kFrames; ++i) {
    TestFrame frame;
    frame.Set({{0, 5}, {1, 6}}, i);
    Bytes bytes;
    const std::vector<float> y = Through(ends, FrameValues(i, frame.tokens), frame.context, &bytes);
    Observe(ends, frame, i);
    EXPECT_TRUE(ends.encoder->CommitStep(i).ok());
    EXPECT_TRUE(ends.decoder->CommitStep(i).ok());
    const std::string raw(bytes.begin(), bytes.end());
    vectors.push_back({absl::BytesToHexString(raw), CrcOf(y)});
  }
  return vectors;
}

Vectors EncodeAll() {
  Vectors vectors;
  for (const std::string& spec : Specs())
    for (const Direction direction : {Direction::kForward, Direction::kBackward})
      if (direction == Direction::kForward || !(*Codec::Parse(spec))->ForwardOnly())
        vectors[absl::StrCat(spec, " ", Name(direction))] = Encode(spec, direction);
  return vectors;
}

Vectors ReadVectors() {
  Vectors vectors;
  std::ifstream file(VectorsPath());
  std::string spec, direction, hex;
  uint32_t crc;
  while (file >> spec >> direction >> hex >> crc)
    vectors[spec + " " + direction].push_back({hex == "-" ? "" : hex, crc});
  return vectors;
}

void WriteVectors(const std::string& path) {
  std::ofstream file(path);
  for (const auto& [name, vectors] : EncodeAll())
    for (const Vector& v : vectors)
      file << name << " " << (v.bytes_hex.empty() ? "-" : v.bytes_hex) << " " << v.floats_crc
           << "\n";
}

void ExpectKept(const Vectors& kept) {
  const Vectors now = EncodeAll();
  for (const auto& [name, vectors] : now) {
    SCOPED_TRACE(name);
    const auto it = kept.find(name);
    ASSERT_NE(it, kept.end()) << "no vectors are kept of it";
    ASSERT_EQ(it->second.size(), vectors.size());
    for (size_t i = 0; i < vectors.size(); ++i) {
      EXPECT_EQ(vectors[i].bytes_hex, it->second[i].bytes_hex) << "frame " << i;
      EXPECT_EQ(vectors[i].floats_crc, it->second[i].floats_crc) << "frame " << i;
    }
  }
  EXPECT_EQ(kept.size(), now.size()) << "vectors of a codec that is gone";
}

TEST(CodecVectorsTest, EveryCodecMakesTheKeptBytesAndFloatsOnEveryInstructionSet) {
  if (const char* path = std::getenv("ISTHMUS_WRITE_VECTORS"); path != nullptr) WriteVectors(path);
  const Vectors kept = ReadVectors();
  ASSERT_FALSE(kept.empty()) << VectorsPath();
  for (auto left = static_cast<uint32_t>(hwy::SupportedTargets()); left != 0; left &= left - 1) {
    const uint32_t target = left & (~left + 1);
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    ExpectKept(kept);
  }
  hwy::SetSupportedTargetsForTest(0);
}

// What another machine encoded, decoded here.
TEST(CodecVectorsTest, KeptBytesDecodeToTheKeptFloats) {
  for (const auto& [name, vectors] : ReadVectors()) {
    SCOPED_TRACE(name);
    const size_t blank = name.rfind(' ');
    const Direction direction = name.substr(blank + 1) == Name(Direction::kForward)
                                    ? Direction::kForward
                                    : Direction::kBackward;
    auto codec = Codec::Parse(name.substr(0, blank));
    ASSERT_TRUE(codec.ok()) << codec.status();
    auto decoder = (*codec)->MakeDecoder(VectorShape(direction));
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    for (size_t i = 0; i < vectors.size(); ++i) {
      TestFrame frame;
      frame.Set({{0, 5}, {1, 6}}, i);
      const std::string raw = absl::HexStringToBytes(vectors[i].bytes_hex);
      const Bytes bytes(raw.begin(), raw.end());
      std::vector<float> y(static_cast<size_t>(frame.tokens * kWidth));
      ASSERT_TRUE((*decoder)->Decode(bytes, frame.context, absl::MakeSpan(y)).ok()) << i;
      EXPECT_EQ(CrcOf(y), vectors[i].floats_crc) << "frame " << i;
      ASSERT_TRUE((*decoder)->CommitStep(i).ok());
    }
  }
}

}  // namespace
}  // namespace isthmus
