// Standard output: results only. A reader that went away ends the program quietly.
#ifndef ISTHMUS_CLI_OUTPUT_H_
#define ISTHMUS_CLI_OUTPUT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace isthmus {

// Writes and flushes. False once nobody reads (a closed pipe).
bool Print(absl::string_view text);

// Columns aligned by their longest cell; numbers (by their first character) to the right. The first
// row is the heading.
std::string Table(const std::vector<std::vector<std::string>>& rows);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_OUTPUT_H_
