// The model's tensor order for names of any party: weights, adapter tensors, optimizer state.
#ifndef ISTHMUS_CLIENT_MODEL_ORDER_H_
#define ISTHMUS_CLIENT_MODEL_ORDER_H_

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/stage.h"
#include "model/config.h"

namespace isthmus {

// -1 for embeddings, the block's number, num_layers for final norm and head; of any name that
// contains a tensor's.
int64_t LayerOfName(const ModelConfig& config, absl::string_view name);

// Whether a party with these ranges may hold the tensor. Names without a place ("step") belong to
// every party.
bool BelongsTo(const ModelConfig& config, absl::string_view name,
               absl::Span<const LayerRange> ranges);

// Stable: within a layer, which is at one party alone, the order of that party stays.
template <typename T, typename NameOf>
void SortInModelOrder(const ModelConfig& config, std::vector<T>* items, NameOf name_of) {
  std::stable_sort(items->begin(), items->end(), [&](const T& a, const T& b) {
    return LayerOfName(config, name_of(a)) < LayerOfName(config, name_of(b));
  });
}

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_MODEL_ORDER_H_
