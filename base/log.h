// Log lines on standard error: text ("I 12:00:01.250 worker: joined …") or one JSON object a line.
// Thread-safe, one write per line.
#ifndef ISTHMUS_BASE_LOG_H_
#define ISTHMUS_BASE_LOG_H_

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace isthmus {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3, kOff = 4 };

void SetLogLevel(LogLevel level);
void SetLogJson(bool json);
bool LogEnabled(LogLevel level);
// `room` is the part of the program that speaks: "worker", "link" …
void LogLine(LogLevel level, absl::string_view room, absl::string_view text);

template <typename... Parts>
void LogDebug(absl::string_view room, const Parts&... parts) {
  if (LogEnabled(LogLevel::kDebug)) LogLine(LogLevel::kDebug, room, absl::StrCat(parts...));
}
template <typename... Parts>
void LogInfo(absl::string_view room, const Parts&... parts) {
  if (LogEnabled(LogLevel::kInfo)) LogLine(LogLevel::kInfo, room, absl::StrCat(parts...));
}
template <typename... Parts>
void LogWarning(absl::string_view room, const Parts&... parts) {
  if (LogEnabled(LogLevel::kWarning)) LogLine(LogLevel::kWarning, room, absl::StrCat(parts...));
}
template <typename... Parts>
void LogError(absl::string_view room, const Parts&... parts) {
  if (LogEnabled(LogLevel::kError)) LogLine(LogLevel::kError, room, absl::StrCat(parts...));
}

}  // namespace isthmus

#endif  // ISTHMUS_BASE_LOG_H_
