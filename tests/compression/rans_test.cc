// The entropy coder by itself: round trips over many tables, its efficiency, and arbitrary bytes.
#include "compression/rans.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "compression/ecq_raw_bits.h"
#include "compression/ecq_side_coder.h"
#include "compression/ecq_tables.h"

namespace isthmus {
namespace {

constexpr size_t kTables = 3;

// A flat table, a steep one, and one where a single symbol has every place but one.
RansTables SomeTables() {
  RansTables tables(kTables);
  std::vector<uint32_t> counts(kRansSymbols);
  std::vector<uint16_t> frequencies(kRansSymbols);
  for (size_t s = 0; s < kRansSymbols; ++s) counts[s] = 1u << (s < 16 ? 16 - s : 0);
  NormalizeCounts(counts, RansFirst(40), frequencies.data());
  tables.Set(1, frequencies.data());
  counts.assign(kRansSymbols, 0);
  counts[1] = 1000000;
  NormalizeCounts(counts, RansFirst(2), frequencies.data());
  tables.Set(2, frequencies.data());
  return tables;
}

std::vector<uint16_t> SomeOps(const RansTables& tables, size_t n, std::vector<uint8_t>* table_of) {
  std::vector<uint16_t> ops;
  CounterRng rng(3);
  for (size_t i = 0; i < n; ++i) {
    const size_t table = rng.NextBelow(kTables);
    const uint32_t slot = static_cast<uint32_t>(table * kRansScale + rng.NextBelow(kRansScale));
    const uint32_t symbol = RansTables::Symbol(tables.slots()[slot]);
    table_of->push_back(static_cast<uint8_t>(table));
    ops.push_back(static_cast<uint16_t>(table * kRansSymbols + symbol));
  }
  return ops;
}

void Encode(const RansTables& tables, const std::vector<uint16_t>& ops, size_t width, size_t states,
            Bytes* bytes) {
  RansEncoder encoder;
  encoder.Begin(states, ops.size());
  encoder.Put(tables, ops, width);
  encoder.Finish(bytes);
}

bool Decode(const RansTables& tables, absl::Span<const uint8_t> bytes, size_t states, size_t width,
            const std::vector<uint8_t>& table_of, std::vector<uint8_t>* symbols) {
  RansDecoder decoder;
  if (!decoder.Begin(bytes, states)) return false;
  symbols->resize(table_of.size());
  for (size_t row = 0; row < table_of.size(); row += width) {
    for (size_t c = 0; c < width; c += 16) {
      const size_t n = std::min<size_t>(16, width - c);
      decoder.Read(tables, table_of.data() + row + c, c, n, symbols->data() + row + c);
    }
  }
  return decoder.Finish();
}

TEST(Rans, RoundTripsAtEveryNumberOfStates) {
  const RansTables tables = SomeTables();
  for (size_t states : {1, 4, 8, 16, 32, 64}) {
    for (size_t width : {1, 3, 37, 64, 100}) {
      for (size_t rows : {0, 1, 9}) {
        std::vector<uint8_t> table_of, symbols;
        const std::vector<uint16_t> ops = SomeOps(tables, width * rows, &table_of);
        Bytes bytes;
        Encode(tables, ops, width, states, &bytes);
        ASSERT_TRUE(Decode(tables, bytes, states, width, table_of, &symbols));
        for (size_t i = 0; i < ops.size(); ++i)
          ASSERT_EQ(symbols[i], ops[i] - table_of[i] * kRansSymbols);
      }
    }
  }
}

TEST(Rans, SpendsTheEntropyAndNoMore) {
  const RansTables tables = SomeTables();
  std::vector<uint8_t> table_of;
  const std::vector<uint16_t> ops = SomeOps(tables, 200000, &table_of);
  double bits = 0;
  for (const uint16_t op : ops)
    bits += kRansScaleBits - std::log2(tables.frequency(op / kRansSymbols, op % kRansSymbols));
  Bytes bytes;
  Encode(tables, ops, 100, 32, &bytes);
  EXPECT_LT(8.0 * static_cast<double>(bytes.size()) - 32 * 32, bits * 1.001 + 64);
}

TEST(Rans, ArbitraryBytesEndInARefusal) {
  const RansTables tables = SomeTables();
  std::vector<uint8_t> table_of, symbols;
  const std::vector<uint16_t> ops = SomeOps(tables, 640, &table_of);
  Bytes bytes;
  Encode(tables, ops, 64, 4, &bytes);
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(Decode(tables, absl::MakeSpan(bytes).first(n), 4, 64, table_of, &symbols));
  Bytes longer = bytes;
  longer.insert(longer.end(), {0, 0});
  EXPECT_FALSE(Decode(tables, longer, 4, 64, table_of, &symbols));
  CounterRng rng(4);
  for (int i = 0; i < 300; ++i) {
    Bytes noise(rng.NextBelow(2000));
    for (uint8_t& b : noise) b = static_cast<uint8_t>(rng.Next32());
    EXPECT_FALSE(Decode(tables, noise, 4, 64, table_of, &symbols));
    for (const uint8_t s : symbols) ASSERT_LT(s, kRansSymbols);
  }
}

TEST(NormalizeCounts, SumsToTheScaleAndKeepsEverySymbol) {
  CounterRng rng(5);
  for (int i = 0; i < 100; ++i) {
    std::vector<uint32_t> counts(kRansSymbols);
    const size_t used = 1 + rng.NextBelow(kRansSymbols);
    for (uint32_t& c : counts) c = rng.Next32() >> rng.NextBelow(32);
    uint16_t frequencies[kRansSymbols];
    NormalizeCounts(counts, RansFirst(used), frequencies);
    uint32_t sum = 0;
    for (size_t s = 0; s < kRansSymbols; ++s) {
      EXPECT_EQ(frequencies[s] > 0, s < used);
      sum += frequencies[s];
    }
    EXPECT_EQ(sum, kRansScale);
  }
}

// Places that rounding leaves over are worth a bit in twenty where there are many symbols.
TEST(NormalizeCounts, LosesLittleAgainstTheCounts) {
  CounterRng rng(8);
  for (int i = 0; i < 50; ++i) {
    std::vector<uint32_t> counts(kRansSymbols);
    double total = 0, entropy = 0, spent = 0;
    for (size_t s = 0; s < 60; ++s) {
      counts[s] = 300 + static_cast<uint32_t>(rng.NextBelow(3000));
      total += counts[s];
    }
    uint16_t frequencies[kRansSymbols];
    NormalizeCounts(counts, RansFirst(60), frequencies);
    for (size_t s = 0; s < 60; ++s) {
      entropy += counts[s] / total * std::log2(total / counts[s]);
      spent += counts[s] / total * std::log2(double{kRansScale} / frequencies[s]);
    }
    EXPECT_LT(spent, entropy + 0.002);
  }
}

TEST(AdaptiveCounts, SideStreamRoundTripsAndApproachesTheEntropy) {
  // Symbol s with probability about 2^-(s+1).
  CounterRng rng(6);
  std::vector<size_t> symbols;
  for (int i = 0; i < 20000; ++i)
    symbols.push_back(static_cast<size_t>(std::countl_zero(rng.Next32() | 0x10u)));
  AdaptiveCounts start(40, 32, 1u << 16);
  for (size_t s = 0; s < 40; ++s) start.Add(s, 1);
  AdaptiveCounts sender = start, receiver = start;
  SideEncoder encoder;
  for (const size_t s : symbols) encoder.Put(&sender, s);
  Bytes bytes;
  encoder.Finish(&bytes);
  EXPECT_LT(8.0 * static_cast<double>(bytes.size()), 2.05 * 20000);
  const size_t stream = bytes.size();
  bytes.push_back(77);  // what follows a stream is not its business
  SideDecoder decoder;
  ASSERT_TRUE(decoder.Begin(bytes));
  for (const size_t s : symbols) ASSERT_EQ(decoder.Get(&receiver), s);
  size_t used = 0;
  EXPECT_TRUE(decoder.Finish(&used));
  EXPECT_EQ(used, stream);
  for (size_t s = 0; s < 40; ++s) EXPECT_EQ(sender.Count(s), receiver.Count(s));
}

TEST(RawBits, GolombAndPlainBitsRoundTrip) {
  CounterRng rng(7);
  std::vector<uint32_t> values;
  RawBitWriter writer;
  for (int i = 0; i < 3000; ++i) {
    values.push_back(rng.Next32() >> (2 + rng.NextBelow(30)));
    writer.PutGolomb(values.back(), 1);
    writer.Put(static_cast<uint32_t>(i) & 31, 5);
  }
  const absl::Span<const uint8_t> bytes = writer.Flush();
  RawBitReader reader(bytes);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(reader.GetGolomb(1), values[static_cast<size_t>(i)]);
    ASSERT_EQ(reader.Get(5), static_cast<uint32_t>(i) & 31);
  }
  EXPECT_TRUE(reader.Finish());
  EXPECT_FALSE(RawBitReader(bytes).Finish());
  RawBitReader cut(bytes.first(10));
  for (int i = 0; i < 100; ++i) (void)cut.GetGolomb(1);
  EXPECT_FALSE(cut.Finish());
}

TEST(EcqTables, PriorsFollowTheirClassesAndLearnWhatComes) {
  EcqTables tables;
  for (size_t t = 1; t < static_cast<size_t>(kEcqPlainClasses); ++t) {
    const auto zero = [&](size_t table) {
      return tables.rans().frequency(table, static_cast<size_t>(kEcqZero));
    };
    EXPECT_LE(zero(t), zero(t - 1)) << t;  // a higher class has fewer zeros
  }
  std::vector<uint32_t> histogram(kEcqTables * kRansSymbols);
  histogram[10 * kRansSymbols + kEcqEscape] = 100000;
  tables.Learn(histogram.data());
  EXPECT_GT(tables.rans().frequency(10, kEcqEscape), 0.95 * kRansScale);
  Bytes bytes;
  tables.Write(&bytes);
  EcqTables read;
  ByteReader reader(bytes);
  ASSERT_TRUE(read.Read(&reader));
  EXPECT_TRUE(read == tables);
  bytes[bytes.size() / 2] ^= 0x55;
  ByteReader damaged(bytes);
  EcqTables other;
  if (!other.Read(&damaged)) {
    EXPECT_TRUE(other == EcqTables());
  }
}

}  // namespace
}  // namespace isthmus
