#include "kernels/weight_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isthmus {
namespace {

TEST(WeightFormatTest, TextRoundTrips) {
  for (const WeightFormatSpec& spec : AllWeightFormats()) {
    const auto parsed = ParseWeightFormat(WeightFormatText(spec));
    ASSERT_TRUE(parsed.ok()) << WeightFormatText(spec) << ": " << parsed.status();
    EXPECT_EQ(*parsed, spec) << WeightFormatText(spec);
  }
}

TEST(WeightFormatTest, GroupsAreReadAndHaveDefaults) {
  EXPECT_EQ(*ParseWeightFormat("int4"), (WeightFormatSpec{WeightFormat::kInt4Group, 64}));
  EXPECT_EQ(*ParseWeightFormat("int4g32"), (WeightFormatSpec{WeightFormat::kInt4Group, 32}));
  EXPECT_EQ(*ParseWeightFormat("int8"), (WeightFormatSpec{WeightFormat::kInt8, 0}));
  EXPECT_EQ(*ParseWeightFormat("int8g128"), (WeightFormatSpec{WeightFormat::kInt8Group, 128}));
}

TEST(WeightFormatTest, OthersAreRefusedWithTheList) {
  for (const char* text :
       {"", "int", "int4g", "int4g48", "int4g064x", "fp8g64", "INT8", "int4g-64"}) {
    const auto parsed = ParseWeightFormat(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(std::string(parsed.status().message()), testing::HasSubstr("progressive4gN"));
  }
}

}  // namespace
}  // namespace isthmus
