#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <ctime>
#include <string>

#include "absl/strings/str_format.h"
#include "base/clock.h"

namespace isthmus {
namespace {

std::atomic<int> g_level{static_cast<int>(LogLevel::kWarning)};
std::atomic<bool> g_json{false};

std::string JsonEscape(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void SetLogLevel(LogLevel level) { g_level = static_cast<int>(level); }
void SetLogJson(bool json) { g_json = json; }
bool LogEnabled(LogLevel level) {
  return static_cast<int>(level) >= g_level.load(std::memory_order_relaxed);
}

void LogLine(LogLevel level, absl::string_view room, absl::string_view text) {
  const int64_t unix_us = Clock::Real()->UnixUs();
  const std::time_t seconds = static_cast<std::time_t>(unix_us / 1'000'000);
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  const int ms = static_cast<int>(unix_us / 1000 % 1000);
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
  const int index = static_cast<int>(level) & 3;
  std::string line;
  if (g_json) {
    line = absl::StrFormat(
        "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"level\":\"%s\",\"room\":\"%s\","
        "\"text\":\"%s\"}\n",
        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms,
        kNames[index], JsonEscape(room), JsonEscape(text));
  } else {
    line = absl::StrFormat("%c %02d:%02d:%02d.%03d %s: %s\n", "DIWE"[index], tm.tm_hour, tm.tm_min,
                           tm.tm_sec, ms, room, text);
  }
  // One write: lines of several threads never interleave. A closed stderr is nobody's error.
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace isthmus
