#include "compression/block_basis.h"

#include <algorithm>
#include <cstring>

#include "compression/kernels.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

// y = sum over rows k of `rows` of x[k] * row k.
void SumOfRows(const float* __restrict rows, size_t n, const float* __restrict x,
               float* __restrict y) {
  std::fill(y, y + n, 0.0f);
  for (size_t k = 0; k < n; ++k, rows += n)
    for (size_t c = 0; c < n; ++c) y[c] += rows[c] * x[k];
}

}  // namespace

BlockBasis::BlockBasis(size_t width, size_t block)
    : width_(width), block_(block), entries_(Entries(width, block)) {}

size_t BlockBasis::Entries(size_t width, size_t block) {
  const size_t rest = width % block;
  return width / block * block * block + rest * rest;
}

template <typename Block>
void BlockBasis::ForBlocks(const Block& block) const {
  size_t at = 0;
  for (size_t begin = 0; begin < width_; begin += block_) {
    const size_t n = std::min(block_, width_ - begin);
    block(begin, n, at);
    at += n * n;
  }
}

void BlockBasis::AddMoments(const float* row, double* moments) const {
  ForBlocks([&](size_t begin, size_t n, size_t at) {
    for (size_t i = 0; i < n; ++i) {
      const double v = row[begin + i];
      double* to = moments + at + i * n;
      for (size_t j = i; j < n; ++j) to[j] += v * row[begin + j];
    }
  });
}

void BlockBasis::Fit(const double* moments, Bytes* table) {
  float* vectors = Room(&vectors_, entries_);
  ForBlocks([&](size_t, size_t n, size_t at) {
    moments_.assign(moments + at, moments + at + n * n);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < i; ++j) moments_[i * n + j] = moments_[j * n + i];
    eigen_.Solve(n, &moments_, &fitted_, &values_);
    for (size_t i = 0; i < n * n; ++i) vectors[at + i] = static_cast<float>(fitted_[i]);
  });
  table->resize(table_bytes());
  HalfFromFloats(vectors, entries_, 1.0f, Room(&halves_, entries_));
  std::memcpy(table->data(), halves_.data(), table->size());
}

bool BlockBasis::Load(absl::Span<const uint8_t> table) {
  if (table.size() != table_bytes()) return false;
  std::memcpy(Room(&halves_, entries_), table.data(), table.size());
  float* vectors = Room(&vectors_, entries_);
  FloatsFromHalf(halves_.data(), entries_, 1.0f, vectors);
  for (size_t i = 0; i < entries_; ++i)
    if (!(vectors[i] >= -1.01f && vectors[i] <= 1.01f)) return false;
  float* turned = Room(&turned_, entries_);
  ForBlocks([&](size_t, size_t n, size_t at) {
    for (size_t k = 0; k < n; ++k)
      for (size_t c = 0; c < n; ++c) turned[at + c * n + k] = vectors[at + k * n + c];
  });
  return true;
}

void BlockBasis::Forward(const float* x, float* y) const {
  ForBlocks([&](size_t begin, size_t n, size_t at) {
    SumOfRows(turned_.data() + at, n, x + begin, y + begin);
  });
}

void BlockBasis::Inverse(const float* y, float* x) const {
  ForBlocks([&](size_t begin, size_t n, size_t at) {
    SumOfRows(vectors_.data() + at, n, y + begin, x + begin);
  });
}

}  // namespace isthmus
