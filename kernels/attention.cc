#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/small_product-inl.h"
#include "kernels/vector-inl.h"

#ifndef ISTHMUS_KERNELS_ATTENTION_ONCE_
#define ISTHMUS_KERNELS_ATTENTION_ONCE_
namespace isthmus::kernels {

// Query rows of a block: their scores against 512 keys are 32 KB, which fits the first-level cache
// beside a few rows of keys.
constexpr int64_t kBlockRows = 16;

// Rows of scratch matrices start on whole vectors.
inline int64_t PaddedKeys(const AttentionHead& head) { return (head.keys + 15) / 16 * 16; }

// The keys that some row of a block of queries sees: [first, last).
struct KeyRange {
  int64_t first = 0, last = 0;
  int64_t count() const { return last - first; }
};
inline KeyRange KeysOf(const AttentionHead& head, int64_t first_query, int64_t last_query) {
  const int64_t past = head.keys - head.queries;
  const int64_t first = head.window > 0 ? past + first_query + 1 - head.window : 0;
  return {std::max<int64_t>(first, 0), past + last_query};
}

}  // namespace isthmus::kernels
#endif  // ISTHMUS_KERNELS_ATTENTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {

using kernels::AttentionHead;
using kernels::AttentionKept;
using kernels::HeadRows;
using kernels::kBlockRows;
using kernels::KeyRange;
using kernels::KeysOf;
using kernels::MutableHeadRows;
using kernels::PaddedKeys;

// [S, C] rows to [C, padded S].
void TransposeRows(const AttentionHead& head, HeadRows rows, float* out) {
  const int64_t stride = PaddedKeys(head);
  constexpr int64_t kTile = 16;
  for (int64_t first = 0; first < head.keys; first += kTile) {
    const int64_t last = std::min(first + kTile, head.keys);
    for (int64_t c = 0; c < head.head_dim; ++c) {
      for (int64_t s = first; s < last; ++s) out[c * stride + s] = rows.data[s * rows.stride + c];
    }
  }
}

// A block of query rows of one query head.
struct Block {
  int64_t group = 0, first = 0, rows = 0;
  KeyRange keys;
};

// scores [rows, keys.count()] with row stride padded S: left rows times the transposed right ones.
void MultiplyByTransposed(const AttentionHead& head, const Block& block, HeadRows left,
                          const float* right_CS, float* scores) {
  SmallProduct p;
  p.m = block.rows;
  p.n = block.keys.count();
  p.k = head.head_dim;
  p.a = left.data + block.first * left.stride + block.group * head.head_dim;
  p.a_row = left.stride;
  p.b = right_CS + block.keys.first;
  p.b_stride = p.c_stride = PaddedKeys(head);
  p.c = scores;
  Multiply(p);
}

// The keys that query `row` of the block sees, relative to the block's first key.
KeyRange SeenBy(const AttentionHead& head, const Block& block, int64_t row) {
  KeyRange seen = KeysOf(head, block.first + row, block.first + row + 1);
  seen.first -= block.keys.first;
  seen.last -= block.keys.first;
  return seen;
}

void ClearUnseen(float* row, const KeyRange& seen, int64_t count) {
  std::fill(row, row + seen.first, 0.0f);
  std::fill(row + seen.last, row + count, 0.0f);
}

// Scores to exp(scale * score - largest) in place; returns {largest, sum}.
struct RowSum {
  float largest, sum;
};
RowSum ExponentialRow(float* row, int64_t count, float scale) {
  const RowTag d;
  const RowVector lowest = hn::Set(d, std::numeric_limits<float>::lowest());
  RowVector top = lowest;
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    const RowVector v = LoadSome(d, row + i, n);
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    top = hn::Max(
        top, n >= lanes ? v : hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(n)), v, lowest));
  });
  const float largest = hn::GetLane(hn::MaxOfLanes(d, top)) * scale;
  const RowVector factor = hn::Set(d, scale), shift = hn::Set(d, largest);
  RowVector sum = hn::Zero(d);
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    RowVector e = hn::Exp(d, hn::MulSub(LoadSome(d, row + i, n), factor, shift));
    if (n < static_cast<int64_t>(hn::Lanes(d)))
      e = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(n)), e);
    sum = hn::Add(sum, e);
    StoreSome(e, d, row + i, n);
  });
  return {largest, SumOf(d, sum)};
}

