// What one thread needs to compute one unit of a product. Internal to kernels/.
#ifndef ISTHMUS_KERNELS_MATMUL_UNIT_H_
#define ISTHMUS_KERNELS_MATMUL_UNIT_H_

#include <cstdint>

#include "kernels/kernel_table.h"

namespace isthmus {

struct alignas(64) UnitScratch {
  union {
    int8_t staged[kBlock * kPanel];
    float staged_f32[kBlockF32 * kPanel];
  };
  float scales[kBlock / 32 * kPanel];
  float acc[kRowBlock * kPanel];
  float rows[kRowBlock * kBlockF32];  // a transposed operand of MatmulF32
};

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_MATMUL_UNIT_H_
