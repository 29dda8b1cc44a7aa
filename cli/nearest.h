// The known name that an unknown one was probably meant to be.
#ifndef ISTHMUS_CLI_NEAREST_H_
#define ISTHMUS_CLI_NEAREST_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace isthmus {

// Fewest edits (insert, delete, replace), the first of equals; "" without names.
std::string Nearest(absl::string_view text, const std::vector<std::string>& names);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_NEAREST_H_
