// lowrank(rank, bits): a matrix as the product of two thin ones. Behind `store` it codes the change
// of a sample between two visits, whose effective rank is small when few low-rank adapters move
// (SplitLite, 2026: about twice the LoRA rank).
//
// The sender finds the leading right singular vectors V by randomised subspace iteration (2 rounds,
// counter-based start) and projects: P = X V. Rows of P^T and V^T are quantised to `bits` bits with
// a range per row: one scale for all directions would erase the small ones. The receiver
// multiplies.
//
//   rank' = min(rank, tokens, width) | P^T: rank' x tokens | V^T: rank' x width, MatrixCoder
//   (group=token, asymmetric); nothing but these
#include <algorithm>
#include <cmath>
#include <memory>

#include "base/rng.h"
#include "compression/eigen.h"
#include "compression/frame_check.h"
#include "compression/kernels.h"
#include "compression/matrix_coder.h"
#include "compression/part_table.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

struct LowRankOptions {
  int64_t rank = 32;
  int bits = 4;
};

constexpr int kRounds = 2;

MatrixFormat FactorFormat(int bits) {
  return {{bits, false, bits == 1 ? RangeRule::kRms : RangeRule::kMinMax}, Group::kToken, 0};
}

// Gram-Schmidt over k rows of n values; a row that is a sum of the others becomes zero.
void Orthonormalise(double* rows, size_t k, size_t n) {
  for (size_t i = 0; i < k; ++i) {
    double* row = rows + i * n;
    double before = 0;
    for (size_t c = 0; c < n; ++c) before += row[c] * row[c];
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t j = 0; j < i; ++j) {
        double dot = 0;
        for (size_t c = 0; c < n; ++c) dot += row[c] * rows[j * n + c];
        for (size_t c = 0; c < n; ++c) row[c] -= dot * rows[j * n + c];
      }
    }
    double squares = 0;
    for (size_t c = 0; c < n; ++c) squares += row[c] * row[c];
    const double factor = squares > 1e-20 * before ? 1.0 / std::sqrt(squares) : 0.0;
    for (size_t c = 0; c < n; ++c) row[c] *= factor;
  }
}

class LowRankFormat final : public ValueFormat {
 public:
  LowRankFormat(const LowRankOptions& options, const EdgeShape& shape)
      : options_(options), seed_(shape.seed), coder_(FactorFormat(options.bits), shape.width) {}

  bool ByRow() const override { return false; }

  int64_t Encode(const PartFrame& frame, RowBlock rows, const float* x, const uint8_t*, RowNoise*,
                 Bytes* out) override {
    const size_t t = rows.count, d = frame.width, k = Rank(t, d);
    if (ScanExtent(x, t * d).magnitude > kLargestMagnitude) return -1;
    FindDirections(x, t, d, k);
    Project(x, t, d, k);
    return EncodeFactor(p_.data(), k, t, out) + EncodeFactor(v_.data(), k, d, out);
  }

  absl::Status Decode(const PartFrame& frame, RowBlock rows, const uint8_t*, ByteReader* in,
                      float* x) override {
    const size_t t = rows.count, d = frame.width, k = Rank(t, d);
    ISTHMUS_RETURN_IF_ERROR(DecodeFactor(in, k, t, Room(&p_, k * t)));
    ISTHMUS_RETURN_IF_ERROR(DecodeFactor(in, k, d, Room(&v_, k * d)));
    std::fill(x, x + t * d, 0.0f);
    for (size_t r = 0; r < t; ++r) {
      for (size_t i = 0; i < k; ++i) {  // in this order at every machine
        const float weight = p_[i * t + r];
        const float* direction = v_.data() + i * d;
        float* row = x + r * d;
        for (size_t c = 0; c < d; ++c) row[c] += weight * direction[c];
      }
    }
    return absl::OkStatus();
  }

 private:
  size_t Rank(size_t tokens, size_t width) const {
    return std::min({static_cast<size_t>(options_.rank), tokens, width});
  }

  // basis_: k rows of d, the leading right singular vectors in falling order.
  void FindDirections(const float* x, size_t t, size_t d, size_t k) {
    double* basis = Room(&basis_, k * d);
    CounterRng random(RandomKey(seed_, "codec.lowrank", t, d));
    for (size_t i = 0; i < k * d; ++i) basis[i] = random.NextUniform() - 0.5;
    Orthonormalise(basis, k, d);
    double* projected = Room(&projected_, k * t);
    for (int round = 0; round < kRounds; ++round) {
      Multiply(x, t, d, k);
      Orthonormalise(projected, k, t);
      MultiplyBack(x, t, d, k);
      Orthonormalise(basis, k, d);
    }
    Multiply(x, t, d, k);
    Align(t, d, k);
  }