void ScaleRow(float* row, int64_t count, float factor) {
  const RowTag d;
  const RowVector f = hn::Set(d, factor);
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    StoreSome(hn::Mul(LoadSome(d, row + i, n), f), d, row + i, n);
  });
}

// Probabilities of a block from its scores, and the logarithms of the sums.
void SoftmaxBlock(const AttentionHead& head, const Block& block, float* scores, float* log_sums) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(head.head_dim));
  for (int64_t r = 0; r < block.rows; ++r) {
    float* row = scores + r * PaddedKeys(head);
    const KeyRange seen = SeenBy(head, block, r);
    const RowSum sum = ExponentialRow(row + seen.first, seen.count(), scale);
    ScaleRow(row + seen.first, seen.count(), 1.0f / sum.sum);
    ClearUnseen(row, seen, block.keys.count());
    if (log_sums != nullptr)
      log_sums[block.group * head.queries + block.first + r] = sum.largest + std::log(sum.sum);
  }
}

// out rows of the block = weights [rows, keys] times value rows.
void MultiplyByRows(const AttentionHead& head, const Block& block, const float* weights,
                    HeadRows values, MutableHeadRows out) {
  SmallProduct p;
  p.m = block.rows;
  p.n = head.head_dim;
  p.k = block.keys.count();
  p.a = weights;
  p.a_row = PaddedKeys(head);
  p.b = values.data + block.keys.first * values.stride;
  p.b_stride = values.stride;
  p.c = out.data + block.first * out.stride + block.group * head.head_dim;
  p.c_stride = out.stride;
  Multiply(p);
}

// Adds weights^T [keys, rows] times the block's left rows to the key rows of `out`.
void AddTransposedProduct(const AttentionHead& head, const Block& block, const float* weights,
                          HeadRows left, MutableHeadRows out) {
  SmallProduct p;
  p.m = block.keys.count();
  p.n = head.head_dim;
  p.k = block.rows;
  p.a = weights;
  p.a_row = 1;
  p.a_column = PaddedKeys(head);
  p.b = left.data + block.first * left.stride + block.group * head.head_dim;
  p.b_stride = left.stride;
  p.c = out.data + block.keys.first * out.stride;
  p.c_stride = out.stride;
  p.accumulate = true;
  Multiply(p);
}

float Dot(const float* a, const float* b, int64_t count) {
  const RowTag d;
  RowVector sum = hn::Zero(d);
  ForVectors(d, count, [&](int64_t i, int64_t n) {
    sum = hn::MulAdd(LoadSome(d, a + i, n), LoadSome(d, b + i, n), sum);
  });
  return SumOf(d, sum);
}

// One or two new positions behind many: transposing the keys would cost more than the dots.
void DotScores(const AttentionHead& head, const Block& block, HeadRows q, HeadRows k,
               float* scores) {
  for (int64_t r = 0; r < block.rows; ++r) {
    const float* left = q.data + (block.first + r) * q.stride + block.group * head.head_dim;
    for (int64_t s = 0; s < block.keys.count(); ++s) {
      const float* right = k.data + (block.keys.first + s) * k.stride;
      scores[r * PaddedKeys(head) + s] = Dot(left, right, head.head_dim);
    }
  }
}

template <typename Body>
void ForBlocks(const AttentionHead& head, Body&& body) {
  for (int64_t group = 0; group < head.groups; ++group) {
    for (int64_t first = 0; first < head.queries; first += kBlockRows) {
      Block block{group, first, std::min(kBlockRows, head.queries - first), {}};
      block.keys = KeysOf(head, first, first + block.rows);
      body(block);
    }
  }
}

void AttendOneHead(const AttentionHead& head, HeadRows q, HeadRows k, HeadRows v,
                   MutableHeadRows out, float* log_sums, float* scratch) {
  float* keys_CS = scratch;
  float* scores = scratch + head.head_dim * PaddedKeys(head);
  const bool few = head.queries * head.groups < 8;
  if (!few) TransposeRows(head, k, keys_CS);
  ForBlocks(head, [&](const Block& block) {
    if (few) {
      DotScores(head, block, q, k, scores);
    } else {
      MultiplyByTransposed(head, block, q, keys_CS, scores);
    }
    SoftmaxBlock(head, block, scores, log_sums);
    MultiplyByRows(head, block, scores, v, out);
  });
}

