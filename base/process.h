// Facts about this process.
#ifndef ISTHMUS_BASE_PROCESS_H_
#define ISTHMUS_BASE_PROCESS_H_

#include <cstdint>

namespace isthmus {

int64_t PeakResidentBytes();     // VmHWM of /proc/self/status
int64_t CurrentResidentBytes();  // VmRSS
void ReturnFreeMemory();  // gives what the allocator holds back to the kernel: after a job, not in
                          // one

}  // namespace isthmus

#endif  // ISTHMUS_BASE_PROCESS_H_
