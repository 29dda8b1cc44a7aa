#include "base/process.h"

#include <malloc.h>

#include <cstdio>
#include <cstring>

namespace isthmus {
namespace {

int64_t StatusField(const char* field) {
  std::FILE* file = std::fopen("/proc/self/status", "re");
  if (file == nullptr) return 0;
  char line[256];
  long long kib = 0;
  const size_t n = std::strlen(field);
  while (std::fgets(line, sizeof line, file) != nullptr)
    if (std::strncmp(line, field, n) == 0 && std::sscanf(line + n, ": %lld", &kib) == 1) break;
  std::fclose(file);
  return static_cast<int64_t>(kib) * 1024;
}

}  // namespace

int64_t PeakResidentBytes() { return StatusField("VmHWM"); }
int64_t CurrentResidentBytes() { return StatusField("VmRSS"); }
void ReturnFreeMemory() { malloc_trim(0); }

}  // namespace isthmus
