#include "kernels/machine_limits.h"

#include <sys/mman.h>
#include <time.h>

#include <cstring>

#include "base/check.h"
#include "kernels/target.h"

namespace isthmus {
namespace {

constexpr int64_t kReadBytes = int64_t{256} << 20;
constexpr int64_t kCopyBytes = int64_t{64} << 20;
constexpr double kPeakSeconds = 0.005;

// Calls burst() until kPeakSeconds are gone; operations per second in units of 1e9.
template <typename Burst>
double Rate(double operations_per_burst, const Burst& burst) {
  burst();
  int64_t bursts = 0;
  const double begin = ThreadSeconds();
  double seconds = 0.0;
  do {
    burst();
    ++bursts;
    seconds = ThreadSeconds() - begin;
  } while (seconds < kPeakSeconds);
  return 1e-9 * operations_per_burst * static_cast<double>(bursts) / seconds;
}

constexpr int kRounds = 2000;

// Assembly on fixed registers: accumulators in an array would go through the stack. 24 of them hide
// a latency of 4 or 5 on two ports.
#define ISTHMUS_EACH24(op, name)                                                                  \
  op(name, 0) op(name, 1) op(name, 2) op(name, 3) op(name, 4) op(name, 5) op(name, 6) op(name, 7) \
      op(name, 8) op(name, 9) op(name, 10) op(name, 11) op(name, 12) op(name, 13) op(name, 14)    \
          op(name, 15) op(name, 16) op(name, 17) op(name, 18) op(name, 19) op(name, 20)           \
              op(name, 21) op(name, 22) op(name, 23)

#if defined(__x86_64__)

// Registers 16 and above belong to nobody in code compiled for the baseline.
#define ISTHMUS_ZMM(name, r) name " %%zmm31, %%zmm30, %%zmm" #r "\n"
#define ISTHMUS_YMM(name, r) name " %%ymm15, %%ymm14, %%ymm" #r "\n"
#define ISTHMUS_EACH12(op, name)                                                                  \
  op(name, 0) op(name, 1) op(name, 2) op(name, 3) op(name, 4) op(name, 5) op(name, 6) op(name, 7) \
      op(name, 8) op(name, 9) op(name, 10) op(name, 11)
#define ISTHMUS_CLOBBERS                                                                   \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory"

void VnniBurst() {
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(ISTHMUS_EACH24(ISTHMUS_ZMM, "vpdpbusd")::: ISTHMUS_CLOBBERS);
  }
  __asm__ volatile("vzeroupper" ::: ISTHMUS_CLOBBERS);
}
void FmaZmmBurst() {
  __asm__ volatile("vpxord %%zmm30, %%zmm30, %%zmm30\n vpxord %%zmm31, %%zmm31, %%zmm31" ::
                       : ISTHMUS_CLOBBERS);
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(ISTHMUS_EACH24(ISTHMUS_ZMM, "vfmadd231ps")::: ISTHMUS_CLOBBERS);
  }
  __asm__ volatile("vzeroupper" ::: ISTHMUS_CLOBBERS);
}
void FmaYmmBurst() {
  __asm__ volatile("vxorps %%ymm14, %%ymm14, %%ymm14\n vxorps %%ymm15, %%ymm15, %%ymm15" ::
                       : ISTHMUS_CLOBBERS);
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(ISTHMUS_EACH12(ISTHMUS_YMM, "vfmadd231ps")::: ISTHMUS_CLOBBERS);
  }
  __asm__ volatile("vzeroupper" ::: ISTHMUS_CLOBBERS);
}
#define ISTHMUS_MADD(name, r)              \
  "vpmaddubsw %%ymm15, %%ymm14, %%ymm13\n" \
  "vpmaddwd %%ymm13, %%ymm15, %%ymm13\n"   \
  "vpaddd %%ymm13, %%ymm" #r ", %%ymm" #r "\n"
void MaddBurst() {
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(ISTHMUS_EACH12(ISTHMUS_MADD, "")::: ISTHMUS_CLOBBERS);
  }
  __asm__ volatile("vzeroupper" ::: ISTHMUS_CLOBBERS);
}

#elif defined(__aarch64__)

#define ISTHMUS_BYTES(name, r) name " v" #r ".4s, v30.16b, v31.16b\n"
#define ISTHMUS_FLOATS(name, r) name " v" #r ".4s, v30.4s, v31.4s\n"
// 16 inputs: two 8-bit products in 16 bits, added to a 32-bit sum. Four at a time hide the latency.
#define ISTHMUS_FOUR(op, a, b, c, d) op(a, 24) op(b, 25) op(c, 26) op(d, 27)
#define ISTHMUS_FIRST(r, t) "smull v" #t ".8h, v30.8b, v31.8b\n"
#define ISTHMUS_SECOND(r, t) "smlal v" #t ".8h, v30.8b, v31.8b\n"
#define ISTHMUS_SUM(r, t) "sadalp v" #r ".4s, v" #t ".8h\n"
#define ISTHMUS_PAIRS(a, b, c, d)         \
  ISTHMUS_FOUR(ISTHMUS_FIRST, a, b, c, d) \
  ISTHMUS_FOUR(ISTHMUS_SECOND, a, b, c, d) ISTHMUS_FOUR(ISTHMUS_SUM, a, b, c, d)
#define ISTHMUS_CLOBBERS                                                                         \
  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", \
      "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", \
      "v30", "v31", "memory"

