// Legend: B samples, T longest, H query heads, K kv heads, G = H / K query heads per kv head, C
// head_dim, N packed tokens.
#include "engine/torch/attention.h"

#include <algorithm>
#include <cmath>

#include "engine/torch/functions.h"

namespace isthmus {
namespace {

// [N, heads * C] -> [N, heads, C], rotated where the model has rotary positions.
at::Tensor Positioned(const ModelConfig& config, const BatchLayout& layout, const at::Tensor& x) {
  const at::Tensor heads = x.view({x.size(0), -1, config.head_dim});
  return config.positions == Positions::kRope ? Rotate(heads, layout.cos, layout.sin) : heads;
}

// Packed rows into the rectangle [B * T, ...]; zero where a sample has ended.
at::Tensor Spread(const BatchLayout& layout, const at::Tensor& x) {
  if (!layout.ragged) return x;
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = layout.samples * layout.longest;
  return at::index_copy(at::zeros(shape, x.options()), 0, layout.rows, x);
}

// Query heads of one kv head share its keys: they are rows of one matrix, so keys and values are
// never repeated. queries [B * K, G * T, C], keys and values [B * K, S, C] -> [B * K, G * T, C].
at::Tensor Mix(const ModelConfig& config, const at::Tensor& mask, const at::Tensor& queries,
               const at::Tensor& keys, const at::Tensor& values) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  const at::Tensor scores =
      at::baddbmm(mask, queries, keys.transpose(1, 2), /*beta=*/1, /*alpha=*/scale);
  return at::bmm(at::softmax(scores, -1), values);
}

// Room for `wanted` positions, keeping the first `past`.
void Grow(at::Tensor* cache, const at::Tensor& like_KNC, int64_t past, int64_t wanted) {
  const int64_t have = cache->defined() ? cache->size(1) : 0;
  if (wanted <= have) return;
  at::Tensor grown =
      at::empty({like_KNC.size(0), std::max<int64_t>({wanted, 2 * have, 64}), like_KNC.size(2)},
                like_KNC.options());
  if (past > 0) grown.narrow(1, 0, past).copy_(cache->narrow(1, 0, past));
  *cache = std::move(grown);
}

// Appends [N, K, C] behind `past` positions and returns all of them, [K, past + N, C].
at::Tensor Append(at::Tensor* cache, const at::Tensor& x_NKC, int64_t past) {
  const at::Tensor x_KNC = x_NKC.transpose(0, 1);
  const int64_t fresh = x_NKC.size(0);
  Grow(cache, x_KNC, past, past + fresh);
  cache->narrow(1, past, fresh).copy_(x_KNC);
  return cache->narrow(1, 0, past + fresh);
}

}  // namespace

at::Tensor Attend(const ModelConfig& config, const BatchLayout& layout, const at::Tensor& q,
                  const at::Tensor& k, const at::Tensor& v) {
  const int64_t b = layout.samples, t = layout.longest, heads = config.num_kv_heads;
  const int64_t groups = config.num_heads / heads, c = config.head_dim;
  const auto by_kv_head = [&](const at::Tensor& x) {
    return Spread(layout, x).view({b, t, heads, c}).transpose(1, 2).reshape({b * heads, t, c});
  };
  const at::Tensor queries = Spread(layout, Positioned(config, layout, q))
                                 .view({b, t, heads, groups, c})
                                 .permute({0, 2, 3, 1, 4})
                                 .reshape({b * heads, groups * t, c});
  const at::Tensor keys = by_kv_head(Positioned(config, layout, k));
  const at::Tensor values = by_kv_head(v.view({v.size(0), heads, c}));
  const at::Tensor mixed = Mix(config, layout.mask, queries, keys, values);
  const at::Tensor out = mixed.view({b, heads, groups, t, c})
                             .permute({0, 3, 1, 2, 4})
                             .reshape({b * t, config.num_heads * c});
  return layout.ragged ? at::index_select(out, 0, layout.rows) : out;
}

at::Tensor AttendCached(const ModelConfig& config, const BatchLayout& layout, int64_t past,
                        const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        KvCache* cache) {
  const int64_t n = q.size(0), heads = config.num_kv_heads, c = config.head_dim;
  const int64_t groups = config.num_heads / heads;
  const at::Tensor keys = Append(&cache->keys, Positioned(config, layout, k), past);
  const at::Tensor values = Append(&cache->values, v.view({n, heads, c}), past);
  const at::Tensor queries = Positioned(config, layout, q)
                                 .view({n, heads, groups, c})
                                 .permute({1, 2, 0, 3})
                                 .reshape({heads, groups * n, c});
  return Mix(config, layout.mask, queries, keys, values)
      .view({heads, groups, n, c})
      .permute({2, 0, 1, 3})
      .reshape({n, config.num_heads * c});
}

}  // namespace isthmus