// Scores to the probabilities that the forward pass had.
void ProbabilitiesAgain(const AttentionHead& head, const Block& block, const float* log_sums,
                        float* scores) {
  const RowTag d;
  const RowVector scale = hn::Set(d, 1.0f / std::sqrt(static_cast<float>(head.head_dim)));
  for (int64_t r = 0; r < block.rows; ++r) {
    float* row = scores + r * PaddedKeys(head);
    const KeyRange seen = SeenBy(head, block, r);
    const RowVector shift = hn::Set(d, log_sums[block.group * head.queries + block.first + r]);
    ForVectors(d, seen.count(), [&](int64_t i, int64_t n) {
      float* at = row + seen.first + i;
      StoreSome(hn::Exp(d, hn::MulSub(LoadSome(d, at, n), scale, shift)), d, at, n);
    });
    ClearUnseen(row, seen, block.keys.count());
  }
}

// With D = <dout, out> of the row: dscore = p (dp - D) / sqrt(C), in place of dp.
void ScoreGradients(const AttentionHead& head, const Block& block, const AttentionKept& kept,
                    HeadRows dout, const float* p, float* dp) {
  const RowTag d;
  const RowVector scale = hn::Set(d, 1.0f / std::sqrt(static_cast<float>(head.head_dim)));
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t row = block.first + r, column = block.group * head.head_dim;
    const RowVector along =
        hn::Set(d, Dot(dout.data + row * dout.stride + column,
                       kept.out.data + row * kept.out.stride + column, head.head_dim));
    const int64_t at = r * PaddedKeys(head);
    ForVectors(d, block.keys.count(), [&](int64_t i, int64_t n) {
      const RowVector inner = hn::Sub(LoadSome(d, dp + at + i, n), along);
      const RowVector weight = hn::Mul(LoadSome(d, p + at + i, n), scale);
      StoreSome(hn::Mul(weight, inner), d, dp + at + i, n);
    });
  }
}

void ClearRows(const AttentionHead& head, MutableHeadRows rows) {
  for (int64_t s = 0; s < head.keys; ++s)
    std::fill_n(rows.data + s * rows.stride, head.head_dim, 0.0f);
}

void AttendOneHeadGradient(const AttentionHead& head, const AttentionKept& kept, HeadRows dout,
                           MutableHeadRows dq, MutableHeadRows dk, MutableHeadRows dv,
                           float* scratch) {
  float* keys_CS = scratch;
  float* values_CS = keys_CS + head.head_dim * PaddedKeys(head);
  float* p = values_CS + head.head_dim * PaddedKeys(head);
  float* dp = p + kBlockRows * PaddedKeys(head);
  TransposeRows(head, kept.k, keys_CS);
  TransposeRows(head, kept.v, values_CS);
  ClearRows(head, dk);
  ClearRows(head, dv);
  ForBlocks(head, [&](const Block& block) {
    MultiplyByTransposed(head, block, kept.q, keys_CS, p);
    ProbabilitiesAgain(head, block, kept.log_sums, p);
    AddTransposedProduct(head, block, p, dout, dv);
    MultiplyByTransposed(head, block, dout, values_CS, dp);
    ScoreGradients(head, block, kept, dout, p, dp);
    MultiplyByRows(head, block, dp, kept.k, dq);
    AddTransposedProduct(head, block, dp, kept.q, dk);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(AttendOneHead);
HWY_EXPORT(AttendOneHeadGradient);
}  // namespace

namespace kernels {

int64_t AttentionScratchFloats(const AttentionHead& head) {
  return (head.head_dim + kBlockRows) * PaddedKeys(head);
}

int64_t AttentionGradientScratchFloats(const AttentionHead& head) {
  return 2 * AttentionScratchFloats(head);
}

void AttendHead(const AttentionHead& head, HeadRows q, HeadRows k, HeadRows v, MutableHeadRows out,
                float* log_sums, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendOneHead)(head, q, k, v, out, log_sums, scratch);
}

void AttendHeadGradient(const AttentionHead& head, const AttentionKept& kept, HeadRows dout,
                        MutableHeadRows dq, MutableHeadRows dk, MutableHeadRows dv,
                        float* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendOneHeadGradient)(head, kept, dout, dq, dk, dv, scratch);
}

}  // namespace kernels
}  // namespace isthmus
#endif  // HWY_ONCE
