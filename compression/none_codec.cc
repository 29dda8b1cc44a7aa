// none: fp32, little-endian, row by row. The identity, bit for bit.
#include <cstring>
#include <memory>
#include <string>

#include "compression/codec_table.h"
#include "compression/kernels.h"
#include "compression/stateless.h"

namespace isthmus {
namespace {

// Values checked and then copied while they are in the first-level cache.
constexpr size_t kChunk = 4096;

class NoneEncoder final : public Stateless<Encoder> {
 public:
  explicit NoneEncoder(const EdgeShape& shape) : shape_(shape) {}

  absl::StatusOr<EncodedSize> Encode(absl::Span<const float> x_TD, const FrameContext& context,
                                     Bytes* out) override {
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, x_TD.size()).status());
    const size_t start = out->size();
    out->reserve(start + x_TD.size() * sizeof(float));
    for (size_t at = 0; at < x_TD.size(); at += kChunk) {
      const absl::Span<const float> chunk = x_TD.subspan(at, kChunk);
      if (ScanExtent(chunk.data(), chunk.size()).magnitude > kLargestMagnitude) {
        out->resize(start);
        return NonFiniteError(shape_, context, x_TD);
      }
      const auto* bytes = reinterpret_cast<const uint8_t*>(chunk.data());
      out->insert(out->end(), bytes, bytes + chunk.size() * sizeof(float));
    }
    EncodedSize size;
    size.payload_bytes = static_cast<int64_t>(x_TD.size() * sizeof(float));
    return size;
  }

 private:
  EdgeShape shape_;
};

class NoneDecoder final : public Stateless<Decoder> {
 public:
  explicit NoneDecoder(const EdgeShape& shape) : shape_(shape) {}

  absl::Status Decode(absl::Span<const uint8_t> bytes, const FrameContext& context,
                      absl::Span<float> out_TD) override {
    ISTHMUS_RETURN_IF_ERROR(CheckFrame(shape_, context, out_TD.size()).status());
    if (bytes.size() != out_TD.size() * sizeof(float)) {
      return CorruptFrame(shape_, context, absl::StrCat(out_TD.size() * sizeof(float), " bytes"),
                          absl::StrCat(bytes.size()));
    }
    if (!bytes.empty()) std::memcpy(out_TD.data(), bytes.data(), bytes.size());
    if (ScanExtent(out_TD.data(), out_TD.size()).magnitude > kLargestMagnitude) {
      return NonFiniteError(shape_, context, out_TD);
    }
    return absl::OkStatus();
  }

 private:
  EdgeShape shape_;
};

class NoneCodec final : public Codec {
 public:
  std::string text() const override { return "none"; }
  std::string canonical() const override { return "none"; }
  absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
    return std::make_unique<NoneEncoder>(shape);
  }
  absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(const EdgeShape& shape) const override {
    ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
    return std::make_unique<NoneDecoder>(shape);
  }
  StateSize StateSizeFor(const EdgeShape&) const override { return {}; }
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Codec>> MakeNoneCodec(const SpecPart& part,
                                                           const std::string&) {
  ISTHMUS_RETURN_IF_ERROR(SpecArguments::Bind(part, {}).status());
  return std::make_shared<NoneCodec>();
}

}  // namespace isthmus
