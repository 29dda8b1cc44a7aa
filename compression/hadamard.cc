// The Walsh-Hadamard transform of blocks of a row: butterflies (a, b) -> (a + b, a - b) at distance
// 1, 2, 4 …, then a multiplication by 1 / sqrt(block). Every operation is element-wise fp32 in the
// order of reference.h, so the vector width does not show in the result.
#include <algorithm>

#include "compression/kernels.h"
#include "compression/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/hadamard.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Scalable vectors (SVE) cannot be kept in arrays.
#if HWY_TARGET == HWY_SCALAR || HWY_HAVE_SCALABLE

void HadamardRow(float* x, size_t n, size_t block) { reference::HadamardRow(x, n, block); }

#else

// At most 16 lanes: distances 1, 2, 4 and 8 are shuffles within a vector.
using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;

HWY_INLINE VF SignOf(DF d, size_t distance) {
  HWY_ALIGN float signs[16];
  for (size_t i = 0; i < 16; ++i) signs[i] = (i & distance) != 0 ? -0.0f : 0.0f;
  return hn::Load(d, signs);
}

struct Signs {
  VF of1, of2, of4, of8;
};
HWY_INLINE Signs MakeSigns(DF d) {
  return {SignOf(d, 1), SignOf(d, 2), SignOf(d, 4), SignOf(d, 8)};
}

// Distances below the number of lanes. The upper of two is a - b = a + (-b), exactly.
HWY_INLINE VF Within(DF d, VF v, const Signs& signs) {
  v = hn::Add(hn::Shuffle2301(v), hn::Xor(v, signs.of1));
  v = hn::Add(hn::Shuffle1032(v), hn::Xor(v, signs.of2));
  if (hn::Lanes(d) >= 8) v = hn::Add(hn::SwapAdjacentBlocks(v), hn::Xor(v, signs.of4));
  if (hn::Lanes(d) == 16) v = hn::Add(hn::ConcatLowerUpper(d, v, v), hn::Xor(v, signs.of8));
  return v;
}

// kVectors vectors in registers: all distances up to half of kVectors * lanes.
template <size_t kVectors>
HWY_INLINE void TransformInRegisters(DF d, float* x, const Signs& signs, VF factor) {
  const size_t lanes = hn::Lanes(d);
  VF v[kVectors];
  HWY_UNROLL(16)
  for (size_t k = 0; k < kVectors; ++k) v[k] = Within(d, hn::LoadU(d, x + k * lanes), signs);
  HWY_UNROLL(4)
  for (size_t distance = 1; distance < kVectors; distance *= 2) {
    HWY_UNROLL(16)
    for (size_t k = 0; k < kVectors; ++k) {
      if ((k & distance) != 0) continue;
      const VF a = v[k], b = v[k + distance];
      v[k] = hn::Add(a, b);
      v[k + distance] = hn::Sub(a, b);
    }
  }
  HWY_UNROLL(16)
  for (size_t k = 0; k < kVectors; ++k) hn::StoreU(hn::Mul(v[k], factor), d, x + k * lanes);
}

HWY_INLINE void Butterflies(DF d, float* x, size_t block, size_t distance) {
  const size_t lanes = hn::Lanes(d);
  for (size_t begin = 0; begin < block; begin += 2 * distance) {
    for (size_t i = begin; i < begin + distance; i += lanes) {
      const VF a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + distance);
      hn::StoreU(hn::Add(a, b), d, x + i);
      hn::StoreU(hn::Sub(a, b), d, x + i + distance);
    }
  }
}

void TransformBlock(DF d, float* x, size_t block) {
  const size_t lanes = hn::Lanes(d);
  const Signs signs = MakeSigns(d);
  const VF factor = hn::Set(d, reference::HadamardFactor(block));
  if (block == 4 * lanes) return TransformInRegisters<4>(d, x, signs, factor);
  if (block == 8 * lanes) return TransformInRegisters<8>(d, x, signs, factor);
  if (block == 16 * lanes) return TransformInRegisters<16>(d, x, signs, factor);
  const VF one = hn::Set(d, 1.0f);
  size_t done = lanes;
  if (block > 16 * lanes) {
    done = 16 * lanes;
    for (size_t i = 0; i < block; i += done) TransformInRegisters<16>(d, x + i, signs, one);
  } else {
    for (size_t i = 0; i < block; i += lanes) TransformInRegisters<1>(d, x + i, signs, one);
  }
  for (size_t distance = done; distance < block; distance *= 2) Butterflies(d, x, block, distance);
  for (size_t i = 0; i < block; i += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factor), d, x + i);
}

void HadamardRow(float* x, size_t n, size_t block) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  if (lanes != 4 && lanes != 8 && lanes != 16) return reference::HadamardRow(x, n, block);
  while (n > 0) {
    while (block > n) block /= 2;
    const size_t whole = n / block * block;
    if (block < lanes) {
      reference::HadamardRow(x, whole, block);
    } else {
      for (size_t i = 0; i < whole; i += block) TransformBlock(d, x + i, block);
    }
    x += whole;
    n -= whole;
  }
}

#endif  // HWY_TARGET

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(HadamardRow);
}  // namespace

void HadamardRow(float* x, size_t n, size_t block) {
  HWY_DYNAMIC_DISPATCH(HadamardRow)(x, n, block);
}

}  // namespace isthmus
#endif  // HWY_ONCE
