#include "cli/output.h"

#include "gtest/gtest.h"

namespace isthmus {
namespace {

TEST(Table, AlignsColumns) {
  EXPECT_EQ(Table({{"name", "steps"}, {"a", "7"}, {"longer", "1200"}}),
            "name    steps\n"
            "a           7\n"
            "longer   1200\n");
}

TEST(Table, CountsCharactersNotBytes) {
  EXPECT_EQ(Table({{"ä", "x"}, {"bb", "y"}}), "ä   x\nbb  y\n");
}

}  // namespace
}  // namespace isthmus
