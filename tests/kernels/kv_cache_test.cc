// The low-bit key/value cache: what it keeps of a row, attention over it against float64, and every
// instruction set against the scalar code.
#include "kernels/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/kv_attention.h"

namespace isthmus::kernels {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats Random(int64_t count, uint64_t seed) {
  CounterRng rng(RandomKey(seed, "test.kv_cache"));
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(rng.NextNormal());
  return values;
}

// A cache of `positions` random rows, and the rows.
struct Filled {
  KvLayout layout;
  Floats k, v;  // [positions, heads * head_dim]
  std::vector<uint8_t> cache;

  // As the cache has them, of one head: [positions, head_dim].
  void Read(int64_t head, Floats* keys, Floats* values) const {
    const int64_t positions = static_cast<int64_t>(k.size()) / (layout.heads * layout.head_dim);
    keys->resize(static_cast<size_t>(positions * layout.head_dim));
    values->resize(keys->size());
    for (int64_t p = 0; p < positions; ++p) {
      ReadKv(layout, cache.data(), p, head, keys->data() + p * layout.head_dim,
             values->data() + p * layout.head_dim);
    }
  }
  Floats Original(const Floats& rows, int64_t head) const {
    Floats own;
    const int64_t wide = layout.heads * layout.head_dim;
    for (size_t at = static_cast<size_t>(head * layout.head_dim); at < rows.size();
         at += static_cast<size_t>(wide))
      own.insert(own.end(), rows.begin() + static_cast<int64_t>(at),
                 rows.begin() + static_cast<int64_t>(at) + layout.head_dim);
    return own;
  }
};

// Bytes of positions that nobody stored are not zero: attention must not look at them.
Filled Fill(int bits, int64_t heads, int64_t head_dim, int64_t positions) {
  Filled filled = {{heads, head_dim, bits},
                   Random(positions * heads * head_dim, 1),
                   Random(positions * heads * head_dim, 2),
                   {}};
  filled.cache.assign(static_cast<size_t>(filled.layout.bytes(positions)), 0xff);
  for (int64_t p = 0; p < positions; ++p) {
    const int64_t at = p * heads * head_dim;
    StoreKv(filled.layout, p, filled.k.data() + at, filled.v.data() + at, filled.cache.data());
  }
  return filled;
}

// Half a step: the largest of a row over 127, or its range over 15, both ends of which are held in
// bf16 (rounded outwards: up to 2^-7 of low and of the step more).
double HalfStep(int bits, const float* row, int64_t count) {
  const auto [least, most] = std::minmax_element(row, row + count);
  const double largest = std::max(std::abs(*least), std::abs(*most));
  if (bits == 8) return largest / 127 / 2 * 1.00001;
  return (*most - *least + largest / 128) / 15 / 2 * (1.0 + 1.0 / 128);
}

TEST(KvCacheTest, ARowIsKeptToHalfAStep) {
  for (int bits : {8, 4}) {
    for (int64_t head_dim : {4, 5, 8, 12, 64}) {
      const Filled filled = Fill(bits, 3, head_dim, 37);
      for (int64_t head = 0; head < 3; ++head) {
        Floats got[2];
        filled.Read(head, &got[0], &got[1]);
        const Floats want[2] = {filled.Original(filled.k, head), filled.Original(filled.v, head)};
        for (int which : {0, 1}) {
          for (int64_t p = 0; p < 37; ++p) {
            const double bound = HalfStep(bits, want[which].data() + p * head_dim, head_dim);
            for (int64_t c = 0; c < head_dim; ++c) {
              const size_t i = static_cast<size_t>(p * head_dim + c);
              ASSERT_NEAR(got[which][i], want[which][i], bound) << bits << " bits, " << i;
            }
          }
        }
      }
    }
  }
}

TEST(KvCacheTest, SizesAreThoseOfTheLayout) {
  const KvLayout eight = {2, 64, 8}, four = {2, 64, 4};
  // 64 codes and a scale, for keys and values of two heads, against as many floats.
  EXPECT_EQ(eight.bytes(32), 32 * 2 * 2 * (64 + 4));
  EXPECT_EQ(four.bytes(32), 32 * 2 * 2 * (32 + 4));
  EXPECT_EQ(eight.bytes(33), eight.bytes(48));
}

TEST(KvCacheTest, ConstantZeroAndBrokenRows) {
  for (int bits : {8, 4}) {
    const KvLayout layout = {1, 4, bits};
    std::vector<uint8_t> cache(static_cast<size_t>(layout.bytes(4)));
    const float nan = std::numeric_limits<float>::quiet_NaN(), most = 1e38f;
    const Floats rows[] = {{0, 0, 0, 0}, {3, 3, 3, 3}, {1, nan, 2, 3}, {-most, most, 0, most}};
    for (int64_t p = 0; p < 4; ++p)
      StoreKv(layout, p, rows[p].data(), rows[p].data(), cache.data());
    Floats k(4), v(4);
    for (int64_t p : {0, 1, 3}) {
      ReadKv(layout, cache.data(), p, 0, k.data(), v.data());
      EXPECT_EQ(k, v);
      for (size_t c = 0; c < 4; ++c)
        EXPECT_NEAR(k[c], rows[p][c], std::abs(rows[p][c]) / 100 + (p == 3 ? 1e37 : 0));
    }
    ReadKv(layout, cache.data(), 2, 0, k.data(), v.data());
    for (float value : k) EXPECT_TRUE(std::isnan(value));
  }
}

Doubles AttentionOf(const AttentionHead& head, const Floats& q, const Floats& k, const Floats& v) {
  const int64_t past = head.keys - head.queries, c = head.head_dim;
  Doubles out(q.size(), 0.0);
  for (int64_t row = 0; row < head.queries * head.groups; ++row) {
    const int64_t own = past + row / head.groups;
    const int64_t first = head.window > 0 ? std::max<int64_t>(0, own + 1 - head.window) : 0;
    Doubles p;
    double sum = 0.0;
    for (int64_t s = first; s <= own; ++s) {
      double score = 0.0;
      for (int64_t i = 0; i < c; ++i)
        score += double{q[static_cast<size_t>(row * c + i)]} * k[static_cast<size_t>(s * c + i)];
      p.push_back(std::exp(score / std::sqrt(static_cast<double>(c))));
      sum += p.back();
    }
    for (int64_t s = first; s <= own; ++s) {
      for (int64_t i = 0; i < c; ++i) {
        out[static_cast<size_t>(row * c + i)] +=
            p[static_cast<size_t>(s - first)] / sum * v[static_cast<size_t>(s * c + i)];
      }
    }
  }
  return out;
}

std::vector<AttentionHead> Heads() {
  return {{1, 1, 4, 1, 0},    {3, 9, 5, 1, 0},    {1, 40, 16, 3, 0},  {20, 20, 8, 2, 0},
          {37, 37, 6, 2, 5},  {18, 18, 16, 1, 1}, {17, 33, 8, 1, 7},  {33, 33, 12, 3, 0},
          {1, 200, 64, 4, 0}, {2, 65, 33, 1, 0},  {1, 100, 24, 1, 31}};
}

using Attention = void (*)(const AttentionHead&, const CachedHead&, HeadRows, MutableHeadRows,
                           float*);

Floats Attended(Attention attend, const AttentionHead& head, const Filled& filled, int64_t kv_head,
                const Floats& q) {
  Floats out(q.size()), scratch(static_cast<size_t>(CachedAttentionScratchFloats(head)));
  const int64_t wide = head.groups * head.head_dim;
  attend(head, {filled.layout, filled.cache.data(), kv_head}, {q.data(), wide}, {out.data(), wide},
         scratch.data());
  return out;
}

Floats Queries(const AttentionHead& head) {
  return Random(head.queries * head.groups * head.head_dim, 3);
}

// Over the rows as the cache has them nothing is lost but fp32's rounding.
TEST(KvAttentionTest, ReadsWhatTheCacheHas) {
  for (int bits : {8, 4}) {
    for (const AttentionHead& head : Heads()) {
      const Filled filled = Fill(bits, 2, head.head_dim, head.keys);
      const Floats q = Queries(head);
      Floats k, v;
      filled.Read(1, &k, &v);
      const Doubles want = AttentionOf(head, q, k, v);
      const Floats got = Attended(AttendCachedHead, head, filled, 1, q);
      for (size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], want[i], 3e-6 * (1.0 + std::abs(want[i]))) << bits << " " << i;
    }
  }
}

