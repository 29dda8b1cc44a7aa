#include "metrics/docs.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace isthmus {
namespace {

TEST(MetricsPage, IsCurrent) {
  const auto page = ReadFile(ISTHMUS_SOURCE_DIR "/docs/metrics.md");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(*page, MetricsPage()) << "write it anew: cmake --build BUILD --target metrics_docs";
}

}  // namespace
}  // namespace isthmus
