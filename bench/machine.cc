#include "bench/machine.h"

#include <sys/utsname.h>

#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "isthmus/version.h"

namespace isthmus::bench {
namespace {

std::string CpuName() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/cpuinfo");
  if (!text.ok()) return "unknown processor";
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    if (halves.size() == 2 && absl::StartsWith(halves[0], "model name"))
      return std::string(halves[1]);
  }
  return "unknown processor";
}

}  // namespace

nlohmann::json Machine() {
  struct utsname names = {};
  ::uname(&names);
  return {{"date", absl::FormatTime("%Y-%m-%d", absl::Now(), absl::UTCTimeZone())},
          {"processor", CpuName()},
          {"cores", std::thread::hardware_concurrency()},
          {"kernel", names.release},
          {"version", kVersion},
          {"revision", kRevision}};
}

std::string MachineLine(const nlohmann::json& machine) {
  return absl::StrCat(machine["date"].get<std::string>(), ": ",
                      machine["processor"].get<std::string>(), ", ", machine["cores"].dump(),
                      " cores, isthmus ", kVersion, " (", kRevision, ")");
}

}  // namespace isthmus::bench
