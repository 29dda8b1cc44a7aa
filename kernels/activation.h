// Activations of the feed-forward part, forward and backward, element by element in fp32.
#ifndef ISTHMUS_KERNELS_ACTIVATION_H_
#define ISTHMUS_KERNELS_ACTIVATION_H_

#include <cstdint>

namespace isthmus::kernels {

enum class Curve : uint8_t {
  kSilu,
  kGeluTanh,  // GPT-2's approximation (Hendrycks and Gimpel, 2016)
  kGeluErf,
  kRelu
};

// y = curve(x).
void Activate(Curve curve, const float* x, int64_t count, float* y);
// dx = dy * curve'(x); dx may be dy.
void ActivateGradient(Curve curve, const float* x, const float* dy, int64_t count, float* dx);

// y = curve(gate) * up (SwiGLU with kSilu; Shazeer, 2020).
void Gate(Curve curve, const float* gate, const float* up, int64_t count, float* y);
// The gradients of both; either may be dy.
void GateGradient(Curve curve, const float* gate, const float* up, const float* dy, int64_t count,
                  float* dgate, float* dup);

}  // namespace isthmus::kernels

#endif  // ISTHMUS_KERNELS_ACTIVATION_H_
