// Writes docs/metrics.md to standard output.
#include <cstdio>

#include "metrics/docs.h"

int main() {
  const std::string page = isthmus::MetricsPage();
  return std::fwrite(page.data(), 1, page.size(), stdout) == page.size() ? 0 : 1;
}
