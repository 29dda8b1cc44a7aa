#include "client/state_pull.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isthmus {
namespace {

using ::testing::ElementsAre;

v1::TensorChunk Chunk(const std::string& name, int64_t floats, int64_t offset = 0,
                      int64_t bytes = -1) {
  v1::TensorChunk chunk;
  chunk.set_name(name);
  chunk.set_dtype("F32");
  chunk.add_shape(floats);
  chunk.set_offset(offset);
  chunk.set_data(std::string(static_cast<size_t>(bytes < 0 ? 4 * floats : bytes), '\1'));
  return chunk;
}

class StatePullTest : public ::testing::Test {
 protected:
  StateEntry Entry(const std::string& name, int64_t floats, uint32_t party,
                   bool optimizer = false) {
    return {{name, DType::kF32, {floats}}, optimizer, party};
  }
  StatePull Make(std::vector<StateEntry> entries) {
    return StatePull(std::move(entries), [this](uint32_t party, const std::string& name) {
      asked_.push_back(std::to_string(party) + ":" + name);
      return absl::OkStatus();
    });
  }

  std::vector<std::string> asked_;
};

TEST_F(StatePullTest, AsksAheadWithinItsBoundAndOneTensorBeyondIt) {
  constexpr int64_t kHalf = StatePull::kAheadBytes / 8;  // floats: half of the bytes allowed
  StatePull pull = Make({Entry("a", kHalf, 1), Entry("mine", 5, 0), Entry("b", kHalf, 2),
                         Entry("c", 3 * kHalf, 1), Entry("m/a", 1, 2, true)});
  ASSERT_TRUE(pull.AskFrom(0).ok());
  EXPECT_THAT(asked_, ElementsAre("1:a", "2:b"));
  ASSERT_TRUE(pull.Add(1, Chunk("a", kHalf)).ok());
  ASSERT_TRUE(pull.Add(2, Chunk("b", kHalf)).ok());
  ASSERT_TRUE(pull.Has(0));
  EXPECT_EQ(pull.Take(0).num_elements(), kHalf);
  ASSERT_TRUE(pull.AskFrom(2).ok());
  EXPECT_EQ(asked_.size(), 2u);  // c is larger than what is left, and not needed yet
  pull.Take(2);
  ASSERT_TRUE(pull.AskFrom(3).ok());
  EXPECT_THAT(asked_, ElementsAre("1:a", "2:b", "1:c"));
  ASSERT_TRUE(pull.Add(1, Chunk("c", 3 * kHalf)).ok());
  pull.Take(3);
  ASSERT_TRUE(pull.AskFrom(4).ok());
  EXPECT_EQ(asked_.back(), "2:optimizer/m/a");
}

TEST_F(StatePullTest, AsksForManySmallTensorsInTurns) {
  std::vector<StateEntry> entries;
  for (size_t i = 0; i < 2 * StatePull::kAheadTensors; ++i)
    entries.push_back(Entry("t" + std::to_string(i), 1, 1));
  StatePull pull = Make(entries);
  ASSERT_TRUE(pull.AskFrom(0).ok());
  EXPECT_EQ(asked_.size(), StatePull::kAheadTensors);
}

TEST_F(StatePullTest, RefusesWhatItDidNotAskFor) {
  StatePull pull = Make({Entry("a", 2, 1), Entry("b", 2, 1)});
  EXPECT_FALSE(pull.Add(1, Chunk("a", 2)).ok());  // before it asked
  ASSERT_TRUE(pull.AskFrom(0).ok());
  EXPECT_FALSE(pull.Add(2, Chunk("a", 2)).ok());                       // of another party
  EXPECT_FALSE(pull.Add(1, Chunk("b", 2)).ok());                       // in another order
  EXPECT_FALSE(pull.Add(1, Chunk("a", int64_t{1} << 38, 0, 4)).ok());  // of another size
  v1::TensorChunk error;
  error.set_error("a: not here");
  EXPECT_EQ(pull.Add(1, error), absl::NotFoundError("a: not here"));
  EXPECT_TRUE(pull.Add(1, Chunk("a", 2, 0, 4)).ok());
  EXPECT_FALSE(pull.Has(0));
  EXPECT_TRUE(pull.Add(1, Chunk("a", 2, 4, 4)).ok());
  EXPECT_TRUE(pull.Has(0));
}

}  // namespace
}  // namespace isthmus
