// What this machine can do at most, measured: the limits that a kernel's speed is a share of.
#ifndef ISTHMUS_KERNELS_MACHINE_LIMITS_H_
#define ISTHMUS_KERNELS_MACHINE_LIMITS_H_

#include <cstdint>

namespace isthmus {

// Seconds of work of the calling thread alone (its CPU time: other processes on a busy machine take
// turns with it, and a share of a limit measured in the same breath stays what it is).
double ThreadSeconds();

// Peaks are loops of independent instructions on registers, of the instruction set that the kernels
// run on (target.h) and its relatives: vpdpbusd on AVX-512 VNNI and AMX machines (AMX has a higher
// peak of its own; VNNI's is the yardstick), vpmaddubsw + vpmaddwd + vpaddd on AVX2; smmla, sdot,
// or smull + smlal + sadalp on 64-bit ARM; plain C++ otherwise. About 5 ms each. A multiply-add
// counts as two operations.
double IntPeakGops();
double FmaPeakGflops();

// Sum of 256 MiB of 32-bit words, and memcpy of 64 MiB (GB/s copied), once through, of one thread.
// The first call allocates and touches the memory.
double ReadGbPerS();
double MemcpyGbPerS();

// At least `bytes` bytes of noise, on 2 MiB pages where the system gives them; one buffer that
// lives as long as the process. For weights that must come from memory. One thread.
uint8_t* LargeBuffer(int64_t bytes);

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_MACHINE_LIMITS_H_
