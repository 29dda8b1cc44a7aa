// int(bits, group, n, round, range, sym | asym, t=, keep=) as the format of a composition
// (int_options.h, docs/numerics.md). group=token and group=tile work in blocks of rows and take
// widths from a policy; tiles may span `t` tokens.
#include <algorithm>
#include <memory>

#include "compression/frame_check.h"
#include "compression/int_options.h"
#include "compression/int_running.h"
#include "compression/matrix_coder.h"
#include "compression/part_table.h"
#include "compression/tile_coder.h"

namespace isthmus {
namespace {

class IntFormat final : public ValueFormat {
 public:
  explicit IntFormat(const IntOptions& options)
      : options_(options), matrix_(options.matrix, 1), tiles_(options.matrix.format) {}

  // An entropy coder's table pays for itself once a frame, not once a block.
  bool ByRow() const override {
    if (entropy_) return false;
    return options_.matrix.group == Group::kToken || options_.matrix.group == Group::kTile;
  }
  TileGrid Grid(size_t width) const override {
    if (options_.matrix.group != Group::kTile) return {1, width};
    return {static_cast<size_t>(options_.tile_tokens),
            std::min(static_cast<size_t>(options_.matrix.tile), width)};
  }
  int Bits() const override { return options_.matrix.format.bits; }
  void UseEntropyCoder() override {
    entropy_ = true;
    tiles_.UseEntropyCoder();
  }

  int64_t Encode(const PartFrame& frame, RowBlock rows, const float* x, const uint8_t* widths,
                 RowNoise* noise, Bytes* out) override {
    if (InTiles(widths)) {
      return tiles_.Encode(Tiled(rows, frame.width, widths), x, noise, rows.first, out);
    }
    matrix_.SetWidth(frame.width);
    const size_t at = out->size();
    out->resize(at + matrix_.Bytes(rows.count));
    if (!matrix_.Encode(x, rows.count, noise, static_cast<int64_t>(rows.first), out->data() + at))
      return -1;
    return static_cast<int64_t>(matrix_.CodeBytes(rows.count));
  }

  absl::Status Decode(const PartFrame& frame, RowBlock rows, const uint8_t* widths, ByteReader* in,
                      float* x) override {
    bool good;
    if (InTiles(widths)) {
      good = tiles_.Decode(Tiled(rows, frame.width, widths), in, x);
    } else {
      matrix_.SetWidth(frame.width);
      ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes,
                               in->GetBytes(matrix_.Bytes(rows.count)));
      good = matrix_.Decode(bytes.data(), rows.count, x);
    }
    return good ? absl::OkStatus() : CorruptPart("int", "groups of finite scale", "others");
  }

 private:
  bool InTiles(const uint8_t* widths) const {
    return entropy_ || widths != nullptr || options_.tile_tokens > 1;
  }
  TiledRows Tiled(RowBlock rows, size_t width, const uint8_t* widths) const {
    switch (options_.matrix.group) {
      case Group::kTensor:
        return {{rows.count, width}, rows.count, width, nullptr};
      case Group::kChannel:
        return {{rows.count, 1}, rows.count, width, nullptr};
      default:
        return {Grid(width), rows.count, width, widths};
    }
  }

  IntOptions options_;
  MatrixCoder matrix_;
  TileCoder tiles_;
  bool entropy_ = false;
};

class IntSpec final : public PartSpec {
 public:
  explicit IntSpec(const IntOptions& options) : options_(options) {}
  std::string canonical() const override { return CanonicalInt(options_); }
  PartTraits traits() const override {
    const Group group = options_.matrix.group;
    return {.takes_policy = group == Group::kToken || group == Group::kTile,
            .takes_entropy = true,
            .has_table = options_.running};
  }
  Rounding rounding() const override { return options_.rounding; }
  std::unique_ptr<ValueFormat> MakeFormat(const EdgeShape& shape) const override {
    if (options_.running) return MakeRunningInt(options_, shape);
    return std::make_unique<IntFormat>(options_);
  }
  int64_t StateBytesFor(const EdgeShape& shape) const override {
    return options_.running ? RunningIntStateBytes(options_, shape) : 0;
  }

 private:
  IntOptions options_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakeIntPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const IntOptions options, ReadIntOptions(part));
  return std::make_shared<IntSpec>(options);
}

}  // namespace isthmus
