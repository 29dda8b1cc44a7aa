#include "cli/engine.h"

namespace isthmus {

Flag ThreadsFlag() {
  return {.name = "threads",
          .kind = FlagKind::kInteger,
          .value = "N",
          .help = "compute threads, 0: chosen",
          .fallback = "0",
          .least = 0,
          .most = 1024};
}

Flag WeightsFlag() {
  return {.name = "weights",
          .value = "FORMAT",
          .help =
              "how the on-device engine holds frozen weights: f32, bf16, int8, int4g64 ... "
              "(trained: f32, int8) "
              "(default: as a folder of `quantize` has them, else f32)"};
}

Flag KvCacheFlag() {
  return {
      .name = "kv-cache",
      .value = "FORMAT",
      .help = "how the on-device engine keeps keys and values of generated text (default: fp32)",
      .choices = {"fp32", "int8", "int4"}};
}

}  // namespace isthmus
