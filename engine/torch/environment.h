// What a process that computes with LibTorch wants of its environment before it does anything. Free
// of LibTorch's headers.
//
// OpenBLAS chooses its kernels when it is loaded, by processor model. Debian 12's release falls
// back to SSE3 on models that are younger than it: 25 GFLOP/s on a core that does 105 with the
// kernels of its own instruction set. The choice can only be made by OPENBLAS_CORETYPE, which is
// read before main runs.
#ifndef ISTHMUS_ENGINE_TORCH_ENVIRONMENT_H_
#define ISTHMUS_ENGINE_TORCH_ENVIRONMENT_H_

#include <string>

namespace isthmus {

// The OpenBLAS kernel set for this processor's instructions: "SkylakeX" (AVX-512), "Haswell"
// (AVX2), "" (leave it to OpenBLAS).
std::string BlasKernels();

// Call first thing in main. Sets OPENBLAS_CORETYPE unless the user has, and starts the program
// again in its place (same process id, same arguments): once at most, since the variable is then
// there, and children inherit it. Carries on when that is not possible. Then tells glibc to keep
// freed memory (page faults of tensors that come and go with every micro-batch cost 5 to 16 % of a
// step).
void TuneProcess(char** argv);

// Before the first product in bf16. Some virtual machines announce AMX and hide the leaf of CPUID
// that describes its tiles (0x1D); oneDNN, up to at least that of LibTorch 2.15, then configures
// none and dies of SIGILL. There this keeps it to AVX-512; a DNNL_MAX_CPU_ISA of the user's counts.
void AvoidUndescribedTiles();

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_ENVIRONMENT_H_
