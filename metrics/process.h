// What /proc says of this process, for the usual process_* metrics.
#ifndef ISTHMUS_METRICS_PROCESS_H_
#define ISTHMUS_METRICS_PROCESS_H_

#include <cstdint>

namespace isthmus {

// A value that cannot be read stays 0.
struct ProcessUsage {
  double cpu_seconds = 0;  // user and system
  int64_t resident_bytes = 0;
  int64_t virtual_bytes = 0;
  double start_unix_seconds = 0;
  int64_t open_fds = 0;
  int64_t max_fds = 0;
};

// About 0.1 ms; any thread.
ProcessUsage ReadProcessUsage();

}  // namespace isthmus

#endif  // ISTHMUS_METRICS_PROCESS_H_
