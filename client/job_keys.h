// The names of the job file: which keys there are, and which one was probably meant.
#ifndef ISTHMUS_CLIENT_JOB_KEYS_H_
#define ISTHMUS_CLIENT_JOB_KEYS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/json.h"

namespace isthmus {

// Dotted names of all keys, in the order of the file.
const std::vector<std::string>& JobKeys();

// kInvalidArgument for a key that is not in the table, with the nearest one, and for a section that
// is no mapping.
absl::Status CheckJobKeys(const Json& root);

// The value at a dotted name, or null when it or a section above it is absent or null.
const Json* FindJobKey(const Json& root, absl::string_view key);

// Sets a dotted name, making the sections above it. kInvalidArgument when one of them has a value
// of its own.
absl::Status SetJobKey(absl::string_view key, Json value, Json* root);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_JOB_KEYS_H_