void NeonBurst() {
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(ISTHMUS_PAIRS(0, 1, 2, 3) ISTHMUS_PAIRS(4, 5, 6, 7)
                         ISTHMUS_PAIRS(8, 9, 10, 11)::
                             : ISTHMUS_CLOBBERS);
  }
}
void DotprodBurst() {
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(".arch armv8.2-a+dotprod\n" ISTHMUS_EACH24(ISTHMUS_BYTES, "sdot")::
                         : ISTHMUS_CLOBBERS);
  }
}
void I8mmBurst() {
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(".arch armv8.2-a+i8mm\n" ISTHMUS_EACH24(ISTHMUS_BYTES, "smmla")::
                         : ISTHMUS_CLOBBERS);
  }
}
void FmaNeonBurst() {
  __asm__ volatile("movi v30.4s, #0\n movi v31.4s, #0" ::: ISTHMUS_CLOBBERS);
  for (int i = 0; i < kRounds; ++i) {
    __asm__ volatile(ISTHMUS_EACH24(ISTHMUS_FLOATS, "fmla")::: ISTHMUS_CLOBBERS);
  }
}

#endif

// Loads kReadBytes. Four streams, each asked for ahead: one alone does not fill the queue to
// memory.
void ReadAll(const uint8_t* buffer) {
  constexpr int64_t kQuarter = kReadBytes / 4;
  uint64_t sums[4] = {};
  for (int64_t i = 0; i < kQuarter; i += 64) {
    for (int j = 0; j < 4; ++j) {
      const uint8_t* line = buffer + j * kQuarter + i;
      __builtin_prefetch(line + 2048);
      uint64_t word;
      std::memcpy(&word, line, 8);
      sums[j] += word;
    }
  }
  volatile uint64_t sink = sums[0] + sums[1] + sums[2] + sums[3];
  static_cast<void>(sink);
}

// 8 accumulators of plain C++.
double PlainFmaGflops() {
  volatile float sink = 0.0f;
  float a[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  return Rate(kRounds * 16.0, [&] {
    for (int i = 0; i < kRounds; ++i) {
      for (float& v : a) v = v * 0.999f + 0.001f;
    }
    sink = a[0] + a[7];
  });
}
double PlainIntGops() {
  volatile int32_t sink = 0;
  int32_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  return Rate(kRounds * 16.0, [&] {
    for (int i = 0; i < kRounds; ++i) {
      for (int32_t& v : a) v = static_cast<int8_t>(v) * 3 + 5;
    }
    sink = a[0] + a[7];
  });
}

}  // namespace

double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double IntPeakGops() {
#if defined(__x86_64__)
  switch (CurrentTarget()) {
    case KernelTarget::kAvx512Vnni:
    case KernelTarget::kAmx:
      return Rate(kRounds * 24.0 * 128.0, VnniBurst);
    case KernelTarget::kAvx2:
      return Rate(kRounds * 12.0 * 64.0, MaddBurst);
    default:
      break;
  }
#elif defined(__aarch64__)
  switch (CurrentTarget()) {
    case KernelTarget::kNeonI8mm:
      return Rate(kRounds * 24.0 * 64.0, I8mmBurst);
    case KernelTarget::kNeonDotprod:
      return Rate(kRounds * 24.0 * 32.0, DotprodBurst);
    case KernelTarget::kNeon:
      return Rate(kRounds * 12.0 * 32.0, NeonBurst);
    default:
      break;
  }
#endif
  return PlainIntGops();
}

double FmaPeakGflops() {
#if defined(__x86_64__)
  switch (CurrentTarget()) {
    case KernelTarget::kAvx512Vnni:
    case KernelTarget::kAmx:
      return Rate(kRounds * 24.0 * 32.0, FmaZmmBurst);
    case KernelTarget::kAvx2:
      return Rate(kRounds * 12.0 * 16.0, FmaYmmBurst);
    default:
      break;
  }
#elif defined(__aarch64__)
  if (CurrentTarget() != KernelTarget::kScalar) return Rate(kRounds * 24.0 * 8.0, FmaNeonBurst);
#endif
  return PlainFmaGflops();
}

uint8_t* LargeBuffer(int64_t bytes) {
  static uint8_t* buffer = nullptr;
  static int64_t size = 0;
  if (size >= bytes) return buffer;
  constexpr int64_t kHugePage = int64_t{2} << 20;
  size = (bytes + 2 * kHugePage) / kHugePage * kHugePage;
  void* mapped = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ISTHMUS_CHECK(mapped != MAP_FAILED);
  const auto begin = (reinterpret_cast<uintptr_t>(mapped) + kHugePage - 1) / kHugePage * kHugePage;
  buffer = reinterpret_cast<uint8_t*>(begin);
  size -= kHugePage;
  madvise(buffer, static_cast<size_t>(size), MADV_HUGEPAGE);
  uint32_t state = 1;
  for (int64_t i = 0; i < size; ++i) {
    state = state * 1664525u + 1013904223u;
    buffer[i] = static_cast<uint8_t>(state >> 24);
  }
  return buffer;
}

double ReadGbPerS() {
  const uint8_t* buffer = LargeBuffer(kReadBytes);
  const double begin = ThreadSeconds();
  ReadAll(buffer);
  return 1e-9 * static_cast<double>(kReadBytes) / (ThreadSeconds() - begin);
}

double MemcpyGbPerS() {
  uint8_t* buffer = LargeBuffer(kReadBytes);
  const double begin = ThreadSeconds();
  std::memcpy(buffer + kReadBytes / 2, buffer, static_cast<size_t>(kCopyBytes));
  return 1e-9 * static_cast<double>(kCopyBytes) / (ThreadSeconds() - begin);
}

}  // namespace isthmus
