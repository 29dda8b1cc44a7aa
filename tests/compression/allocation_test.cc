// After warm-up no composition without a store allocates for a frame: its buffers have grown to the
// largest frame and stay.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

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

TEST(Allocation, NonePerFrameAfterWarmUp) {
  constexpr int64_t kWidth = 192;
  for (const PartRow& row : PartTable()) {
    const auto codec = *Codec::Parse(row.example);
    EdgeShape shape;
    shape.width = kWidth;
    shape.num_samples = 4;
    shape.max_sample_tokens = 40;
    const Codec::StateSize state = codec->StateSizeFor(shape);
    if (state.ram_bytes + state.file_bytes > 0) continue;  // journals of a step are allocated
    for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
      shape.direction = direction;
      const Ends ends = MakeEnds(std::string(row.example), shape);
      TestFrame frame;
      frame.Set({{1, 40}, {2, 31}});
      const std::vector<float> x = Values(4, frame.tokens, kWidth);
      std::vector<float> y(x.size());
      Bytes bytes;
      bytes.reserve(8 * x.size());
      int64_t before = 0;
      for (int turn = 0; turn < 4; ++turn) {
        if (turn == 2) before = allocations.load();
        bytes.clear();
        ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &bytes).ok());
        ASSERT_TRUE(ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y)).ok());
      }
      EXPECT_EQ(allocations.load(), before) << row.example << " " << Name(direction);
    }
  }
}

// ecq remembers, but what a step needs is there after a few of them: rows of known ids, samples
// that were seen, two bands on two threads.
TEST(Allocation, NonePerFrameOfEcqAfterWarmUp) {
  for (const char* spec : {"ecq(db=16,predict=slot)", "ecq(db=16,predict=off)"}) {
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
