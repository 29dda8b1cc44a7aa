// A model whose every number can be worked out by hand: block l multiplies by 1 + w_l, the loss of
// a token is half the squared distance of its first value from its target. It lets corridor tests
// run under sanitizers, without LibTorch.
#ifndef ISTHMUS_TESTS_PIPELINE_FAKE_ENGINE_H_
#define ISTHMUS_TESTS_PIPELINE_FAKE_ENGINE_H_

#include <memory>
#include <vector>

#include "engine/stage.h"

namespace isthmus {

// Weight w_l starts at 0.01 (l + 1); names are "model.layers.L.w". Width and layers come from the
// config.
std::unique_ptr<StageGroup> MakeFakeStages(const ModelConfig& config,
                                           const std::vector<LayerRange>& ranges);

ModelConfig FakeConfig(int64_t layers, int64_t width);

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_PIPELINE_FAKE_ENGINE_H_
