#include "metrics/process.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace isthmus {
namespace {

std::string ReadSmall(const char* path) {
  std::string text;
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return text;
  char buffer[4096];
  size_t got;
  while ((got = std::fread(buffer, 1, sizeof buffer, file)) > 0) text.append(buffer, got);
  std::fclose(file);
  return text;
}

double Number(absl::string_view text) {
  double value = 0;
  return absl::SimpleAtod(text, &value) ? value : 0;
}

// "btime 1700000000" of /proc/stat: the boot, in Unix seconds.
double BootUnixSeconds() {
  const std::string stat = ReadSmall("/proc/stat");
  for (absl::string_view line : absl::StrSplit(stat, '\n')) {
    if (absl::StartsWith(line, "btime ")) return Number(line.substr(6));
  }
  return 0;
}

int64_t CountOpenFds() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int64_t count = -3;  // ".", ".." and the folder's own descriptor
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

}  // namespace

ProcessUsage ReadProcessUsage() {
  ProcessUsage usage;
  // "pid (comm) state ppid …": comm may hold spaces and brackets, so fields are counted from the
  // last bracket; the field after it is number 3 of proc(5).
  const std::string stat = ReadSmall("/proc/self/stat");
  const size_t bracket = stat.rfind(')');
  if (bracket != std::string::npos) {
    const std::vector<absl::string_view> fields =
        absl::StrSplit(absl::string_view(stat).substr(bracket + 1), ' ', absl::SkipEmpty());
    const auto field = [&](size_t number) {
      return number - 3 < fields.size() ? Number(fields[number - 3]) : 0;
    };
    const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    usage.cpu_seconds = (field(14) + field(15)) / ticks;
    usage.start_unix_seconds = BootUnixSeconds() + field(22) / ticks;
    usage.virtual_bytes = static_cast<int64_t>(field(23));
    usage.resident_bytes = static_cast<int64_t>(field(24)) * sysconf(_SC_PAGESIZE);
  }
  usage.open_fds = CountOpenFds();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) usage.max_fds = static_cast<int64_t>(limit.rlim_cur);
  return usage;
}

}  // namespace isthmus
