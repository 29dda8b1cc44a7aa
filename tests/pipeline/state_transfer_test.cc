#include "pipeline/state_transfer.h"

#include <gtest/gtest.h>

namespace isthmus {
namespace {

v1::TensorChunk Chunk(const std::string& name, std::vector<int64_t> shape, int64_t offset,
                      const std::string& data) {
  v1::TensorChunk chunk;
  chunk.set_name(name);
  chunk.set_dtype("F32");
  for (const int64_t d : shape) chunk.add_shape(d);
  chunk.set_offset(offset);
  chunk.set_data(data);
  return chunk;
}

TEST(TensorAssemblyTest, PutsChunksTogether) {
  TensorAssembly assembly(1 << 20);
  EXPECT_TRUE(assembly.Add(Chunk("a", {2}, 0, std::string(4, '\1'))).ok());
  EXPECT_FALSE(assembly.complete());
  EXPECT_TRUE(assembly.Add(Chunk("a", {2}, 4, std::string(4, '\2'))).ok());
  EXPECT_TRUE(assembly.complete());
  EXPECT_TRUE(assembly.Add(Chunk("empty", {0, 3}, 0, "")).ok());
  const auto tensors = assembly.Take();
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].tensor.bytes()[7], 2);
  EXPECT_EQ(tensors[1].tensor.num_elements(), 0);
}

TEST(TensorAssemblyTest, RefusesWhatDoesNotFit) {
  EXPECT_FALSE(TensorAssembly(16).Add(Chunk("a", {5}, 0, "1234")).ok());  // beyond the limit
  EXPECT_FALSE(
      TensorAssembly(1 << 20).Add(Chunk("a", {int64_t{1} << 62, 8}, 0, "1234")).ok());  // overflow
  EXPECT_FALSE(TensorAssembly(1 << 20).Add(Chunk("a", {-1}, 0, "")).ok());
  EXPECT_FALSE(TensorAssembly(1 << 20).Add(Chunk("a", {1}, 4, "1234")).ok());   // a gap
  EXPECT_FALSE(TensorAssembly(1 << 20).Add(Chunk("a", {1}, 0, "12345")).ok());  // too long
  TensorAssembly mixed(1 << 20);
  EXPECT_TRUE(mixed.Add(Chunk("a", {2}, 0, "1234")).ok());
  EXPECT_FALSE(mixed.Add(Chunk("b", {2}, 4, "1234")).ok());
}

TEST(StateNameTest, ReadsWhatItWrites) {
  for (const StateName& name : {StateName{false, "w"}, StateName{true, "exp_avg/w"}}) {
    const StateName read = StateName::Parse(name.Wire());
    EXPECT_EQ(read.optimizer, name.optimizer);
    EXPECT_EQ(read.name, name.name);
  }
}

TEST(TensorHeaderTest, ComesFromAChunkAndIsChecked) {
  const auto header = HeaderOf(Chunk("a", {2, 3}, 0, ""));
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->name, "a");
  EXPECT_EQ(header->shape, (Shape{2, 3}));
  EXPECT_FALSE(HeaderOf(Chunk("a", {-1}, 0, "")).ok());
  EXPECT_FALSE(HeaderOf(Chunk("a", {int64_t{1} << 62, 8}, 0, "")).ok());
}

TEST(FailureTest, CarriesCodeAndWords) {
  v1::Failure failure;
  failure.set_code(static_cast<int>(absl::StatusCode::kDataLoss));
  failure.set_message("store");
  EXPECT_EQ(FailureStatus(failure, "worker w1"), absl::DataLossError("worker w1: store"));
  failure.set_code(99);
  EXPECT_EQ(FailureStatus(failure, "w").code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace isthmus
