// Arbitrary bytes into every codec's decoder, and true frames that were damaged on the way: never a
// crash, never a value that is not finite, never a changed state after a refusal.
//
// Byte 0 chooses the spec, byte 1 the direction and width. The rest is steps: a length, flags, and
// that many bytes, which are a frame, or damage to what the peer's encoder sends.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "compression/codec.h"
#include "compression/codec_table.h"
#include "compression/part_table.h"

namespace isthmus {
namespace {

// Bits 1 and 2 choose how many samples a frame has.
enum StepFlag : uint8_t {
  kTraining = 1,
  kCommit = 8,
  kRollback = 16,
  kFromEncoder = 32,
  kRestore = 64,
  kKeyFrames = 128,
};

const std::vector<std::shared_ptr<const Codec>>& Codecs() {
  static const auto* codecs = [] {
    auto* all = new std::vector<std::shared_ptr<const Codec>>();
    for (const CodecRow& row : CodecTable()) all->push_back(*Codec::Parse(row.example));
    for (const char* spec : {"int(bits=1,group=tensor,sym)", "int(bits=5,group=channel)",
                             "int(bits=7,group=token,sym)", "aqsgd(bits=1,first=none,dtype=int8)",
                             "aqsgd(bits=4,first=fp16,dtype=bf16,capacity=2)",
                             "aqsgd(bits=3,group=tile)", "ecq(db=10,capacity=2,slots=3)",
                             "ecq(bits=1,predict=off)", "amaq(min=1,max=8,target=3,start=5)"}) {
      all->push_back(*Codec::Parse(spec));
    }
    for (const PartRow& row : PartTable()) all->push_back(*Codec::Parse(row.example));
    for (const char* spec :
         {"ecq(db=12,basis=4)", "ecq(db=12,basis=64,slots=3)", "int(bits=4,n=8)+rans",
          "int(bits=8,group=channel)+rans", "minifloat(e=2,m=1)+rans", "codebook(dynamic8)+rans",
          "policy(score=error,allocate=greedy,mean=4)+int(bits=4,n=8)+rans",
          "int(bits=5,group=channel,range=running)", "int(bits=8,group=tensor,range=running)+rans",
          "policy(score=position,allocate=threshold,over=0.3)+int(bits=4,n=8)"}) {
      all->push_back(*Codec::Parse(spec));
    }
    return all;
  }();
  return *codecs;
}

// Values of both signs and many sizes, other ones at every step.
std::vector<float> Values(size_t size, uint64_t step) {
  std::vector<float> x(size);
  for (size_t i = 0; i < size; ++i) {
    const uint32_t word = static_cast<uint32_t>(i + 1) * 2654435761u + static_cast<uint32_t>(step);
    x[i] = std::ldexp(static_cast<float>(word % 2001) - 1000.0f, static_cast<int>(i % 9) - 12);
  }
  return x;
}

// What `encoder` sends, after pairs of (place, changed bits) and a last single byte that cuts.
Bytes DamagedFrame(Encoder* encoder, const FrameContext& context, const std::vector<float>& x_TD,
                   absl::Span<const uint8_t> damage) {
  Bytes frame;
  if (!encoder->Encode(x_TD, context, &frame).ok() || frame.empty()) return frame;
  for (size_t i = 0; i + 1 < damage.size(); i += 2)
    frame[damage[i] % frame.size()] ^= damage[i + 1];
  if (damage.size() % 2 == 1) frame.resize(frame.size() - damage.back() % frame.size());
  return frame;
}

class Edge {
 public:
  Edge(std::unique_ptr<Encoder> encoder, std::unique_ptr<Decoder> decoder, int64_t width)
      : encoder_(std::move(encoder)), decoder_(std::move(decoder)), width_(width) {}

  void Step(uint8_t flags, absl::Span<const uint8_t> input) {
    const std::vector<SampleRows> samples = {{1, 0, 3}, {2, 3, 1}, {1, 4, 3}};
    const FrameContext context{step_, 0, (flags & kTraining) != 0,
                               absl::MakeSpan(samples).subspan(0, 1 + (flags >> 1) % 3)};
    const SampleRows& last = context.samples.back();
    const auto elements = static_cast<size_t>((last.begin + last.tokens) * width_);
    if ((flags & kFromEncoder) != 0) {
      Decode(DamagedFrame(encoder_.get(), context, Values(elements, step_), input), context,
             elements);
    } else {
      Decode(input, context, elements);
    }
    if ((flags & kRestore) != 0) (void)decoder_->Restore(input);
    if ((flags & kKeyFrames) != 0) encoder_->RequestKeyFrames();
    if ((flags & kCommit) != 0) {
      ISTHMUS_CHECK(encoder_->CommitStep(step_).ok());
      ISTHMUS_CHECK(decoder_->CommitStep(step_).ok());
    }
    if ((flags & kRollback) != 0) {
      ISTHMUS_CHECK(encoder_->RollbackStep().ok());
      ISTHMUS_CHECK(decoder_->RollbackStep().ok());
    }
    ++step_;
  }

 private:
  void Decode(absl::Span<const uint8_t> bytes, const FrameContext& context, size_t elements) {
    std::vector<float> out(elements);
    const uint64_t hash = decoder_->StateHash();
    const bool decoded = decoder_->Decode(bytes, context, absl::MakeSpan(out)).ok();
    if (!decoded || !context.training) ISTHMUS_CHECK(decoder_->StateHash() == hash);
    for (float v : out) ISTHMUS_CHECK(!decoded || std::isfinite(v));
  }

  const std::unique_ptr<Encoder> encoder_;
  const std::unique_ptr<Decoder> decoder_;
  const int64_t width_;
  uint64_t step_ = 0;
};

void Run(absl::Span<const uint8_t> input) {
  if (input.size() < 2) return;
  const std::shared_ptr<const Codec>& codec = Codecs()[input[0] % Codecs().size()];
  EdgeShape shape;
  shape.width = 1 + (input[1] >> 1) % 19;
  shape.direction =
      (input[1] & 1) != 0 && !codec->ForwardOnly() ? Direction::kBackward : Direction::kForward;
  auto encoder = codec->MakeEncoder(shape);
  auto decoder = codec->MakeDecoder(shape);
  ISTHMUS_CHECK(encoder.ok() == decoder.ok());
  if (!decoder.ok()) return;  // a composition that cannot serve this width
  Edge edge(*std::move(encoder), *std::move(decoder), shape.width);
  input.remove_prefix(2);
  while (input.size() >= 2) {
    const size_t length = std::min<size_t>(input.size() - 2, input[0]);
    edge.Step(input[1], input.subspan(2, length));
    input.remove_prefix(2 + length);
  }
}

}  // namespace
}  // namespace isthmus

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isthmus::Run({data, size});
  return 0;
}
