// A codec with memory, over epochs: every visit of a sample sends only what changed since the last
// one. Also what a job does when it stops and goes on: snapshot and restore at a step's end.
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "isthmus_codec_handles.h"

namespace {

using isthmus_codec_handles::CodecHandle;
using isthmus_codec_handles::DecoderHandle;
using isthmus_codec_handles::EncoderHandle;

constexpr int kSamples = 4, kTokens = 64, kWidth = 128, kEpochs = 3;

int Fail() {
  std::fprintf(stderr, "codec_epochs: %s\n", isthmus_codec_last_error());
  return 1;
}

// One frame of all samples, from one end to the other; its bytes, or 0 after an error.
size_t Send(isthmus_codec_encoder* encoder, isthmus_codec_decoder* decoder, uint64_t step,
            const std::vector<float>& values, std::vector<float>* decoded) {
  std::vector<isthmus_codec_rows> samples;
  for (uint64_t i = 0; i < kSamples; ++i)
    samples.push_back({i, static_cast<int64_t>(i) * kTokens, kTokens});
  isthmus_codec_frame frame = ISTHMUS_CODEC_FRAME_INIT;
  frame.step = step;
  frame.samples = samples.data();
  frame.num_samples = samples.size();
  isthmus_codec_bytes bytes = {nullptr, 0};
  const bool sent =
      isthmus_codec_encode(encoder, values.data(), values.size(), &frame, &bytes) == 0 &&
      isthmus_codec_decode(decoder, bytes.data, bytes.size, &frame, decoded->data(),
                           decoded->size()) == 0 &&
      isthmus_codec_encoder_commit(encoder, step) == 0 &&
      isthmus_codec_decoder_commit(decoder, step) == 0;
  return sent ? bytes.size : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const CodecHandle codec = isthmus_codec_handles::Open(argc > 1 ? argv[1] : "aqsgd(bits=4)");
  isthmus_codec_edge edge = ISTHMUS_CODEC_EDGE_INIT;
  edge.width = kWidth;
  edge.num_samples = kSamples;
  edge.max_sample_tokens = kTokens;
  if (codec == nullptr) return Fail();
  EncoderHandle encoder = isthmus_codec_handles::MakeEncoder(codec, edge);
  const DecoderHandle decoder = isthmus_codec_handles::MakeDecoder(codec, edge);
  if (encoder == nullptr || decoder == nullptr) return Fail();

  std::mt19937 random(1);
  std::normal_distribution<float> gaussian;
  std::vector<float> values(kSamples * kTokens * kWidth), decoded(values.size());
  for (float& value : values) value = gaussian(random);
  for (uint64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    const size_t size = Send(encoder.get(), decoder.get(), epoch, values, &decoded);
    if (size == 0) return Fail();
    std::printf("epoch %d: %.3f bits/element, state of one end %lld bytes, ends %s\n",
                static_cast<int>(epoch), 8.0 * static_cast<double>(size) / values.size(),
                static_cast<long long>(isthmus_codec_encoder_state_bytes(encoder.get())),
                isthmus_codec_encoder_state_hash(encoder.get()) ==
                        isthmus_codec_decoder_state_hash(decoder.get())
                    ? "agree"
                    : "differ");
    for (float& value : values) value += 0.05f * gaussian(random);

    isthmus_codec_bytes state = {nullptr, 0};
    if (isthmus_codec_encoder_snapshot(encoder.get(), &state) != 0) return Fail();
    EncoderHandle later = isthmus_codec_handles::MakeEncoder(codec, edge);
    if (isthmus_codec_encoder_restore(later.get(), state.data, state.size) != 0) return Fail();
    encoder = std::move(later);
  }
  return 0;
}
