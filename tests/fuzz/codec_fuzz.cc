// Arbitrary bytes into every codec's decoder: never a crash, never a value that is not finite,
// never a changed state after a refusal. Byte 0 chooses the spec, byte 1 the direction and shape;
// the rest is frames, cut by their first two bytes.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "compression/codec.h"
#include "compression/codec_table.h"

namespace isthmus {
namespace {

const std::vector<std::shared_ptr<const Codec>>& Codecs() {
  static const auto* codecs = [] {
    auto* all = new std::vector<std::shared_ptr<const Codec>>();
    for (const CodecRow& row : CodecTable()) all->push_back(*Codec::Parse(row.example));
    for (const char* spec : {"int(bits=1,group=tensor,sym)", "int(bits=5,group=channel)",
                             "int(bits=7,group=token,sym)", "aqsgd(bits=1,first=none,dtype=int8)",
                             "aqsgd(bits=4,first=fp16,dtype=bf16,capacity=2)",
                             "aqsgd(bits=3,group=tile)", "amaq(min=1,max=8,target=3,start=5)"}) {
      all->push_back(*Codec::Parse(spec));
    }
    return all;
  }();
  return *codecs;
}

void Run(const uint8_t* data, size_t size) {
  if (size < 2) return;
  const std::shared_ptr<const Codec>& codec = Codecs()[data[0] % Codecs().size()];
  EdgeShape shape;
  shape.width = 1 + (data[1] >> 1) % 19;
  shape.direction =
      (data[1] & 1) != 0 && !codec->ForwardOnly() ? Direction::kBackward : Direction::kForward;
  const std::unique_ptr<Decoder> decoder = *codec->MakeDecoder(shape);
  data += 2;
  size -= 2;
  std::vector<SampleRows> samples = {{1, 0, 3}, {2, 3, 1}, {1, 4, 3}};
  for (uint64_t step = 0; size >= 2; ++step) {
    const size_t length = std::min<size_t>(size - 2, data[0]);
    const FrameContext context{step, 0, (data[1] & 1) != 0,
                               absl::MakeSpan(samples).subspan(0, 1 + (data[1] >> 1) % 3)};
    std::vector<float> out(
        static_cast<size_t>(context.samples.back().begin + context.samples.back().tokens) *
        static_cast<size_t>(shape.width));
    const uint64_t hash = decoder->StateHash();
    const bool decoded = decoder->Decode({data + 2, length}, context, absl::MakeSpan(out)).ok();
    if (!decoded || !context.training) ISTHMUS_CHECK(decoder->StateHash() == hash);
    for (float v : out) ISTHMUS_CHECK(!decoded || std::isfinite(v));
    if ((data[1] & 8) != 0) ISTHMUS_CHECK(decoder->CommitStep(step).ok());
    if ((data[1] & 16) != 0) ISTHMUS_CHECK(decoder->RollbackStep().ok());
    if ((data[1] & 64) != 0) (void)decoder->Restore({data + 2, length});
    data += 2 + length;
    size -= 2 + length;
  }
}

}  // namespace
}  // namespace isthmus

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isthmus::Run(data, size);
  return 0;
}
