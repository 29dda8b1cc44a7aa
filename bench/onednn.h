// oneDNN's 8-bit product, as a yardstick for ours.
#ifndef ISTHMUS_BENCH_ONEDNN_H_
#define ISTHMUS_BENCH_ONEDNN_H_

#include <cstdint>
#include <functional>

namespace isthmus::bench {

// GOP/s of u8 x s8 -> s32 on the calling thread: weights packed by oneDNN, activations quantised
// beforehand, no scales (an upper bound for a product that has them). Empty where this build has no
// oneDNN.
std::function<double(int64_t out, int64_t in, int64_t tokens)> OnednnInt8();

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_ONEDNN_H_