// Against the rows that were stored. A score moves by at most d = |q|_1 * half a step / sqrt(C), a
// probability by a factor within exp(+-2 d), their sum of absolute changes is at most exp(2 d) - 1;
// values move by half a step of their own.
TEST(KvAttentionTest, TheErrorIsWithinItsBound) {
  for (int bits : {8, 4}) {
    for (const AttentionHead& head : Heads()) {
      const Filled filled = Fill(bits, 1, head.head_dim, head.keys);
      const Floats q = Queries(head);
      const Doubles want = AttentionOf(head, q, filled.k, filled.v);
      const Floats got = Attended(AttendCachedHead, head, filled, 0, q);
      double key_step = 0.0, value_step = 0.0, largest = 0.0;
      for (int64_t p = 0; p < head.keys; ++p) {
        const int64_t at = p * head.head_dim;
        key_step = std::max(key_step, HalfStep(bits, filled.k.data() + at, head.head_dim));
        value_step = std::max(value_step, HalfStep(bits, filled.v.data() + at, head.head_dim));
      }
      for (float value : filled.v) largest = std::max<double>(largest, std::abs(value));
      for (size_t i = 0; i < got.size(); ++i) {
        const size_t row = i / static_cast<size_t>(head.head_dim);
        double along = 0.0;
        for (int64_t c = 0; c < head.head_dim; ++c)
          along += std::abs(q[row * static_cast<size_t>(head.head_dim) + static_cast<size_t>(c)]);
        const double d = along * key_step / std::sqrt(static_cast<double>(head.head_dim));
        EXPECT_NEAR(got[i], want[i], value_step + std::expm1(2 * d) * largest + 1e-5);
      }
    }
  }
}

TEST(KvAttentionTest, EveryTargetGivesTheBitsOfTheScalarCode) {
  for (auto left = static_cast<uint32_t>(hwy::SupportedTargets()); left != 0; left &= left - 1) {
    const uint32_t target = left & (~left + 1);
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (int bits : {8, 4}) {
      for (const AttentionHead& head : Heads()) {
        const Filled filled = Fill(bits, 2, head.head_dim, head.keys);
        Floats q = Queries(head);
        q[0] *= 100.0f;  // probabilities that vanish
        EXPECT_EQ(Attended(AttendCachedHead, head, filled, 1, q),
                  Attended(AttendCachedHeadReference, head, filled, 1, q))
            << bits << " bits, " << head.queries << " queries, " << head.keys << " keys";
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace isthmus::kernels
