// --tls-ca --tls-cert --tls-key --insecure: the same on every command that speaks to others.
#ifndef ISTHMUS_CLI_SECURITY_FLAGS_H_
#define ISTHMUS_CLI_SECURITY_FLAGS_H_

#include <vector>

#include "cli/flags.h"
#include "link/tls.h"

namespace isthmus {

std::vector<Flag> SecurityFlags();
// The same and --proxy, for commands that dial; main obeys it.
std::vector<Flag> DialFlags();
TlsFiles TlsOf(const Invocation& invocation);

// The coordinator of a command that asks it a question: TLS or loopback, unless --insecure.
absl::StatusOr<std::string> CoordinatorOf(const Invocation& invocation);
Flag CoordinatorFlag(bool required);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_SECURITY_FLAGS_H_
