#include "client/generate.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace isthmus {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// After id i the likeliest id is i + 1, of 100.
class Counting : public LogitsSource {
 public:
  absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids) override {
    for (const int32_t id : ids) seen.push_back(id);
    Tensor logits = Tensor::Zeros(DType::kF32, {100});
    logits.mutable_floats()[(ids.back() + 1) % 100] = 1.0f;
    return logits;
  }
  std::vector<int32_t> seen;
};

absl::StatusOr<Generation> Continue(Counting* source, std::vector<int32_t> prompt,
                                    GenerateOptions options) {
  if (options.max_positions == 0) options.max_positions = 64;
  return Generate(source, prompt, options, [](int32_t) { return true; });
}

TEST(Generate, FeedsEveryIdOnce) {
  Counting source;
  GenerateOptions options;
  options.max_new_tokens = 3;
  const auto out = Continue(&source, {7, 10}, options);
  ASSERT_TRUE(out.ok());
  EXPECT_THAT(out->ids, ElementsAre(7, 10, 11, 12, 13));
  EXPECT_THAT(source.seen, ElementsAre(7, 10, 11, 12));
  EXPECT_EQ(out->end, Generation::End::kLength);
}

TEST(Generate, StopsAtTheEndOfSequence) {
  Counting source;
  GenerateOptions options;
  options.eos_ids = {12};
  const auto out = Continue(&source, {10}, options);
  EXPECT_THAT(out->ids, ElementsAre(10, 11, 12));
  EXPECT_EQ(out->end, Generation::End::kEos);
}

TEST(Generate, StopsWhereTheContextEnds) {
  Counting source;
  GenerateOptions options;
  options.max_positions = 4;
  const auto out = Continue(&source, {1, 2}, options);
  EXPECT_THAT(out->ids, ElementsAre(1, 2, 3, 4, 5));  // the last one is predicted, not read
  EXPECT_EQ(source.seen.size(), 4u);
  EXPECT_EQ(out->end, Generation::End::kContext);
}

TEST(Generate, RefusesPromptsThatDoNotFit) {
  Counting source;
  GenerateOptions options;
  options.max_positions = 2;
  EXPECT_THAT(std::string(Continue(&source, {1, 2, 3}, options).status().message()),
              HasSubstr("--prompt"));
  EXPECT_FALSE(Continue(&source, {}, options).ok());
}

TEST(Generate, ListenerStopsIt) {
  Counting source;
  GenerateOptions options;
  options.max_positions = 64;
  const auto out = Generate(&source, {1}, options, [](int32_t id) { return id < 4; });
  EXPECT_THAT(out->ids, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(out->end, Generation::End::kStopped);
}

}  // namespace
}  // namespace isthmus
