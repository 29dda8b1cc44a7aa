// After warm-up nothing allocates for a frame: buffers have grown to the largest frame and stay.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "compression/codec_table.h"
#include "compression/part_table.h"
#include "frames.h"

namespace {

std::atomic<int64_t> allocations{0};

}  // namespace

void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace isthmus {
namespace {

// Encode and Decode of every row of both tables; what a step's end allocates is not per frame.
TEST(Allocation, NonePerFrameAfterWarmUp) {
  constexpr int64_t kWidth = 192;
  std::vector<std::string> specs;
  for (const CodecRow& row : CodecTable()) specs.emplace_back(row.example);
  for (const PartRow& row : PartTable()) specs.emplace_back(row.example);
  for (const std::string& spec : specs) {
    for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
      if (direction == Direction::kBackward && (*Codec::Parse(spec))->ForwardOnly()) continue;
      EdgeShape shape;
      shape.width = kWidth;
      shape.direction = direction;
      shape.num_samples = 4;
      shape.max_sample_tokens = 40;
      const Ends ends = MakeEnds(spec, shape);
      TestFrame frame;
      const std::vector<float> x = Values(4, 71, kWidth);
      std::vector<float> y(x.size());
      Bytes bytes;
      bytes.reserve(8 * x.size() * sizeof(float));
      int64_t allocated = 0;
      // Not the 16th, which carries a hash of the state.
      for (uint64_t step = 0; step < 15; ++step) {
        frame.Set({{1, 40}, {2, 31}}, step);
        bytes.clear();
        const int64_t before = allocations.load();
        ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &bytes).ok());
        ASSERT_TRUE(ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y)).ok());
        if (step >= 12) allocated += allocations.load() - before;
        ASSERT_TRUE(ends.encoder->CommitStep(step).ok());
        ASSERT_TRUE(ends.decoder->CommitStep(step).ok());
      }
      EXPECT_EQ(allocated, 0) << spec << " " << Name(direction);
    }
  }
}

// Rows of known ids, samples that were seen, two bands on two threads.
TEST(Allocation, NonePerFrameOfEcqAfterWarmUp) {
  for (const char* spec : {"ecq(db=16)", "ecq(db=16,predict=slot)", "ecq(db=16,predict=off)"}) {
    for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
      EdgeShape shape;
      shape.width = 640;
      shape.direction = direction;
      shape.num_samples = 4;
      shape.max_sample_tokens = 80;
      const Ends ends = MakeEnds(spec, shape);
      TestFrame frame;
      std::vector<uint32_t> ids;
      for (uint32_t t = 0; t < 160; ++t) ids.push_back(t % 41);
      Bytes bytes;
      bytes.reserve(1 << 20);
      std::vector<float> y(160 * 640);
      const std::vector<float> x = Values(4, 160, 640);
      // Not the 16th, which carries a hash of the state.
      for (uint64_t step = 0; step < 12; ++step) {
        frame.Set({{1, 80}, {2, 80}}, step);
        frame.context.row_ids = ids;
        bytes.clear();
        const int64_t outside = allocations.load();
        ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &bytes).ok());
        ASSERT_TRUE(ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y)).ok());
        ASSERT_TRUE(ends.encoder->CommitStep(step).ok());
        ASSERT_TRUE(ends.decoder->CommitStep(step).ok());
        if (step >= 8) {
          EXPECT_EQ(allocations.load(), outside) << spec << " " << Name(direction) << step;
        }
      }
    }
  }
}

}  // namespace
}  // namespace isthmus
