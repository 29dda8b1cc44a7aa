// Every instruction set this machine has against the scalar definitions, bit for bit, over ragged
// lengths.
#include "compression/kernels.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"
#include "compression/bit_stream.h"
#include "compression/frame_check.h"
#include "compression/reference.h"
#include "frames.h"
#include "hwy/targets.h"

namespace isthmus {
namespace {

const size_t kLengths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 127, 130, 257};

class Kernels : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

template <typename T>
bool Same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

TEST_P(Kernels, ScanExtent) {
  for (size_t n : kLengths) {
    const std::vector<float> x = Values(n, 1, static_cast<int64_t>(n));
    const Extent a = ScanExtent(x.data(), n), b = reference::ScanExtent(x.data(), n);
    EXPECT_EQ(a.lo, b.lo);
    EXPECT_EQ(a.hi, b.hi);
    EXPECT_EQ(a.magnitude, b.magnitude);
    for (float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      std::vector<float> y = x;
      y[n / 2] = bad;
      EXPECT_GT(ScanExtent(y.data(), n).magnitude, kLargestMagnitude);
    }
  }
  EXPECT_EQ(ScanExtent(nullptr, 0).magnitude, 0u);
}

TEST_P(Kernels, QuantizeAndDequantizeRows) {
  for (size_t n : kLengths) {
    const std::vector<float> x = Values(n, 1, static_cast<int64_t>(n), 1e-4f);
    std::vector<float> noise(n);
    reference::FillNoise(5, 0, 0, n, noise.data());
    for (int bits = 1; bits <= 8; ++bits) {
      for (int form = 0; form < 8; ++form) {
        const GroupFormat format{bits, (form & 1) != 0,
                                 (form & 2) != 0 ? RangeRule::kRms : RangeRule::kMinMax};
        const float* with = (form & 4) != 0 ? noise.data() : nullptr;
        for (size_t tile : {n, size_t{1}, size_t{5}, size_t{64}}) {
          const size_t side = NumTiles(n, tile) * format.ParameterBytes();
          std::vector<uint8_t> p0(side), p1(side), c0(n), c1(n);
          std::vector<float> y0(n), y1(n);
          QuantizeRow(x.data(), n, tile, format, with, p0.data(), c0.data());
          reference::QuantizeRow(x.data(), n, tile, format, with, p1.data(), c1.data());
          ASSERT_TRUE(Same(p0, p1) && Same(c0, c1))
              << n << " " << bits << " " << form << " " << tile;
          ASSERT_TRUE(DequantizeRow(c0.data(), n, tile, format, p0.data(), y0.data()));
          ASSERT_TRUE(reference::DequantizeRow(c0.data(), n, tile, format, p0.data(), y1.data()));
          ASSERT_TRUE(Same(y0, y1)) << n << " " << bits << " " << form << " " << tile;
        }
        const GroupParameters p = FitRange(format, ScanExtent(x.data(), n), x.data(), n);
        ASSERT_EQ(SquaredError(x.data(), n, p), reference::SquaredError(x.data(), n, p))
            << n << " " << bits;
      }
    }
  }
}

TEST_P(Kernels, HadamardRowsAreOrthonormal) {
  for (size_t n : {1, 2, 3, 8, 31, 37, 64, 100, 128, 200, 512, 1024, 1111}) {
    for (size_t block : {2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096}) {
      const std::vector<float> x = Values(n + block, 1, static_cast<int64_t>(n));
      std::vector<float> a = x, b = x;
      HadamardRow(a.data(), n, block);
      reference::HadamardRow(b.data(), n, block);
      ASSERT_TRUE(Same(a, b)) << n << " " << block;
      EXPECT_NEAR(Energy(a), Energy(x), 1e-5 * Energy(x));
      HadamardRow(a.data(), n, block);
      EXPECT_GT(Snr(x, a), 120.0) << n << " " << block;
    }
  }
}

TEST_P(Kernels, PackAndUnpack) {
  CounterRng rng(9);
  for (size_t n : kLengths) {
    for (int bits = 1; bits <= 8; ++bits) {
      std::vector<uint8_t> codes(n), back(n);
      for (uint8_t& c : codes) c = static_cast<uint8_t>(rng.NextBelow(uint64_t{1} << bits));
      std::vector<uint8_t> a(PackedBytes(n, bits)), b(a.size());
      PackBits(codes.data(), n, bits, a.data());
      reference::PackBits(codes.data(), n, bits, b.data());
      ASSERT_TRUE(Same(a, b)) << n << " " << bits;
      UnpackBits(a.data(), n, bits, back.data());
      ASSERT_TRUE(Same(codes, back)) << n << " " << bits;
      reference::UnpackBits(a.data(), n, bits, back.data());
      ASSERT_TRUE(Same(codes, back)) << n << " " << bits;
    }
  }
}

TEST_P(Kernels, Halves) {
  for (size_t n : kLengths) {
    for (float size : {1e-7f, 1e-4f, 1.0f, 3e4f}) {
      const std::vector<float> x = Values(n, 1, static_cast<int64_t>(n), size);
      std::vector<uint16_t> a(n), b(n);
      std::vector<float> y(n), z(n);
      EXPECT_EQ(Bf16FromFloats(x.data(), n, a.data()),
                reference::Bf16FromFloats(x.data(), n, b.data()));
      ASSERT_TRUE(Same(a, b));
      EXPECT_EQ(FloatsFromBf16(a.data(), n, y.data()),
                reference::FloatsFromBf16(a.data(), n, z.data()));
      ASSERT_TRUE(Same(y, z));
      EXPECT_EQ(HalfFromFloats(x.data(), n, 4.0f, a.data()),
                reference::HalfFromFloats(x.data(), n, 4.0f, b.data()));
      ASSERT_TRUE(Same(a, b));
      EXPECT_EQ(FloatsFromHalf(a.data(), n, 0.25f, y.data()),
                reference::FloatsFromHalf(a.data(), n, 0.25f, z.data()));
      ASSERT_TRUE(Same(y, z));
    }
  }
}

TEST_P(Kernels, Noise) {
  for (size_t n : kLengths) {
    for (uint64_t first : {uint64_t{0}, uint64_t{400}, (uint64_t{1} << 34) - 64}) {
      std::vector<float> a(n), b(n);
      FillNoise(0x123456789ABCDEFull, first, 3, n, a.data());
      reference::FillNoise(0x123456789ABCDEFull, first, 3, n, b.data());
      ASSERT_TRUE(Same(a, b)) << n << " " << first;
      for (float v : a) EXPECT_LT(std::fabs(v), 0.5f);
    }
  }
}

std::vector<uint32_t> Targets() {
  std::vector<uint32_t> targets;
  for (uint32_t left = static_cast<uint32_t>(hwy::SupportedTargets()); left != 0;
       left &= left - 1) {
    const uint32_t target = left & ~(left - 1);
    if ((target & static_cast<uint32_t>(HWY_TARGETS)) != 0) targets.push_back(target);
  }
  return targets;
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, Kernels, testing::ValuesIn(Targets()),
                         [](const auto& target) {
                           return std::string(hwy::TargetName(target.param));
                         });

TEST(BitStream, RunsOfMixedWidthsFollowEachOtherWithoutGaps) {
  CounterRng rng(4);
  std::vector<std::pair<int, std::vector<uint8_t>>> runs;
  size_t bits = 0;
  for (int i = 0; i < 200; ++i) {
    const int width = 1 + static_cast<int>(rng.NextBelow(8));
    std::vector<uint8_t> codes(rng.NextBelow(40));
    for (uint8_t& c : codes) c = static_cast<uint8_t>(rng.NextBelow(uint64_t{1} << width));
    bits += codes.size() * static_cast<size_t>(width);
    runs.emplace_back(width, codes);
  }
  std::vector<uint8_t> stream((bits + 7) / 8);
  BitPacker packer(stream.data());
  for (const auto& [width, codes] : runs) packer.Append(codes.data(), codes.size(), width);
  packer.Flush();
  BitUnpacker unpacker(stream.data());
  for (const auto& [width, codes] : runs) {
    std::vector<uint8_t> back(codes.size());
    unpacker.Read(back.data(), back.size(), width);
    ASSERT_EQ(back, codes);
  }
}

}  // namespace
}  // namespace isthmus
