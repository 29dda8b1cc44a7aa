#include "client/model_order.h"

#include <charconv>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace isthmus {
namespace {

bool IsEmbedding(absl::string_view name) {
  return absl::StrContains(name, "embed_tokens.") || absl::StrContains(name, "wte.") ||
         absl::StrContains(name, "wpe.");
}

}  // namespace

int64_t LayerOfName(const ModelConfig& config, absl::string_view name) {
  // "model.layers.0." without its number and the dot behind it.
  const std::string first = BlockPrefix(config, 0);
  const absl::string_view stem = absl::string_view(first).substr(0, first.size() - 2);
  if (const size_t at = name.find(stem); at != absl::string_view::npos) {
    int64_t layer = 0;
    const absl::string_view rest = name.substr(at + stem.size());
    if (std::from_chars(rest.data(), rest.data() + rest.size(), layer).ec == std::errc())
      return layer;
  }
  return IsEmbedding(name) ? -1 : config.num_layers;
}

bool BelongsTo(const ModelConfig& config, absl::string_view name,
               absl::Span<const LayerRange> ranges) {
  if (name == "step") return true;
  const int64_t layer = LayerOfName(config, name);
  for (const LayerRange& range : ranges) {
    // A tied embedding is the head as well.
    if (layer == -1 && (range.embedding || (range.head && config.tied_embeddings))) return true;
    if (layer == config.num_layers && range.head) return true;
    if (layer >= range.first_layer && layer < range.last_layer) return true;
  }
  return false;
}

}  // namespace isthmus
