// Frames of made-up activations for the codec tests.
#ifndef ISTHMUS_TESTS_COMPRESSION_FRAMES_H_
#define ISTHMUS_TESTS_COMPRESSION_FRAMES_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "compression/codec.h"

namespace isthmus {

// Gaussian values with a scale per channel, as a residual stream has.
inline std::vector<float> Values(uint64_t seed, int64_t tokens, int64_t width, float size = 1.0f) {
  static const auto* pool = [] {
    auto* normals = new std::vector<float>(1 << 18);
    CounterRng rng(RandomKey(1, "test.values"));
    for (float& v : *normals) v = static_cast<float>(rng.NextNormal());
    return normals;
  }();
  std::vector<float> x(static_cast<size_t>(tokens * width));
  const uint64_t start = RandomKey(seed, "test.start");
  for (size_t i = 0; i < x.size(); ++i) {
    const float channel = 0.25f + static_cast<float>(i % static_cast<size_t>(width) % 7) * 0.5f;
    x[i] = size * channel * (*pool)[(start + i) % pool->size()];
  }
  return x;
}

inline double Energy(const std::vector<float>& x) {
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * v;
  return sum;
}

// Signal to noise in dB.
inline double Snr(const std::vector<float>& x, const std::vector<float>& y) {
  double noise = 0;
  for (size_t i = 0; i < x.size(); ++i)
    noise += (static_cast<double>(x[i]) - y[i]) * (static_cast<double>(x[i]) - y[i]);
  return 10 * std::log10(Energy(x) / std::max(noise, 1e-300));
}

struct TestFrame {
  std::vector<SampleRows> samples;
  FrameContext context;
  int64_t tokens = 0;

  // ids and lengths; the context points into this object, so it stays where it is.
  void Set(const std::vector<std::pair<uint64_t, int64_t>>& rows, uint64_t step = 0,
           uint32_t micro_batch = 0, bool training = true) {
    samples.clear();
    tokens = 0;
    for (const auto& [id, length] : rows) {
      samples.push_back({id, tokens, length});
      tokens += length;
    }
    context = {step, micro_batch, training, samples};
  }
};

// The two ends of one direction of one edge.
struct Ends {
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<Decoder> decoder;
};

inline Ends MakeEnds(const std::string& spec, const EdgeShape& shape) {
  auto codec = Codec::Parse(spec);
  EXPECT_TRUE(codec.ok()) << codec.status();
  auto encoder = (*codec)->MakeEncoder(shape);
  auto decoder = (*codec)->MakeDecoder(shape);
  EXPECT_TRUE(encoder.ok()) << encoder.status();
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  return {*std::move(encoder), *std::move(decoder)};
}

// Encodes and decodes; the bytes go to *wire when it is not null.
inline std::vector<float> Through(const Ends& ends, const std::vector<float>& x,
                                  const FrameContext& context, Bytes* wire = nullptr) {
  Bytes bytes;
  const auto size = ends.encoder->Encode(x, context, &bytes);
  EXPECT_TRUE(size.ok()) << size.status();
  if (size.ok()) {
    EXPECT_EQ(static_cast<size_t>(size->payload_bytes + size->side_bytes), bytes.size());
  }
  std::vector<float> y(x.size(), -99.0f);
  const absl::Status decoded = ends.decoder->Decode(bytes, context, absl::MakeSpan(y));
  EXPECT_TRUE(decoded.ok()) << decoded;
  if (wire != nullptr) *wire = std::move(bytes);
  return y;
}

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_COMPRESSION_FRAMES_H_
