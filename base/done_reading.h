// Memory of mapped files that is not needed any more.
#ifndef ISTHMUS_BASE_DONE_READING_H_
#define ISTHMUS_BASE_DONE_READING_H_

#include <cstdint>

#include "absl/types/span.h"

namespace isthmus {

// Says that `bytes` will not be read again soon. Where they lie in a MappedFile their pages leave
// this process's memory and stay in the kernel's cache: whoever reads a file of 14 GB tensor by
// tensor is never larger than the largest. Bytes of other memory are left alone, and no byte ever
// changes. Any thread.
void DoneReading(absl::Span<const uint8_t> bytes);

}  // namespace isthmus

#endif  // ISTHMUS_BASE_DONE_READING_H_
