#include "pipeline/state_transfer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr int64_t kChunkBytes = int64_t{4} << 20;
constexpr int64_t kMaxTensorBytes = int64_t{1} << 40;
constexpr absl::string_view kOptimizerPrefix = "optimizer/";

absl::StatusOr<int64_t> CheckedBytes(const v1::TensorChunk& chunk, DType dtype, int64_t limit) {
  int64_t bytes = SizeOf(dtype);
  if (chunk.shape_size() > 8)
    return InvalidArgument("tensor: expected at most 8 dimensions, got ", chunk.shape_size());
  for (const int64_t d : chunk.shape()) {
    if (d < 0 || __builtin_mul_overflow(bytes, d, &bytes) || bytes > limit)
      return InvalidArgument("tensor: expected at most ", limit, " bytes, got more (", chunk.name(),
                             ")");
  }
  return bytes;
}

void Describe(const TensorHeader& header, v1::TensorChunk* chunk) {
  chunk->set_name(header.name);
  chunk->set_dtype(std::string(Name(header.dtype)));
  for (const int64_t d : header.shape) chunk->add_shape(d);
}

}  // namespace

absl::StatusOr<DType> ParseDType(absl::string_view name) {
  for (const DType dtype :
       {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kI64, DType::kU8, DType::kF64})
    if (name == Name(dtype)) return dtype;
  return InvalidArgument("dtype: expected F32, F16, BF16, I32, I64, U8 or F64, got ", name);
}

absl::Status SendTensor(PeerLinks* links, uint32_t party, const NamedTensor& tensor) {
  const auto bytes = tensor.tensor.bytes();
  int64_t offset = 0;
  do {
    v1::Packet packet;
    v1::TensorChunk* chunk = packet.mutable_tensor_chunk();
    Describe({tensor.name, tensor.tensor.dtype(), tensor.tensor.shape()}, chunk);
    chunk->set_offset(offset);
    const int64_t n = std::min(kChunkBytes, static_cast<int64_t>(bytes.size()) - offset);
    chunk->set_data(bytes.data() + offset, static_cast<size_t>(n));
    ISTHMUS_RETURN_IF_ERROR(links->SendPacket(party, packet));
    offset += n;
  } while (offset < static_cast<int64_t>(bytes.size()));
  return absl::OkStatus();
}

absl::Status SendTensorHeader(PeerLinks* links, uint32_t party, const TensorHeader& header) {
  v1::Packet packet;
  Describe(header, packet.mutable_tensor_chunk());
  return links->SendPacket(party, packet);
}

absl::StatusOr<TensorHeader> HeaderOf(const v1::TensorChunk& chunk) {
  ISTHMUS_ASSIGN_OR_RETURN(const DType dtype, ParseDType(chunk.dtype()));
  ISTHMUS_RETURN_IF_ERROR(CheckedBytes(chunk, dtype, kMaxTensorBytes).status());
  return TensorHeader{chunk.name(), dtype, Shape(chunk.shape().begin(), chunk.shape().end())};
}

absl::Status TensorAssembly::Add(const v1::TensorChunk& chunk) {
  if (!chunk.error().empty()) return NotFound(chunk.error());
  if (pending_bytes_ == 0) {
    ISTHMUS_ASSIGN_OR_RETURN(const DType dtype, ParseDType(chunk.dtype()));
    ISTHMUS_ASSIGN_OR_RETURN(const int64_t bytes,
                             CheckedBytes(chunk, dtype, max_bytes_ - total_bytes_));
    tensors_.push_back(
        {chunk.name(), Tensor(dtype, Shape(chunk.shape().begin(), chunk.shape().end()))});
    pending_bytes_ = bytes;
    total_bytes_ += bytes;
  }
  NamedTensor& last = tensors_.back();
  const int64_t done = last.tensor.num_bytes() - pending_bytes_;
  const int64_t size = static_cast<int64_t>(chunk.data().size());
  if (chunk.name() != last.name || chunk.offset() != done || size > pending_bytes_ ||
      (size == 0 && pending_bytes_ > 0))
    return InvalidArgument("tensor: expected ", last.name, " from byte ", done, ", got ", size,
                           " bytes of ", chunk.name(), " from ", chunk.offset());
  std::memcpy(static_cast<uint8_t*>(last.tensor.mutable_data()) + done, chunk.data().data(),
              chunk.data().size());
  pending_bytes_ -= size;
  return absl::OkStatus();
}

std::vector<NamedTensor> TensorAssembly::Take() {
  ISTHMUS_CHECK(complete());
  total_bytes_ = 0;
  return std::exchange(tensors_, {});
}

std::string StateName::Wire() const {
  return optimizer ? absl::StrCat(kOptimizerPrefix, name) : name;
}

StateName StateName::Parse(absl::string_view wire) {
  const bool optimizer = absl::ConsumePrefix(&wire, kOptimizerPrefix);
  return {optimizer, std::string(wire)};
}

}  // namespace isthmus
