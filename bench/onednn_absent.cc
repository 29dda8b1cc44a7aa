#include "bench/onednn.h"

namespace isthmus::bench {

std::function<double(int64_t, int64_t, int64_t)> OnednnInt8() { return {}; }

}  // namespace isthmus::bench
