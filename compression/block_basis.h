// An orthonormal basis for each block of neighbouring channels: the eigenvectors of second moments
// (the Karhunen-Loeve transform), learned by the sender and sent in fp16, 2 x block bytes a
// channel. Rounding leaves it orthonormal to 2^-11: 66 dB. 2 x block operations a value at either
// end.
#ifndef ISTHMUS_COMPRESSION_BLOCK_BASIS_H_
#define ISTHMUS_COMPRESSION_BLOCK_BASIS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "compression/eigen.h"

namespace isthmus {

class BlockBasis {
 public:
  // The last block has what is left of the width.
  BlockBasis(size_t width, size_t block);

  static size_t Entries(size_t width, size_t block);
  size_t entries() const { return entries_; }
  size_t table_bytes() const { return 2 * entries_; }

  // moments (entries() of them) += the products of a row's values, block by block; of symmetric
  // ones the upper half.
  void AddMoments(const float* row, double* moments) const;
  // The table of table_bytes() whose basis vectors fall in energy.
  void Fit(const double* moments, Bytes* table);
  // Takes a table; false for one that Fit does not write.
  bool Load(absl::Span<const uint8_t> table);

  // One row, by the table that was loaded. The inverse sums over basis vectors from first to last,
  // at every machine.
  void Forward(const float* x, float* y) const;
  void Inverse(const float* y, float* x) const;

 private:
  template <typename Block>
  void ForBlocks(const Block& block) const;

  size_t width_, block_, entries_;
  std::vector<float> vectors_, turned_;  // row k of a block is vector k; and transposed
  std::vector<uint16_t> halves_;
  SymmetricEigen eigen_;
  std::vector<double> moments_, fitted_, values_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_BLOCK_BASIS_H_
