#include "engine/edge/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"

namespace isthmus::edge {

absl::StatusOr<KvFormat> ParseKvFormat(const std::string& text) {
  if (text.empty() || text == "fp32") return KvFormat::kFp32;
  if (text == "int8") return KvFormat::kInt8;
  if (text == "int4") return KvFormat::kInt4;
  return InvalidArgument("--kv-cache: expected fp32, int8 or int4, got ", text);
}

KvCache::KvCache(const ModelConfig& config, KvFormat format)
    : format_(format),
      layout_{config.num_kv_heads, config.head_dim, format == KvFormat::kInt4 ? 4 : 8} {}

int64_t KvCache::Bytes(int64_t positions) const {
  return format_ == KvFormat::kFp32 ? positions * width() * int64_t{sizeof(float)}
                                    : layout_.bytes(positions);
}

absl::Status KvCache::Grow(int64_t positions, int64_t kept,
                           const std::shared_ptr<MemoryAccount>& account) {
  const auto grow = [&](Buffer* buffer) -> absl::Status {
    Buffer grown;
    ISTHMUS_RETURN_IF_ERROR(grown.Reserve(Bytes(positions), account));
    if (kept > 0) std::memcpy(grown.data(), buffer->data(), static_cast<size_t>(Bytes(kept)));
    *buffer = std::move(grown);
    return absl::OkStatus();
  };
  if (format_ != KvFormat::kFp32) return grow(&codes_);
  ISTHMUS_RETURN_IF_ERROR(grow(&keys_));
  return grow(&values_);
}

void KvCache::Store(int64_t position, const float* k, const float* v) {
  if (format_ != KvFormat::kFp32) return kernels::StoreKv(layout_, position, k, v, codes_.data());
  const size_t bytes = static_cast<size_t>(width()) * sizeof(float);
  std::memcpy(keys_.floats() + position * width(), k, bytes);
  std::memcpy(values_.floats() + position * width(), v, bytes);
}

void KvCache::Attend(const kernels::AttentionHead& head, int64_t kv_head, kernels::HeadRows q,
                     kernels::MutableHeadRows out, float* scratch) const {
  if (format_ != KvFormat::kFp32) {
    return kernels::AttendCachedHead(head, {layout_, codes_.data(), kv_head}, q, out, scratch);
  }
  const int64_t column = kv_head * layout_.head_dim;
  kernels::AttendHead(head, q, {keys_.floats() + column, width()},
                      {values_.floats() + column, width()}, out, nullptr, scratch);
}

int64_t KvCache::ScratchFloats(const kernels::AttentionHead& head) {
  return std::max(kernels::AttentionScratchFloats(head),
                  kernels::CachedAttentionScratchFloats(head));
}

}  // namespace isthmus::edge
