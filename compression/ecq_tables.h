// The classes of ecq's entropy coder: a code q is coded by the table of the magnitude that is
// expected at its place. Half an octave of E|q| a class, from 2^-9 on; from 8 on the low bits go
// beside the coder and the rest shares two tables.
//
// Tables start as the mean of a Gaussian's and a Laplacian's and follow the counts of decoded
// symbols. All of it is integers, or IEEE double +, -, *, / in a fixed order, so both ends and all
// machines have the same.
#ifndef ISTHMUS_COMPRESSION_ECQ_TABLES_H_
#define ISTHMUS_COMPRESSION_ECQ_TABLES_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "compression/rans.h"

namespace isthmus {

inline constexpr int kEcqPlainClasses = 24;
inline constexpr size_t kEcqTables = kEcqPlainClasses + 2;
inline constexpr int kEcqClasses = 62;                    // E|q| up to 2^22
inline constexpr int32_t kEcqLargestCode = 1 << 22;       // |q| of a frame that is coded
inline constexpr size_t kEcqCentroids = 3;                // of |q| = 1, 2 and beyond
inline constexpr float kEcqCentroidUnit = 1.0f / 128.0f;  // of a step

// The class of an expected magnitude, moved by `shift` half octaves. expected >= 0.
inline int EcqClassOf(float expected, int shift) {
  const int half_octave = static_cast<int>(std::bit_cast<uint32_t>(expected) >> 22) - 236 + shift;
  const int low = half_octave > 0 ? half_octave : 0;
  return low < kEcqClasses ? low : kEcqClasses - 1;
}
inline int EcqTableOf(int cls) {
  return cls < kEcqPlainClasses ? cls : kEcqPlainClasses + (cls & 1);
}
inline int EcqLowBits(int cls) {
  return cls < kEcqPlainClasses ? 0 : (cls - kEcqPlainClasses) / 2 + 1;
}

// Codes -k .. k of a table are symbols 32 - k .. 32 + k, symbol 0 is the escape. k is about seven
// times the mean magnitude: one Laplacian in a thousand lies beyond.
inline constexpr int kEcqZero = 32;
inline constexpr int kEcqEscape = 0;
inline constexpr std::array<int8_t, kEcqTables> kEcqLargestPlain = {
    2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4, 5, 6, 8, 11, 16, 16, 22, 29, 31, 31, 31, 31, 31};
inline int EcqLargestPlain(size_t table) { return kEcqLargestPlain[table]; }
// The symbols of a table, as a set.
inline uint64_t EcqSymbols(size_t table) {
  const int k = EcqLargestPlain(table);
  return RansFirst(static_cast<size_t>(2 * k + 1)) << (kEcqZero - k) | uint64_t{1} << kEcqEscape;
}
// The part of a code of a class with low bits that is coded by a table.
inline int EcqHighPart(int cls, int32_t q) {
  const int low = EcqLowBits(cls);
  return (q + (low > 0 ? 1 << (low - 1) : 0)) >> low;
}
inline int EcqSymbolOf(int cls, int32_t q) {
  const int high = EcqHighPart(cls, q), k = EcqLargestPlain(static_cast<size_t>(EcqTableOf(cls)));
  return high <= k && high >= -k ? high + kEcqZero : kEcqEscape;
}

class EcqTables {
 public:
  EcqTables();

  const RansTables& rans() const { return rans_; }
  // Counts of one frame's symbols, kEcqTables x kRansSymbols.
  void Learn(const uint32_t* histogram);

  // How far the centroid of |q| = level + 1 (and beyond for the last) lies below it, in
  // kEcqCentroidUnit.
  int8_t centroid(size_t table, size_t level) const {
    return state_.centroids[table * kEcqCentroids + level];
  }
  void set_centroid(size_t table, size_t level, int8_t value) {
    state_.centroids[table * kEcqCentroids + level] = value;
  }
  bool operator==(const EcqTables& other) const { return state_ == other.state_; }

  struct State {
    std::array<uint32_t, kEcqTables * kRansSymbols> counts;
    std::array<uint16_t, kEcqTables * kRansSymbols> frequencies;
    std::array<uint32_t, kEcqTables> fresh;  // symbols since a table was made
    std::array<int8_t, kEcqTables * kEcqCentroids> centroids;
    bool operator==(const State&) const = default;
  };
  static constexpr int64_t kStateBytes =
      static_cast<int64_t>(sizeof(State) + kEcqTables * (kRansScale * 4 + kRansSymbols * 8));
  const State& state() const { return state_; }
  void set_state(const State& state);  // one that state() gave
  void Write(Bytes* out) const;
  bool Read(ByteReader* in);  // false for what Write does not write; unchanged then

 private:
  State state_;
  RansTables rans_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_TABLES_H_
