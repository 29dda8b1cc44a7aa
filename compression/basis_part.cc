// basis(block, every): turns each block of neighbouring channels into the eigenvectors of its
// second moments in the frame that fitted the table (the Karhunen-Loeve transform): energy gathers
// in the first coefficients, uncorrelated ones. The sender learns the basis and sends it; nobody
// derives it.
//
// Table: the rows of every block's basis in fp16, block x block values each; 2 * block bytes a
// channel, so `every` steps between two tables is what keeps it cheap. Rounding to fp16 leaves it
// orthonormal to 2^-11: 66 dB. 2 * block operations a value: for narrow blocks.
#include <algorithm>
#include <cstring>
#include <memory>

#include "compression/eigen.h"
#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/shared_table.h"

namespace isthmus {
namespace {

struct BasisOptions {
  size_t block = 16;
  uint64_t every = 0;
};

size_t TableValues(size_t width, size_t block) {
  const size_t rest = width % block;
  return width / block * block * block + rest * rest;
}

class BasisTransform final : public WithTable<Transform> {
 public:
  BasisTransform(const BasisOptions& options, const EdgeShape& shape)
      : WithTable(2 * TableValues(static_cast<size_t>(shape.width), options.block), options.every),
        options_(options) {}

  bool ByRow() const override { return false; }

  void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) override {
    const Bytes& table = table_.Send(
        frame.step, frame.training, [&](Bytes* fitted) { Fit(x, rows.count, frame.width, fitted); },
        side);
    Load(table);
    Turn(rows.count, frame.width, x, [](const float* basis, size_t n, const float* in, float* out) {
      for (size_t k = 0; k < n; ++k) {
        float sum = 0.0f;
        for (size_t c = 0; c < n; ++c) sum += basis[k * n + c] * in[c];
        out[k] = sum;
      }
    });
  }

  absl::Status Read(const PartFrame& frame, RowBlock, ByteReader* side) override {
    const Bytes* table = nullptr;
    ISTHMUS_RETURN_IF_ERROR(table_.Receive(frame.step, side, &table));
    Load(*table);
    for (const float v : basis_) {
      if (!(v >= -1.01f && v <= 1.01f))
        return CorruptPart("basis", "an orthonormal basis", "values beyond 1");
    }
    return absl::OkStatus();
  }

  // Sums over the basis rows from first to last, at every machine.
  void Inverse(const PartFrame& frame, RowBlock rows, float* x) override {
    Turn(rows.count, frame.width, x, [](const float* basis, size_t n, const float* in, float* out) {
      std::fill(out, out + n, 0.0f);
      for (size_t k = 0; k < n; ++k)
        for (size_t c = 0; c < n; ++c) out[c] += basis[k * n + c] * in[k];
    });
  }

 private:
  template <typename Block>
  void ForBlocks(size_t width, const Block& block) const {
    size_t at = 0;
    for (size_t begin = 0; begin < width; begin += options_.block) {
      const size_t n = std::min(options_.block, width - begin);
      block(begin, n, at);
      at += n * n;
    }
  }

  template <typename Product>
  void Turn(size_t rows, size_t width, float* x, const Product& product) {
    float* turned = Room(&turned_, options_.block);
    for (size_t r = 0; r < rows; ++r, x += width) {
      ForBlocks(width, [&](size_t begin, size_t n, size_t at) {
        product(basis_.data() + at, n, x + begin, turned);
        std::memcpy(x + begin, turned, n * sizeof(float));
      });
    }
  }

  void Fit(const float* x, size_t rows, size_t width, Bytes* table) {
    const size_t entries = table->size() / 2;
    float* basis = Room(&fitted_, entries);
    ForBlocks(width, [&](size_t begin, size_t n, size_t at) {
      moments_.assign(n * n, 0.0);
      for (size_t r = 0; r < rows; ++r) {
        const float* row = x + r * width + begin;
        for (size_t i = 0; i < n; ++i)
          for (size_t j = 0; j < n; ++j)
            moments_[i * n + j] += static_cast<double>(row[i]) * row[j];
      }
      eigen_.Solve(n, &moments_, &vectors_, &values_);
      for (size_t i = 0; i < n * n; ++i) basis[at + i] = static_cast<float>(vectors_[i]);
    });
    HalfFromFloats(basis, entries, 1.0f, Room(&halves_, entries));
    std::memcpy(table->data(), halves_.data(), table->size());
  }

  void Load(const Bytes& table) {
    const size_t n = table.size() / 2;
    std::memcpy(Room(&halves_, n), table.data(), table.size());
    basis_.resize(n);
    FloatsFromHalf(halves_.data(), n, 1.0f, basis_.data());
  }

  BasisOptions options_;
  std::vector<uint16_t> halves_;
  std::vector<float> basis_, turned_, fitted_;
  SymmetricEigen eigen_;
  std::vector<double> moments_, vectors_, values_;
};

class BasisSpec final : public PartSpec {
 public:
  explicit BasisSpec(const BasisOptions& options) : options_(options) {}
  std::string canonical() const override {
    return absl::StrCat("basis(block=", options_.block, ",every=", options_.every, ")");
  }
  PartTraits traits() const override { return {.mixes_channels = true, .has_table = true}; }
  std::unique_ptr<Transform> MakeTransform(const EdgeShape& shape) const override {
    return std::make_unique<BasisTransform>(options_, shape);
  }
  int64_t StateBytesFor(const EdgeShape& shape) const override {
    return SharedTable::StateBytesFor(
        2 * TableValues(static_cast<size_t>(shape.width), options_.block));
  }

 private:
  BasisOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeBasisPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments,
                           SpecArguments::Bind(part, {"block", "every"}));
  BasisOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t block, arguments.Int("block", 2, 256, 16));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t every, arguments.Int("every", 0, 1 << 30, 0));
  options.block = static_cast<size_t>(block);
  options.every = static_cast<uint64_t>(every);
  return std::make_shared<BasisSpec>(options);
}

}  // namespace isthmus
