// Keys and values of one generated sequence in one block of the model: fp32, or 8 or 4 bits in the
// layout of kernels/kv_cache.h, which attention reads as it lies there.
#ifndef ISTHMUS_ENGINE_EDGE_KV_CACHE_H_
#define ISTHMUS_ENGINE_EDGE_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/edge/memory.h"
#include "kernels/attention.h"
#include "kernels/kv_attention.h"
#include "model/config.h"

namespace isthmus::edge {

enum class KvFormat : uint8_t { kFp32, kInt8, kInt4 };

// "fp32", "int8", "int4", "": fp32. kInvalidArgument for another word.
absl::StatusOr<KvFormat> ParseKvFormat(const std::string& text);

class KvCache {
 public:
  KvCache(const ModelConfig& config, KvFormat format);

  // Room for so many positions, of which the first `kept` keep what they have.
  absl::Status Grow(int64_t positions, int64_t kept, const std::shared_ptr<MemoryAccount>& account);
  // One position; k and v [kv heads * head_dim], k rotated.
  void Store(int64_t position, const float* k, const float* v);
  // One key/value head against its queries; scratch as ScratchFloats says.
  void Attend(const kernels::AttentionHead& head, int64_t kv_head, kernels::HeadRows q,
              kernels::MutableHeadRows out, float* scratch) const;
  static int64_t ScratchFloats(const kernels::AttentionHead& head);

 private:
  int64_t Bytes(int64_t positions) const;  // of `codes_`, or of keys and of values
  int64_t width() const { return layout_.heads * layout_.head_dim; }

  const KvFormat format_;
  const kernels::KvLayout layout_;
  Buffer keys_, values_;  // kFp32: [positions, width] each
  Buffer codes_;          // else
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_KV_CACHE_H_
