// A wide row is cut into bands of columns that never look at each other: each has its own modes,
// classes and, in large frames, its own streams, so two cores code and decode one frame. How a row
// is cut depends on its width alone, and the bytes never on the number of threads.
#ifndef ISTHMUS_COMPRESSION_ECQ_BANDS_H_
#define ISTHMUS_COMPRESSION_ECQ_BANDS_H_

#include <bit>
#include <cstddef>

namespace isthmus {

inline constexpr size_t kEcqMostBands = 2;
inline constexpr size_t kEcqBandColumns = 256;  // at least, where there are two

struct EcqBand {
  size_t index, begin, width;
};

inline constexpr size_t EcqBands(size_t width) {
  return width < kEcqMostBands * kEcqBandColumns ? 1 : kEcqMostBands;
}

// Whole 64s go to the first band, so that rows of both begin where vectors do.
inline constexpr EcqBand EcqBandOf(size_t width, size_t index) {
  if (EcqBands(width) == 1) return {0, 0, width};
  const size_t first = (width / kEcqMostBands + 63) / 64 * 64;
  return index == 0 ? EcqBand{0, 0, first} : EcqBand{1, first, width - first};
}

// Small frames have one stream for all bands: another costs 6 bytes and more.
inline constexpr size_t kEcqSplitPlaces = 65536;
inline constexpr size_t EcqStreams(size_t rows, size_t width) {
  return rows * width < kEcqSplitPlaces ? 1 : EcqBands(width);
}

// Tables, factors, errors and centroids of a large frame learn from every n-th row: 2^17 places of
// a band say what all of them would. Half of that would cost 0.003 bit.
inline constexpr size_t EcqCountStride(size_t rows, size_t band_width) {
  const size_t enough = rows * band_width >> 17;
  return enough < 2 ? 1 : std::bit_floor(enough);
}

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_BANDS_H_
