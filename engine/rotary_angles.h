// Angles of rotary positions with the model's scaling.
#ifndef ISTHMUS_ENGINE_ROTARY_ANGLES_H_
#define ISTHMUS_ENGINE_ROTARY_ANGLES_H_

#include <vector>

#include "model/config.h"

namespace isthmus {

// head_dim / 2 frequencies, radians per position.
std::vector<double> RotaryFrequencies(const ModelConfig& config);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_ROTARY_ANGLES_H_
