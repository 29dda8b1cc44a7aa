// Optimizer updates of a run of elements: AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101),
// AdamW with 8-bit state (Dettmers et al., 2022, arXiv 2110.02861) and SGD with momentum. Weight
// decay is decoupled in all.
#ifndef ISTHMUS_KERNELS_OPTIMIZER_STEP_H_
#define ISTHMUS_KERNELS_OPTIMIZER_STEP_H_

#include <cstdint>

namespace isthmus::kernels {

struct AdamWStep {
  double lr = 0.0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
  int64_t step = 1;             // 1-based, for the bias correction
  double gradient_scale = 1.0;  // gradients are multiplied by it
};

// values, means and squares [count] in place.
void AdamW(const AdamWStep& step, int64_t count, const float* gradients, float* values,
           float* means, float* squares);

// Values in [-1, 1] (or [0, 1]) that are dense near zero: a decade exponent and a linear fraction
// share 7 bits. A block of 256 elements has one scale, its largest magnitude. The largest comes
// back exactly, so that quantising what was read back changes nothing.
constexpr int64_t kStateBlock = 256;
int64_t StateBlocks(int64_t count);
struct EightBitState {
  uint8_t* codes = nullptr;  // [count]
  float* scales = nullptr;   // [StateBlocks(count)]
};
enum class StateSign : uint8_t { kSigned, kUnsigned };
// values [count] <-> state. A positive value never becomes zero in unsigned state: a vanished
// square beside a living mean would be a step of mean / eps.
void EncodeState(StateSign sign, const float* values, int64_t count, const EightBitState& state);
void DecodeState(StateSign sign, const EightBitState& state, int64_t count, float* values);

// AdamW whose means (signed) and squares (unsigned) are 8-bit state.
void AdamW8Bit(const AdamWStep& step, int64_t count, const float* gradients, float* values,
               const EightBitState& means, const EightBitState& squares);

struct SgdStep {
  double lr = 0.0, momentum = 0.0, weight_decay = 0.0;
  double gradient_scale = 1.0;
};
// velocities [count], or null when momentum is 0.
void Sgd(const SgdStep& step, int64_t count, const float* gradients, float* values,
         float* velocities);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_OPTIMIZER_STEP_H_
