#include "kernels/kv_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kv_attention.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

#ifndef ISTHMUS_KERNELS_KV_ATTENTION_ONCE_
#define ISTHMUS_KERNELS_KV_ATTENTION_ONCE_
namespace isthmus::kernels {

// Query rows that share the conversion of codes to floats; 4 sums of 16 fit the registers of every
// instruction set.
constexpr int64_t kSharedRows = 4;
constexpr float kMasked = std::numeric_limits<float>::lowest();

// exp(x) for x <= 0 as 2^n times the Taylor polynomial of r = x - n ln 2, |r| <= 0.35: what is left
// out, r^8 / 8!, is below a tenth of fp32's rounding. ln 2 in two parts, the first exact in 15 bits
// so that n times it is exact.
constexpr float kLog2E = 1.44269504f;
constexpr float kLn2High = 0.693145752f, kLn2Low = 1.42860677e-6f;
constexpr float kTaylor[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                             1.0f / 6,    1.0f / 2,   1.0f,       1.0f};
// Below, the result would be denormal: it is 0.
constexpr float kLeastExponent = -87.0f;

// Up to kSharedRows query rows of a head, in the order (query, group), and what they see.
struct RowRun {
  int64_t count = 0;
  const float* q[kSharedRows];
  float* out[kSharedRows];
  int64_t first[kSharedRows], last[kSharedRows];  // keys
  int64_t first_key = 0, last_key = 0;            // of all rows
  int64_t first_block() const { return first_key / kKvBlock; }
  int64_t last_block() const { return (last_key + kKvBlock - 1) / kKvBlock; }
};

// Scratch of a run: weights [kSharedRows][keys from the first block on], sums and a row of output.
struct RunScratch {
  float* weights[kSharedRows];
  float* sums;  // [kSharedRows][padded head_dim]
};

inline int64_t PaddedTo16(int64_t count) { return (count + 15) / 16 * 16; }

inline RowRun RunOf(const AttentionHead& head, HeadRows q, MutableHeadRows out, int64_t row) {
  RowRun run;
  run.count = std::min(kSharedRows, head.queries * head.groups - row);
  const int64_t past = head.keys - head.queries;
  run.first_key = head.keys;
  for (int64_t i = 0; i < run.count; ++i) {
    const int64_t query = (row + i) / head.groups, column = (row + i) % head.groups * head.head_dim;
    run.q[i] = q.data + query * q.stride + column;
    run.out[i] = out.data + query * out.stride + column;
    run.last[i] = past + query + 1;
    run.first[i] = head.window > 0 ? std::max<int64_t>(0, run.last[i] - head.window) : 0;
    run.first_key = std::min(run.first_key, run.first[i]);
    run.last_key = std::max(run.last_key, run.last[i]);
  }
  return run;
}

inline RunScratch ScratchOf(const AttentionHead& head, float* scratch) {
  RunScratch parts;
  for (float*& weights : parts.weights) {
    weights = scratch;
    scratch += PaddedTo16(head.keys) + kKvBlock;
  }
  parts.sums = scratch;
  return parts;
}

inline const uint8_t* UnitOf(const CachedHead& cached, int64_t block) {
  return cached.cache + block * cached.layout.block_bytes() +
         cached.kv_head * cached.layout.unit_bytes();
}

// The scales of a block, step and low apart.
struct BlockScales {
  float step[kKvBlock], low[kKvBlock];
};
inline BlockScales ScalesAt(const KvLayout& layout, const uint8_t* scales) {
  BlockScales out;
  for (int64_t i = 0; i < kKvBlock; ++i) {
    const KvScale scale = ReadKvScale(layout, scales, i);
    out.step[i] = scale.step;
    out.low[i] = scale.low;
  }
  return out;
}

inline float SumOfRow(const float* row, int64_t count) {
  float sum = 0.0f;
  for (int64_t i = 0; i < count; ++i) sum += row[i];
  return sum;
}

// 16 sums, each over every 16th element, to one.
inline float SumOf16(const float* sums) {
  float half[8];
  for (int i = 0; i < 8; ++i) half[i] = sums[i] + sums[i + 8];
  for (int i = 0; i < 4; ++i) half[i] += half[i + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}

// Masks what row i does not see; returns the largest of the others.
inline float MaskRow(const RowRun& run, int64_t i, float* scores) {
  const int64_t from = run.first_block() * kKvBlock, to = run.last_block() * kKvBlock;
  std::fill(scores, scores + run.first[i] - from, kMasked);
  std::fill(scores + run.last[i] - from, scores + to - from, kMasked);
  return *std::max_element(scores + run.first[i] - from, scores + run.last[i] - from);
}

inline float ScoreScale(const AttentionHead& head) {
  return 1.0f / std::sqrt(static_cast<float>(head.head_dim));
}

// Exponentials to weights of value codes: times the step of their position. Returns the sum of the
// lows' shares, which is the same for every channel.
inline float WeighValues(const CachedHead& cached, const RowRun& run, float* weights) {
  float lows[kKvBlock] = {};
  for (int64_t block = run.first_block(); block < run.last_block(); ++block) {
    const uint8_t* values = UnitOf(cached, block) + cached.layout.values_offset();
    const BlockScales scales = ScalesAt(cached.layout, values + cached.layout.scales_offset());
    float* row = weights + (block - run.first_block()) * kKvBlock;
    for (int64_t s = 0; s < kKvBlock; ++s) {
      // A position behind the last has no scale yet.
      const bool seen = row[s] != 0.0f;
      lows[s] += seen ? row[s] * scales.low[s] : 0.0f;
      row[s] = seen ? row[s] * scales.step[s] : 0.0f;
    }
  }
  return SumOf16(lows);
}

}  // namespace isthmus::kernels
#endif  // ISTHMUS_KERNELS_KV_ATTENTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using kernels::AttentionHead;
using kernels::BlockScales;
using kernels::CachedHead;
using kernels::HeadRows;
using kernels::kKvBlock;
using kernels::kSharedRows;
using kernels::MutableHeadRows;
using kernels::RowRun;
using kernels::RunScratch;

using Tag = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Tag>;
constexpr int kParts = static_cast<int>(16 / hn::MaxLanes(Tag()));  // vectors of 16 floats

HWY_INLINE hn::Vec<hn::Rebind<int32_t, Tag>> LoadBytes(const uint8_t* bytes, bool is_signed) {
  const hn::Rebind<int32_t, Tag> d32;
  if (is_signed) {
    const hn::Rebind<int8_t, Tag> d8;
    return hn::PromoteTo(d32, hn::LoadU(d8, reinterpret_cast<const int8_t*>(bytes)));
  }
  const hn::Rebind<uint8_t, Tag> d8;
  return hn::PromoteTo(d32, hn::LoadU(d8, bytes));
}

// One vector of codes, or two where a byte holds two.
template <int kBits>
struct Codes {
  Vector low, high;
};
template <int kBits>
HWY_INLINE Codes<kBits> LoadCodes(const uint8_t* bytes) {
  const hn::Rebind<int32_t, Tag> d32;
  const Tag d;
  const auto both = LoadBytes(bytes, kBits == 8);
  if (kBits == 8) return {hn::ConvertTo(d, both), hn::Zero(d)};
  return {hn::ConvertTo(d, hn::And(both, hn::Set(d32, 15))),
          hn::ConvertTo(d, hn::ShiftRight<4>(both))};
}

// Scores of kRows query rows against one block of keys.
template <int kBits, int kRows>
HWY_INLINE void ScoreBlock(const CachedHead& cached, const RowRun& run, const float* q_sums,
                           int64_t block, const RunScratch& scratch) {
  const Tag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t columns = cached.layout.columns(), channels = cached.layout.head_dim;
  const uint8_t* codes = kernels::UnitOf(cached, block);
  Vector sum[kRows][kParts];
  for (int r = 0; r < kRows; ++r) {
    for (int part = 0; part < kParts; ++part) sum[r][part] = hn::Zero(d);
  }
  for (int64_t c = 0; c < columns; ++c) {
    const bool second = kBits == 4 && c + columns < channels;
    for (int part = 0; part < kParts; ++part) {
      const Codes<kBits> keys = LoadCodes<kBits>(codes + c * kKvBlock + part * lanes);
      for (int r = 0; r < kRows; ++r) {
        sum[r][part] = hn::Add(sum[r][part], hn::Mul(hn::Set(d, run.q[r][c]), keys.low));
        if (!second) continue;
        sum[r][part] = hn::Add(sum[r][part], hn::Mul(hn::Set(d, run.q[r][c + columns]), keys.high));
      }
    }
  }
  const BlockScales scales =
      kernels::ScalesAt(cached.layout, codes + cached.layout.scales_offset());
  const int64_t at = (block - run.first_block()) * kKvBlock;
  for (int part = 0; part < kParts; ++part) {
    const Vector step = hn::LoadU(d, scales.step + part * lanes);
    const Vector low = hn::LoadU(d, scales.low + part * lanes);
    for (int r = 0; r < kRows; ++r) {
      const Vector along = hn::Mul(low, hn::Set(d, q_sums[r]));
      hn::StoreU(hn::Add(hn::Mul(sum[r][part], step), along), d,
                 scratch.weights[r] + at + part * lanes);
    }
  }
}

HWY_INLINE Vector Exponential(Vector x) {
  const Tag d;
  const hn::Rebind<int32_t, Tag> d32;
  const Vector least = hn::Set(d, kernels::kLeastExponent);
  const Vector inside = hn::Max(x, least);
  const auto n = hn::NearestInt(hn::Mul(inside, hn::Set(d, kernels::kLog2E)));
  const Vector whole = hn::ConvertTo(d, n);
  Vector r = hn::Sub(inside, hn::Mul(whole, hn::Set(d, kernels::kLn2High)));
  r = hn::Sub(r, hn::Mul(whole, hn::Set(d, kernels::kLn2Low)));
  Vector y = hn::Set(d, kernels::kTaylor[0]);
  for (int i = 1; i < 8; ++i) y = hn::Add(hn::Mul(y, r), hn::Set(d, kernels::kTaylor[i]));
  const auto power = hn::ShiftLeft<23>(hn::Add(n, hn::Set(d32, 127)));
  const Vector e = hn::Mul(y, hn::BitCast(d, power));
  return hn::IfThenZeroElse(hn::Lt(x, least), e);
}

// Scores to exp((score - largest) * scale) in place; returns their sum.
float ExponentiateRow(float* row, int64_t count, float largest, float scale) {
  const Tag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Vector shift = hn::Set(d, largest), factor = hn::Set(d, scale);
  Vector sum[kParts];
  for (int part = 0; part < kParts; ++part) sum[part] = hn::Zero(d);
  for (int64_t i = 0; i < count; i += 16) {
    for (int part = 0; part < kParts; ++part) {
      float* at = row + i + part * lanes;
      const Vector e = Exponential(hn::Mul(hn::Sub(hn::LoadU(d, at), shift), factor));
      sum[part] = hn::Add(sum[part], e);
      hn::StoreU(e, d, at);
    }
  }
  float sums[16];
  for (int part = 0; part < kParts; ++part) hn::StoreU(sum[part], d, sums + part * lanes);
  return kernels::SumOf16(sums);
}

// sums [kRows][16 or 2 * 16 channels from column `c` on] = weights times the value codes.
template <int kBits, int kRows>
HWY_INLINE void WeighCodes(const CachedHead& cached, const RowRun& run, int64_t c,
                           const RunScratch& scratch, int64_t row_floats) {
  const Tag d;
  const int64_t columns = cached.layout.columns();
  Vector low[kRows], high[kRows];
  for (int r = 0; r < kRows; ++r) low[r] = high[r] = hn::Zero(d);
  for (int64_t s = run.first_key; s < run.last_key; ++s) {
    const uint8_t* codes = kernels::UnitOf(cached, s / kKvBlock) + cached.layout.values_offset() +
                           s % kKvBlock * columns + c;
    const Codes<kBits> values = LoadCodes<kBits>(codes);
    for (int r = 0; r < kRows; ++r) {
      const Vector weight = hn::Set(d, scratch.weights[r][s - run.first_block() * kKvBlock]);
      low[r] = hn::Add(low[r], hn::Mul(weight, values.low));
      if (kBits == 4) high[r] = hn::Add(high[r], hn::Mul(weight, values.high));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float* to = scratch.sums + r * row_floats + c;
    hn::StoreU(low[r], d, to);
    if (kBits == 4) hn::StoreU(high[r], d, to + row_floats / 2);
  }
}

template <int kBits, int kRows>
void AttendRun(const AttentionHead& head, const CachedHead& cached, const RowRun& run,
               const RunScratch& scratch) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  const int64_t columns = cached.layout.columns();
  float q_sums[kRows], sums[kRows], lows[kRows];
  for (int r = 0; r < kRows; ++r) q_sums[r] = kernels::SumOfRow(run.q[r], head.head_dim);
  for (int64_t block = run.first_block(); block < run.last_block(); ++block)
    ScoreBlock<kBits, kRows>(cached, run, q_sums, block, scratch);
  const int64_t count = (run.last_block() - run.first_block()) * kKvBlock;
  for (int r = 0; r < kRows; ++r) {
    float* row = scratch.weights[r];
    const float largest = kernels::MaskRow(run, r, row);
    sums[r] = ExponentiateRow(row, count, largest, kernels::ScoreScale(head));
    lows[r] = kernels::WeighValues(cached, run, row);
  }
  const int64_t row_floats = 2 * kernels::PaddedTo16(columns);
  for (int64_t c = 0; c < columns; c += lanes)
    WeighCodes<kBits, kRows>(cached, run, c, scratch, row_floats);
  for (int r = 0; r < kRows; ++r) {
    const float* sum = scratch.sums + r * row_floats;
    const float inverse = 1.0f / sums[r];
    for (int64_t c = 0; c < head.head_dim; ++c) {
      const float code_sum = c < columns ? sum[c] : sum[row_floats / 2 + c - columns];
      run.out[r][c] = (code_sum + lows[r]) * inverse;
    }
  }
}

template <int kBits>
void AttendRows(const AttentionHead& head, const CachedHead& cached, HeadRows q,
                MutableHeadRows out, float* memory) {
  const RunScratch scratch = kernels::ScratchOf(head, memory);
  const int64_t rows = head.queries * head.groups;
  for (int64_t row = 0; row < rows;) {
    RowRun run = kernels::RunOf(head, q, out, row);
    if (run.count == kSharedRows) {
      AttendRun<kBits, kSharedRows>(head, cached, run, scratch);
      row += kSharedRows;
      continue;
    }
    AttendRun<kBits, 1>(head, cached, run, scratch);
    ++row;
  }
}

void AttendCached(const AttentionHead& head, const CachedHead& cached, HeadRows q,
                  MutableHeadRows out, float* scratch) {
  if (cached.layout.bits == 8) return AttendRows<8>(head, cached, q, out, scratch);
  AttendRows<4>(head, cached, q, out, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(AttendCached);
}  // namespace

namespace kernels {
namespace {

float ExponentialOf(float x) {
  if (x < kLeastExponent) return 0.0f;
  const float n = std::nearbyint(x * kLog2E);
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float y = kTaylor[0];
  for (int i = 1; i < 8; ++i) y = y * r + kTaylor[i];
  return y * std::ldexp(1.0f, static_cast<int>(n));
}

// The code of one channel.
float CodeAt(const KvLayout& layout, const uint8_t* first, int64_t stride, int64_t channel) {
  if (layout.bits == 8) return static_cast<float>(static_cast<int8_t>(first[channel * stride]));
  const uint8_t both = first[channel % layout.columns() * stride];
  return static_cast<float>(channel < layout.columns() ? both & 15 : both >> 4);
}

float ScoreOf(const CachedHead& cached, const float* q, int64_t key) {
  const KvLayout& layout = cached.layout;
  const uint8_t* unit = UnitOf(cached, key / kKvBlock);
  const int64_t columns = layout.columns();
  float sum = 0.0f;
  for (int64_t column = 0; column < columns; ++column) {
    for (int64_t c = column; c < layout.head_dim; c += columns)
      sum += q[c] * CodeAt(layout, unit + key % kKvBlock, kKvBlock, c);
  }
  const KvScale scale = ReadKvScale(layout, unit + layout.scales_offset(), key % kKvBlock);
  return sum * scale.step + scale.low * SumOfRow(q, layout.head_dim);
}

}  // namespace

int64_t CachedAttentionScratchFloats(const AttentionHead& head) {
  return kSharedRows * (PaddedTo16(head.keys) + kKvBlock + 2 * PaddedTo16(head.head_dim));
}

void AttendCachedHead(const AttentionHead& head, const CachedHead& cached, HeadRows q,
                      MutableHeadRows out, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendCached)(head, cached, q, out, scratch);
}

void AttendCachedHeadReference(const AttentionHead& head, const CachedHead& cached, HeadRows q,
                               MutableHeadRows out, float* scratch) {
  const KvLayout& layout = cached.layout;
  for (int64_t row = 0; row < head.queries * head.groups; ++row) {
    RowRun run = RunOf(head, q, out, row);
    const int64_t from = run.first[0], to = run.last[0];
    run.first_key = from;
    run.last_key = to;
    float* weights = scratch;  // of the positions from the first block on
    const int64_t start = run.first_block() * kKvBlock;
    const int64_t count = run.last_block() * kKvBlock - start;
    for (int64_t s = from; s < to; ++s) weights[s - start] = ScoreOf(cached, run.q[0], s);
    const float largest = MaskRow(run, 0, weights);
    float sums[16] = {};
    for (int64_t i = 0; i < count; ++i) {
      weights[i] = ExponentialOf((weights[i] - largest) * ScoreScale(head));
      sums[i % 16] += weights[i];
    }
    const float low = WeighValues(cached, run, weights), inverse = 1.0f / SumOf16(sums);
    for (int64_t c = 0; c < head.head_dim; ++c) {
      float sum = 0.0f;
      for (int64_t s = from; s < to; ++s) {
        const uint8_t* codes = UnitOf(cached, s / kKvBlock) + layout.values_offset();
        sum += weights[s - start] * CodeAt(layout, codes + s % kKvBlock * layout.columns(), 1, c);
      }
      run.out[0][c] = (sum + low) * inverse;
    }
  }
}

}  // namespace kernels
}  // namespace isthmus
#endif  // HWY_ONCE
