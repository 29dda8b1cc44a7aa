// basis(block, every): turns each block of neighbouring channels into the eigenvectors of its
// second moments in the frame that fitted the table (the Karhunen-Loeve transform): energy gathers
// in the first coefficients, uncorrelated ones. The sender learns the basis and sends it; nobody
// derives it.
//
// Table: block_basis.h; `every` steps between two tables is what keeps it cheap.
#include <cstring>
#include <memory>

#include "base/check.h"
#include "compression/block_basis.h"
#include "compression/part_table.h"
#include "compression/scratch.h"
#include "compression/shared_table.h"

namespace isthmus {
namespace {

struct BasisOptions {
  size_t block = 16;
  uint64_t every = 0;
};

class BasisTransform final : public WithTable<Transform> {
 public:
  BasisTransform(const BasisOptions& options, const EdgeShape& shape)
      : WithTable(2 * BlockBasis::Entries(static_cast<size_t>(shape.width), options.block),
                  options.every),
        basis_(static_cast<size_t>(shape.width), options.block) {}

  bool ByRow() const override { return false; }

  void Forward(const PartFrame& frame, RowBlock rows, float* x, Bytes* side) override {
    const Bytes& table = table_.Send(
        frame.step, frame.training, [&](Bytes* fitted) { Fit(x, rows.count, frame.width, fitted); },
        side);
    ISTHMUS_CHECK(basis_.Load(table));
    float* turned = Room(&turned_, frame.width);
    for (size_t r = 0; r < rows.count; ++r, x += frame.width) {
      basis_.Forward(x, turned);
      std::memcpy(x, turned, frame.width * sizeof(float));
    }
  }

  absl::Status Read(const PartFrame& frame, RowBlock, ByteReader* side) override {
    const Bytes* table = nullptr;
    ISTHMUS_RETURN_IF_ERROR(table_.Receive(frame.step, side, &table));
    if (basis_.Load(*table)) return absl::OkStatus();
    return CorruptPart("basis", "an orthonormal basis", "values beyond 1");
  }

  void Inverse(const PartFrame& frame, RowBlock rows, float* x) override {
    float* turned = Room(&turned_, frame.width);
    for (size_t r = 0; r < rows.count; ++r, x += frame.width) {
      basis_.Inverse(x, turned);
      std::memcpy(x, turned, frame.width * sizeof(float));
    }
  }

 private:
  void Fit(const float* x, size_t rows, size_t width, Bytes* table) {
    moments_.assign(basis_.entries(), 0.0);
    for (size_t r = 0; r < rows; ++r) basis_.AddMoments(x + r * width, moments_.data());
    basis_.Fit(moments_.data(), table);
  }

  BlockBasis basis_;
  std::vector<double> moments_;
  std::vector<float> turned_;
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
        2 * BlockBasis::Entries(static_cast<size_t>(shape.width), options_.block));
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