  // projected_ = (X V)^T for V = basis_^T. Sums in fp32 over transposed copies, so that the inner
  // loop runs along the directions.
  void Multiply(const float* x, size_t t, size_t d, size_t k) {
    float* thin = Room(&thin_, d * k);
    for (size_t i = 0; i < k; ++i)
      for (size_t c = 0; c < d; ++c) thin[c * k + i] = static_cast<float>(basis_[i * d + c]);
    float* sums = Room(&sums_, k);
    for (size_t r = 0; r < t; ++r) {
      std::fill(sums, sums + k, 0.0f);
      for (size_t c = 0; c < d; ++c) AddScaled(thin + c * k, k, x[r * d + c], sums);
      for (size_t i = 0; i < k; ++i) projected_[i * t + r] = sums[i];
    }
  }
  // basis_ = projected_ X.
  void MultiplyBack(const float* x, size_t t, size_t d, size_t k) {
    float* thin = Room(&thin_, d * k);
    std::fill(thin, thin + d * k, 0.0f);
    float* row = Room(&sums_, k);
    for (size_t r = 0; r < t; ++r) {
      for (size_t i = 0; i < k; ++i) row[i] = static_cast<float>(projected_[i * t + r]);
      for (size_t c = 0; c < d; ++c) AddScaled(row, k, x[r * d + c], thin + c * k);
    }
    for (size_t i = 0; i < k; ++i)
      for (size_t c = 0; c < d; ++c) basis_[i * d + c] = thin[c * k + i];
  }
  static void AddScaled(const float* __restrict v, size_t n, float factor, float* __restrict sum) {
    for (size_t i = 0; i < n; ++i) sum[i] += factor * v[i];
  }

  // Turns the basis so that the columns of P are orthogonal: then every one has a range of its own.
  void Align(size_t t, size_t d, size_t k) {
    gram_.assign(k * k, 0.0);
    for (size_t i = 0; i < k; ++i)
      for (size_t j = 0; j < k; ++j)
        for (size_t r = 0; r < t; ++r)
          gram_[i * k + j] += projected_[i * t + r] * projected_[j * t + r];
    eigen_.Solve(k, &gram_, &turn_, &values_);
    turned_.assign(k * d, 0.0);
    for (size_t i = 0; i < k; ++i)
      for (size_t j = 0; j < k; ++j)
        for (size_t c = 0; c < d; ++c) turned_[i * d + c] += turn_[i * k + j] * basis_[j * d + c];
    std::copy(turned_.begin(), turned_.end(), basis_.begin());
  }

  void Project(const float* x, size_t t, size_t d, size_t k) {
    Multiply(x, t, d, k);
    float* p = Room(&p_, k * t);
    for (size_t i = 0; i < k * t; ++i) p[i] = static_cast<float>(projected_[i]);
    float* v = Room(&v_, k * d);
    for (size_t i = 0; i < k * d; ++i) v[i] = static_cast<float>(basis_[i]);
  }

  int64_t EncodeFactor(const float* rows, size_t k, size_t n, Bytes* out) {
    coder_.SetWidth(n);
    const size_t at = out->size();
    out->resize(at + coder_.Bytes(k));
    coder_.Encode(rows, k, nullptr, 0, out->data() + at);
    return static_cast<int64_t>(coder_.CodeBytes(k));
  }
  absl::Status DecodeFactor(ByteReader* in, size_t k, size_t n, float* rows) {
    coder_.SetWidth(n);
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, in->GetBytes(coder_.Bytes(k)));
    if (coder_.Decode(bytes.data(), k, rows)) return absl::OkStatus();
    return CorruptPart("lowrank", "factors of finite scale", "others");
  }

  LowRankOptions options_;
  uint64_t seed_;
  MatrixCoder coder_;
  std::vector<double> basis_, projected_;
  SymmetricEigen eigen_;
  std::vector<double> gram_, turn_, values_, turned_;
  std::vector<float> p_, v_, thin_, sums_;
};

class LowRankSpec final : public PartSpec {
 public:
  explicit LowRankSpec(const LowRankOptions& options) : options_(options) {}
  std::string canonical() const override {
    return absl::StrCat("lowrank(rank=", options_.rank, ",bits=", options_.bits, ")");
  }
  PartTraits traits() const override { return {.needs_store = true}; }
  std::unique_ptr<ValueFormat> MakeFormat(const EdgeShape& shape) const override {
    return std::make_unique<LowRankFormat>(options_, shape);
  }

 private:
  LowRankOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeLowRankPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"rank", "bits"}));
  LowRankOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.rank, arguments.Int("rank", 1, 1024, 32));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t bits, arguments.Int("bits", 1, 8, 4));
  options.bits = static_cast<int>(bits);
  return std::make_shared<LowRankSpec>(options);
}

}  // namespace isthmus
