#include "engine/edge/update_choice.h"

namespace isthmus::edge {

std::vector<UpdateChoice> UpdateChoices(const TrainSpec& train, absl::Span<const LayerRange> ranges,
                                        bool shared_embedding) {
  std::vector<UpdateChoice> choices = {{train.recompute, 0}};
  if (train.edge.update != "auto") return choices;
  const bool backward = train.probes == 0;
  if (backward && !train.recompute) choices.push_back({true, 0});
  if (shared_embedding) return choices;
  for (const LayerRange& range : ranges) {
    if (!range.embedding) continue;
    for (int64_t layer = range.first_layer + 1; layer <= range.last_layer; ++layer)
      choices.push_back({backward, layer});
  }
  return choices;
}

}  // namespace isthmus::edge
