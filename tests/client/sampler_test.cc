#include "client/sampler.h"

#include <cmath>
#include <map>
#include <vector>

#include "gtest/gtest.h"

namespace isthmus {
namespace {

const std::vector<float> kLogits = {0.0f, 2.0f, 1.0f, -1.0f};

std::map<int32_t, double> Shares(const SamplerOptions& options) {
  std::map<int32_t, double> shares;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) shares[*SampleId(kLogits, options, i)] += 1.0 / kDraws;
  return shares;
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(*SampleId(kLogits, {}, 0), 1);
  EXPECT_EQ(*SampleId(std::vector<float>{3.0f, 3.0f}, {}, 5), 0);
}

TEST(Sampler, DrawsAsSoftmaxSays) {
  SamplerOptions options;
  options.temperature = 0.7;
  const auto shares = Shares(options);
  double sum = 0.0;
  for (const float logit : kLogits) sum += std::exp(logit / 0.7);
  for (size_t i = 0; i < kLogits.size(); ++i) {
    // Four standard deviations of a share over 20,000 draws are at most 0.014.
    EXPECT_NEAR(shares.at(static_cast<int32_t>(i)), std::exp(kLogits[i] / 0.7) / sum, 0.014);
  }
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  SamplerOptions options;
  options.temperature = 1.0;
  options.top_k = 2;
  const auto shares = Shares(options);
  EXPECT_EQ(shares.size(), 2u);
  EXPECT_NEAR(shares.at(1), 1.0 / (1.0 + std::exp(-1.0)), 0.014);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  SamplerOptions options;
  options.temperature = 1.0;
  options.top_p = 0.7;  // the shares are 0.61 0.22 0.08 0.03
  EXPECT_EQ(Shares(options).size(), 2u);
  options.top_p = 0.5;
  EXPECT_EQ(Shares(options).size(), 1u);
}

TEST(Sampler, SameArgumentsSameId) {
  SamplerOptions options;
  options.temperature = 5.0;
  bool differs = false;
  for (int position = 0; position < 50; ++position) {
    const int32_t id = *SampleId(kLogits, options, position);
    EXPECT_EQ(*SampleId(kLogits, options, position), id);
    SamplerOptions other = options;
    other.seed = 1;
    differs = differs || *SampleId(kLogits, other, position) != id;
  }
  EXPECT_TRUE(differs);
}

TEST(Sampler, RefusesWhatIsNotANumber) {
  EXPECT_FALSE(SampleId(std::vector<float>{0.0f, NAN}, {}, 0).ok());
  EXPECT_FALSE(SampleId(std::vector<float>{0.0f, INFINITY}, {}, 0).ok());
  EXPECT_FALSE(SampleId(std::vector<float>{-INFINITY, -INFINITY}, {}, 0).ok());
  EXPECT_EQ(*SampleId(std::vector<float>{-INFINITY, 0.0f}, {}, 0), 1);
}

}  // namespace
}  // namespace isthmus
