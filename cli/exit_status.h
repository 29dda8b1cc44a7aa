// How the program ends: a status becomes one line on standard error and an exit status
// (interface.md).
#ifndef ISTHMUS_CLI_EXIT_STATUS_H_
#define ISTHMUS_CLI_EXIT_STATUS_H_

#include <string>

#include "absl/status/status.h"

namespace isthmus {

// 0 done, 2 what the user gave is wrong, 3 a peer or the network failed for good, 4 data loss was
// refused, 1 anything else; 128 + `signal` for kCancelled after a signal.
int ExitStatus(const absl::Status& status, int signal);

// "isthmus: WHAT: …" without line breaks.
std::string ErrorLine(const absl::Status& status);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_EXIT_STATUS_H_
