// A second core for codecs that cut a frame into parts: one helper thread a process, started when
// first used. Whoever finds it busy, or finds that it has not begun yet, does the work alone, so
// nobody waits for a part that does not run.
#ifndef ISTHMUS_COMPRESSION_BAND_THREADS_H_
#define ISTHMUS_COMPRESSION_BAND_THREADS_H_

#include <cstddef>

#include "absl/functional/function_ref.h"

namespace isthmus {

// Calls work(0) .. work(parts - 1), each once, on this thread and the helper; returns when all are
// done. The parts share nothing that one of them writes. From any thread.
void ForBands(size_t parts, absl::FunctionRef<void(size_t)> work);

// How many threads work on a frame: 1 or 2. As many as the machine has cores until it is called.
void SetCodecThreads(int threads);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_BAND_THREADS_H_
