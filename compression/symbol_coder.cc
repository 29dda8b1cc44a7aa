#include "compression/symbol_coder.h"

#include <algorithm>

#include "compression/scratch.h"

namespace isthmus {
int64_t SymbolCoder::Encode(const uint32_t* values, const uint8_t* classes, size_t rows,
                            size_t width, Bytes* out) {
  const size_t n = rows * width;
  uint16_t* ops = Room(&ops_, n);
  uint32_t counts[kMostClasses * kRansSymbols] = {};
  raw_.clear();
  uint64_t word = 0;
  int fill = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint16_t symbol = SymbolOf(values[i]);
    ops[i] =
        classes == nullptr ? symbol : static_cast<uint16_t>(symbol + classes[i] * kRansSymbols);
    ++counts[ops[i]];
    const int bits = RawBits(symbol);
    if (bits == 0) continue;
    word |= static_cast<uint64_t>(values[i] & ((1u << bits) - 1)) << fill;
    for (fill += bits; fill >= 8; fill -= 8, word >>= 8) raw_.push_back(static_cast<uint8_t>(word));
  }
  if (fill > 0) raw_.push_back(static_cast<uint8_t>(word));
  MakeTables(counts, classes != nullptr, out);
  coded_.clear();
  rans_.Begin(RansStatesFor(n), n);
  rans_.Put(tables_, {ops, n}, width);
  rans_.Finish(&coded_);
  ByteWriter(out).PutVarint(coded_.size());
  out->insert(out->end(), coded_.begin(), coded_.end());
  out->insert(out->end(), raw_.begin(), raw_.end());
  return static_cast<int64_t>(coded_.size() + raw_.size());
}

void SymbolCoder::MakeTables(const uint32_t* counts, bool classes, Bytes* out) {
  ByteWriter writer(out);
  const size_t set_at = out->size();
  if (classes) {
    writer.Put(uint8_t{0});
    if (tables_.size() < kMostClasses) tables_ = RansTables(kMostClasses);
  }
  for (size_t t = 0; t < (classes ? kMostClasses : 1); ++t) {
    const uint32_t* seen = counts + t * kRansSymbols;
    size_t used = kMostSymbols;
    while (used > 0 && seen[used - 1] == 0) --used;
    if (used == 0 && classes) continue;
    used = std::max<size_t>(used, 1);
    if (classes) (*out)[set_at] |= static_cast<uint8_t>(1u << t);
    uint16_t frequencies[kRansSymbols] = {};
    NormalizeCounts({seen, kRansSymbols}, RansFirst(used), frequencies);
    tables_.Set(t, frequencies);
    writer.PutVarint(used);
    for (size_t k = 0; k < used; ++k) writer.PutVarint(frequencies[k]);
  }
}

// `needed`: the classes that the numbers are of; 0 without classes.
bool SymbolCoder::ReadTables(ByteReader* in, uint32_t needed) {
  if (needed == 0) return ReadFrequencies(in, 0);
  const auto set = in->Get<uint8_t>();
  if (!set.ok() || *set != needed) return false;
  if (tables_.size() < kMostClasses) tables_ = RansTables(kMostClasses);
  for (size_t t = 0; t < kMostClasses; ++t) {
    if ((*set >> t & 1) != 0 && !ReadFrequencies(in, t)) return false;
  }
  return true;
}

bool SymbolCoder::ReadFrequencies(ByteReader* in, size_t table) {
  const auto used = in->GetVarint();
  if (!used.ok() || *used < 1 || *used > kMostSymbols) return false;
  uint16_t frequencies[kRansSymbols] = {};
  uint64_t sum = 0;
  for (uint64_t k = 0; k < *used; ++k) {
    const auto frequency = in->GetVarint();
    if (!frequency.ok() || *frequency > kRansScale) return false;
    frequencies[k] = static_cast<uint16_t>(*frequency);
    sum += *frequency;
  }
  if (sum != kRansScale) return false;
  tables_.Set(table, frequencies);
  return true;
}

bool SymbolCoder::BeginInOrder(ByteReader* in, size_t n, uint32_t* set, RansDecoder* decoder,
                               RawStream* raw) {
  ByteReader ahead = *in;
  const auto first = ahead.Get<uint8_t>();
  if (!first.ok() || *first == 0 || !ReadTables(in, *first)) return false;
  *set = *first;
  const auto size = in->GetVarint();
  if (!size.ok()) return false;
  const auto bytes = in->GetBytes(*size);
  if (!bytes.ok() || !decoder->Begin(*bytes, RansStatesFor(n))) return false;
  ahead = *in;
  raw->bytes = *ahead.GetBytes(ahead.remaining());
  return true;
}

bool SymbolCoder::RawStream::Get(int bits, uint32_t* value) {
  for (; fill < bits; fill += 8) {
    if (at == bytes.size()) return false;
    word |= static_cast<uint64_t>(bytes[at++]) << fill;
  }
  *value = static_cast<uint32_t>(word & ((uint64_t{1} << bits) - 1));
  word >>= bits;
  fill -= bits;
  return true;
}

bool SymbolCoder::Decode(ByteReader* in, const uint8_t* classes, size_t rows, size_t width,
                         uint32_t* values) {
  uint32_t needed = 0;
  for (size_t i = 0; classes != nullptr && i < rows * width; ++i) needed |= 1u << classes[i];
  if (!ReadTables(in, needed)) return false;
  const auto size = in->GetVarint();
  if (!size.ok()) return false;
  const auto bytes = in->GetBytes(*size);
  RansDecoder decoder;
  if (!bytes.ok() || !decoder.Begin(*bytes, RansStatesFor(rows * width))) return false;
  static constexpr uint8_t kTable[64] = {};
  uint8_t* symbols = Room(&symbols_, rows * width);
  size_t raw_bits = 0;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < width; c += 64) {
      const size_t n = std::min<size_t>(64, width - c);
      uint8_t* to = symbols + r * width + c;
      const uint8_t* table_of = classes == nullptr ? kTable : classes + r * width + c;
      decoder.Read(tables_, table_of, c, n, to);
      for (size_t i = 0; i < n; ++i) raw_bits += static_cast<size_t>(RawBits(to[i]));
    }
  }
  if (!decoder.Finish()) return false;
  const auto raw = in->GetBytes((raw_bits + 7) / 8);
  if (!raw.ok()) return false;
  const uint8_t* next = raw->data();
  uint64_t word = 0;
  int fill = 0;
  for (size_t i = 0; i < rows * width; ++i) {
    const int bits = RawBits(symbols[i]);
    if (bits == 0) {
      values[i] = symbols[i];
      continue;
    }
    for (; fill < bits; fill += 8) word |= static_cast<uint64_t>(*next++) << fill;
    values[i] = (1u << bits) | static_cast<uint32_t>(word & ((uint64_t{1} << bits) - 1));
    word >>= bits;
    fill -= bits;
  }
  return true;
}

}  // namespace isthmus
