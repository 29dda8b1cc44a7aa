// The texts of flag values: sizes and durations.
#ifndef ISTHMUS_CLI_FLAG_VALUE_H_
#define ISTHMUS_CLI_FLAG_VALUE_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace isthmus {

// "20GiB", "1.5MB", "4096": bytes, not negative, below 2^63. nullopt for anything else.
std::optional<int64_t> ParseBytes(absl::string_view text);

// "60s", "5m", "2h", "500ms", "2" (seconds): not negative. nullopt for anything else.
std::optional<double> ParseSeconds(absl::string_view text);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_FLAG_VALUE_H_
