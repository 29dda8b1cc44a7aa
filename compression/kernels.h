// The inner loops of every codec. Each runs on the widest instruction set the machine has (Highway,
// chosen at run time) and gives the same bits as its scalar definition in reference.h on every one
// of them.
//
// Shapes: a row is n contiguous values cut into tiles of `tile` (the last may be shorter); codes
// are one byte per value until PackBits makes them a stream, least significant bit first.
#ifndef ISTHMUS_COMPRESSION_KERNELS_H_
#define ISTHMUS_COMPRESSION_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "compression/group_format.h"

namespace isthmus {

inline size_t NumTiles(size_t n, size_t tile) { return (n + tile - 1) / tile; }
inline size_t PackedBytes(size_t n, int bits) { return (n * static_cast<size_t>(bits) + 7) / 8; }

// Smallest, largest and largest magnitude; {0, 0, 0} for n = 0.
Extent ScanExtent(const float* x, size_t n);

// Quantises a row: fits every tile's range, writes its parameters and its codes. `noise` (n values
// in (-1/2, 1/2)) makes the rounding stochastic; null is nearest. Returns the largest magnitude
// seen; above kLargestMagnitude the output is unfinished.
uint32_t QuantizeRow(const float* x, size_t n, size_t tile, const GroupFormat& format,
                     const float* noise, uint8_t* parameters, uint8_t* codes);
void QuantizeGroup(const float* x, size_t n, const GroupParameters& parameters, const float* noise,
                   uint8_t* codes);

// Sum of the squares of x - x^ with nearest rounding, in fp32: sixteen interleaved partial sums,
// added from first to last.
float SquaredError(const float* x, size_t n, const GroupParameters& parameters);

// False when a tile's stored parameters are not what QuantizeRow writes.
bool DequantizeRow(const uint8_t* codes, size_t n, size_t tile, const GroupFormat& format,
                   const uint8_t* parameters, float* out);
void DequantizeGroup(const uint8_t* codes, size_t n, const GroupParameters& parameters, float* out);

// n codes of `bits` bits from or to a byte-aligned stream of PackedBytes(n, bits).
void PackBits(const uint8_t* codes, size_t n, int bits, uint8_t* out);
void UnpackBits(const uint8_t* in, size_t n, int bits, uint8_t* codes);

// The orthonormal Walsh-Hadamard transform of blocks of `block` (a power of two) values of a row,
// in place; its own inverse. What is left at the end is cut into the largest powers of two that
// fit.
void HadamardRow(float* x, size_t n, size_t block);

// fp32 to and from 16 bits. `factor` (a power of two) multiplies before and after. Encode returns
// the largest magnitude of x as fp32 bits, decode the largest magnitude of the 16-bit patterns.
uint32_t Bf16FromFloats(const float* x, size_t n, uint16_t* out);
uint32_t FloatsFromBf16(const uint16_t* in, size_t n, float* out);
uint32_t HalfFromFloats(const float* x, size_t n, float factor, uint16_t* out);
uint32_t FloatsFromHalf(const uint16_t* in, size_t n, float factor, float* out);

// How many of n values round beyond half's largest, 65504.
int64_t CountBeyondHalf(const float* x, size_t n);

// noise[i] for the values first, first + 1, … of the stream under `key`: word i % 4 of Philox(key,
// i / 4, high), upper 24 bits, centred. `first` is a multiple of 4.
void FillNoise(uint64_t key, uint64_t first, uint64_t high, size_t n, float* noise);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_KERNELS_H_
