// int(bits, group, n, round, range, sym | asym), and its presets int8 and int4: a frame is one
// MatrixCoder matrix.
#include <memory>
#include <string>
#include <utility>

#include "compression/codec_table.h"
#include "compression/composition.h"
#include "compression/int_options.h"
#include "compression/matrix_coder.h"
#include "compression/stateless.h"

namespace isthmus {
namespace {

class IntEncoder final : public Stateless<Encoder> {
 public:
  IntEncoder(const IntOptions& options, const EdgeShape& shape)
      : shape_(shape),
        coder_(options.matrix, shape.width),
        noise_(shape),
        stochastic_(options.rounding == Rounding::kStochastic ||
                    (options.rounding == Rounding::kByDirection &&
                     shape.direction == Direction::kBackward)) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, x_TD.size()));
    const size_t start = out->size(), tokens = static_cast<size_t>(rows);
    out->resize(start + coder_.Bytes(tokens));
    if (stochastic_) noise_.Begin(context.step, context.samples);
    if (!coder_.Encode(x_TD.data(), tokens, stochastic_ ? &noise_ : nullptr, 0,
                       out->data() + start)) {
      out->resize(start);
      return NonFiniteError(shape_, context, x_TD);
    }
    EncodedSize size;
    size.payload_bytes = static_cast<int64_t>(coder_.CodeBytes(tokens));
    size.side_bytes = static_cast<int64_t>(coder_.ParameterBytes(tokens));
    return size;
  }

 private:
  EdgeShape shape_;
  MatrixCoder coder_;
  RowNoise noise_;
  bool stochastic_;
};

class IntDecoder final : public Stateless<Decoder> {
 public:
  IntDecoder(const IntOptions& options, const EdgeShape& shape)
      : shape_(shape), coder_(options.matrix, shape.width) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t rows, CheckFrame(shape_, context, out_TD.size()));
    const size_t wanted = coder_.Bytes(static_cast<size_t>(rows));
    if (bytes.size() != wanted) {
      return CorruptFrame(shape_, context, absl::StrCat(wanted, " bytes"),
                          absl::StrCat(bytes.size()));
    }
    if (coder_.Decode(bytes.data(), static_cast<size_t>(rows), out_TD.data()))
      return absl::OkStatus();
    return CorruptFrame(shape_, context, "finite scales", "others");
  }

 private:
  EdgeShape shape_;
  MatrixCoder coder_;
};

class IntCodec final : public Codec {
 public:
  IntCodec(std::string text, const IntOptions& options)
      : text_(std::move(text)), options_(options) {}

  std::string text() const override { return text_; }
  std::string canonical() const override { return CanonicalInt(options_); }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
    return std::make_unique<IntEncoder>(options_, shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
    return std::make_unique<IntDecoder>(options_, shape);
  }
  StateSize StateSizeFor(const EdgeShape&) const override { return {}; }

 private:
  std::string text_;
  IntOptions options_;
};

absl::StatusOr<std::shared_ptr<const Codec>> MakePreset(const SpecPart& part,
                                                        const std::string& text, int bits,
                                                        Group group, bool symmetric) {
  ISTHMUS_RETURN_IF_ERROR(SpecArguments::Bind(part, {}).status());
  IntOptions options;
  options.matrix.format.bits = bits;
  options.matrix.format.symmetric = symmetric;
  options.matrix.group = group;
  return std::make_shared<IntCodec>(text, options);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Codec>> MakeIntCodec(const SpecPart& part,
                                                          const std::string& text) {
  ISTHMUS_ASSIGN_OR_RETURN(const IntOptions options, ReadIntOptions(part));
  // Tiles of several tokens and ranges over frames are the composition's.
  if (options.tile_tokens > 1 || options.running)
    return ParseComposedCodec(text, CanonicalInt(options));
  return std::make_shared<IntCodec>(text, options);
}

absl::StatusOr<std::shared_ptr<const Codec>> MakeInt8Codec(const SpecPart& part,
                                                           const std::string& text) {
  return MakePreset(part, text, 8, Group::kToken, true);
}

absl::StatusOr<std::shared_ptr<const Codec>> MakeInt4Codec(const SpecPart& part,
                                                           const std::string& text) {
  return MakePreset(part, text, 4, Group::kTile, false);
}

}  // namespace isthmus
