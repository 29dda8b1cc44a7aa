// How an adapter begins: the same numbers on every engine, party and placement.
#ifndef ISTHMUS_ENGINE_LORA_START_H_
#define ISTHMUS_ENGINE_LORA_START_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/adapter.h"
#include "model/config.h"

namespace isthmus {

// kInvalidArgument for a rank, dropout or target that the model cannot have. Targets empty: those
// of DefaultLoraTargets are meant.
absl::Status CheckLora(const ModelConfig& config, const LoraSpec& lora);

// Whether `linear` carries an adapter; targets must be filled in.
bool IsLoraTarget(const LoraSpec& lora, const LinearName& linear);

// Fills A [rank, in] of the tensor `name`, uniform in +-1 / sqrt(in): Kaiming uniform with
// a = sqrt 5, as PEFT draws it. Element i is a pure function of (seed, layer, name, i). B begins as
// zero.
void DrawLoraA(uint64_t seed, int64_t layer, const std::string& name, int64_t in,
               absl::Span<float> values);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_LORA_START_H_
