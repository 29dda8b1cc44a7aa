// pin(tokens): the first tokens of every sample travel in bf16 and are kept out of everything
// behind. The first token of a sequence is the sink of trained decoders, 100 to 1000 times the rest
// (MixDQ, arXiv 2405.17873, treats it so; STaMP keeps it out of its transform).
//
// Side information: the pinned rows in bf16, in order. Which they are, both ends know.
#include <algorithm>
#include <cstring>
#include <memory>

#include "compression/kernels.h"
#include "compression/part_table.h"
#include "compression/scratch.h"

namespace isthmus {
namespace {

class PinSidecar final : public Sidecar {
 public:
  explicit PinSidecar(int64_t tokens) : tokens_(tokens) {}

  void TakeOut(PartFrame* frame, float* x, Bytes* side) override {
    Split(*frame);
    const size_t width = frame->width, pinned = frame->rows - rows_left_;
    uint16_t* stored = Room(&stored_, pinned * width);
    size_t to = 0, taken = 0;
    for (const SampleRows& sample : before_) {
      const auto begin = static_cast<size_t>(sample.begin), count = Pinned(sample);
      Bf16FromFloats(x + begin * width, count * width, stored + taken * width);
      taken += count;
      const size_t rest = static_cast<size_t>(sample.tokens) - count;
      std::memmove(x + to * width, x + (begin + count) * width, rest * width * sizeof(float));
      to += rest;
    }
    const size_t at = side->size();
    side->resize(at + 2 * pinned * width);
    if (pinned > 0) std::memcpy(side->data() + at, stored, 2 * pinned * width);
    Leave(frame);
  }

  absl::Status Read(PartFrame* frame, ByteReader* side) override {
    Split(*frame);
    const size_t n = (frame->rows - rows_left_) * frame->width;
    ISTHMUS_ASSIGN_OR_RETURN(const absl::Span<const uint8_t> bytes, side->GetBytes(2 * n));
    if (n > 0) std::memcpy(Room(&stored_, n), bytes.data(), 2 * n);
    if (FloatsFromBf16(stored_.data(), n, Room(&pinned_, n)) >= 0x7F80u)
      return CorruptPart("pin", "finite values", "others");
    Leave(frame);
    return absl::OkStatus();
  }

  // From the last sample, because rows only move towards the end.
  void PutBack(float* x) override {
    size_t from = rows_left_, taken = 0;
    for (const SampleRows& sample : before_) taken += Pinned(sample);
    for (size_t i = before_.size(); i-- > 0;) {
      const SampleRows& sample = before_[i];
      const auto begin = static_cast<size_t>(sample.begin), count = Pinned(sample);
      const size_t rest = static_cast<size_t>(sample.tokens) - count;
      from -= rest;
      taken -= count;
      std::memmove(x + (begin + count) * width_, x + from * width_, rest * width_ * sizeof(float));
      std::memcpy(x + begin * width_, pinned_.data() + taken * width_,
                  count * width_ * sizeof(float));
    }
  }

 private:
  size_t Pinned(const SampleRows& sample) const {
    return static_cast<size_t>(std::min(tokens_, sample.tokens));
  }
  void Split(const PartFrame& frame) {
    width_ = frame.width;
    before_.assign(frame.samples.begin(), frame.samples.end());
    after_.clear();
    rows_left_ = 0;
    for (const SampleRows& sample : before_) {
      const int64_t rest = sample.tokens - static_cast<int64_t>(Pinned(sample));
      after_.push_back({sample.sample, static_cast<int64_t>(rows_left_), rest});
      rows_left_ += static_cast<size_t>(rest);
    }
  }
  void Leave(PartFrame* frame) const {
    frame->samples = after_;
    frame->rows = rows_left_;
  }

  int64_t tokens_;
  size_t width_ = 0, rows_left_ = 0;
  std::vector<SampleRows> before_, after_;
  std::vector<uint16_t> stored_;
  std::vector<float> pinned_;
};

class PinSpec final : public PartSpec {
 public:
  explicit PinSpec(int64_t tokens) : tokens_(tokens) {}
  std::string canonical() const override { return absl::StrCat("pin(tokens=", tokens_, ")"); }
  std::unique_ptr<Sidecar> MakeSidecar(const EdgeShape&) const override {
    return std::make_unique<PinSidecar>(tokens_);
  }

 private:
  int64_t tokens_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PartSpec>> MakePinPart(const SpecPart& part) {
  ISTHMUS_ASSIGN_OR_RETURN(const SpecArguments arguments, SpecArguments::Bind(part, {"tokens"}));
  ISTHMUS_ASSIGN_OR_RETURN(const int64_t tokens, arguments.Int("tokens", 1, 1 << 20, 1));
  return std::make_shared<PinSpec>(tokens);
}

}  // namespace isthmus
