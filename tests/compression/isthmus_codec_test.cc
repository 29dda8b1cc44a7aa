// The C interface: what it refuses, and that it codes as the library behind it does.
#include "compression/isthmus_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "compression/isthmus_codec_handles.h"

namespace {

using isthmus_codec_handles::CodecHandle;
using isthmus_codec_handles::DecoderHandle;
using isthmus_codec_handles::EncoderHandle;
using ::testing::HasSubstr;

constexpr int64_t kWidth = 128, kTokens = 128;

isthmus_codec_edge Edge(bool backward = false) {
  isthmus_codec_edge edge = ISTHMUS_CODEC_EDGE_INIT;
  edge.width = kWidth;
  edge.backward = backward;
  edge.num_samples = 2;
  edge.max_sample_tokens = kTokens;
  edge.total_steps = 10;
  return edge;
}

isthmus_codec_frame Frame(uint64_t step) {
  isthmus_codec_frame frame = ISTHMUS_CODEC_FRAME_INIT;
  frame.step = step;
  return frame;
}

std::vector<float> Values(double phase) {
  std::vector<float> values;
  for (int i = 0; i < kTokens * kWidth; ++i)
    values.push_back(static_cast<float>(std::sin(0.37 * i + phase) + std::sin(0.011 * i)));
  return values;
}

// Both ends of an edge.
struct Pair {
  explicit Pair(const std::string& spec, bool backward = false)
      : codec(isthmus_codec_handles::Open(spec.c_str())) {
    const isthmus_codec_edge edge = Edge(backward);
    encoder = isthmus_codec_handles::MakeEncoder(codec, edge);
    decoder = isthmus_codec_handles::MakeDecoder(codec, edge);
  }
  isthmus_codec_status Send(const std::vector<float>& values, uint64_t step) {
    const isthmus_codec_frame frame = Frame(step);
    isthmus_codec_bytes view = {nullptr, 0};
    const auto status =
        isthmus_codec_encode(encoder.get(), values.data(), values.size(), &frame, &view);
    if (status != ISTHMUS_CODEC_OK) return status;
    bytes.assign(view.data, view.data + view.size);
    return Receive(step);
  }
  isthmus_codec_status Receive(uint64_t step) {
    const isthmus_codec_frame frame = Frame(step);
    decoded.resize(kTokens * kWidth);
    return isthmus_codec_decode(decoder.get(), bytes.data(), bytes.size(), &frame, decoded.data(),
                                decoded.size());
  }
  void Commit(uint64_t step) {
    EXPECT_EQ(isthmus_codec_encoder_commit(encoder.get(), step), ISTHMUS_CODEC_OK);
    EXPECT_EQ(isthmus_codec_decoder_commit(decoder.get(), step), ISTHMUS_CODEC_OK);
  }

  CodecHandle codec;
  EncoderHandle encoder;
  DecoderHandle decoder;
  std::vector<uint8_t> bytes;
  std::vector<float> decoded;
};

void ExpectRefused(isthmus_codec_status status, const std::string& words) {
  EXPECT_EQ(status, ISTHMUS_CODEC_INVALID_ARGUMENT);
  EXPECT_THAT(isthmus_codec_last_error(), HasSubstr(words));
}

TEST(CodecInterfaceTest, EveryCodecGoesThroughIt) {
  size_t codecs = 0;
  for (; isthmus_codec_example(codecs) != nullptr; ++codecs) {
    SCOPED_TRACE(isthmus_codec_example(codecs));
    Pair pair(isthmus_codec_example(codecs));
    ASSERT_NE(pair.decoder, nullptr) << isthmus_codec_last_error();
    EXPECT_STRNE(isthmus_codec_full_text(pair.codec.get()), "");
    for (uint64_t step = 1; step <= 2; ++step) {
      ASSERT_EQ(pair.Send(Values(0.1 * static_cast<double>(step)), step), ISTHMUS_CODEC_OK)
          << isthmus_codec_last_error();
      pair.Commit(step);
    }
    EXPECT_EQ(isthmus_codec_encoder_state_hash(pair.encoder.get()),
              isthmus_codec_decoder_state_hash(pair.decoder.get()));
  }
  EXPECT_GE(codecs, 17u);
}

TEST(CodecInterfaceTest, StateGoesOnAfterSnapshotAndRollback) {
  Pair pair("aqsgd(bits=4)");
  ASSERT_EQ(pair.Send(Values(0), 1), ISTHMUS_CODEC_OK);
  pair.Commit(1);
  isthmus_codec_bytes state = {nullptr, 0};
  Pair later("aqsgd(bits=4)");
  ASSERT_EQ(isthmus_codec_encoder_snapshot(pair.encoder.get(), &state), ISTHMUS_CODEC_OK);
  ASSERT_EQ(isthmus_codec_encoder_restore(later.encoder.get(), state.data, state.size),
            ISTHMUS_CODEC_OK);
  ASSERT_EQ(isthmus_codec_decoder_snapshot(pair.decoder.get(), &state), ISTHMUS_CODEC_OK);
  ASSERT_EQ(isthmus_codec_decoder_restore(later.decoder.get(), state.data, state.size),
            ISTHMUS_CODEC_OK);

  ASSERT_EQ(pair.Send(Values(0.1), 2), ISTHMUS_CODEC_OK);
  const std::vector<uint8_t> delta = pair.bytes;
  ASSERT_EQ(isthmus_codec_encoder_rollback(pair.encoder.get()), ISTHMUS_CODEC_OK);
  ASSERT_EQ(isthmus_codec_decoder_rollback(pair.decoder.get()), ISTHMUS_CODEC_OK);
  for (Pair* again : {&pair, &later}) {
    ASSERT_EQ(again->Send(Values(0.1), 2), ISTHMUS_CODEC_OK);
    EXPECT_EQ(again->bytes, delta);
  }

  // A decoder without the state asks for a key frame; then both go on.
  Pair fresh("aqsgd(bits=4)");
  fresh.bytes = delta;
  EXPECT_EQ(fresh.Receive(2), ISTHMUS_CODEC_DATA_LOSS);
  EXPECT_STRNE(isthmus_codec_last_error(), "");
  pair.Commit(2);
  ASSERT_EQ(isthmus_codec_encoder_request_key_frames(pair.encoder.get()), ISTHMUS_CODEC_OK);
  ASSERT_EQ(isthmus_codec_decoder_request_key_frames(pair.decoder.get()), ISTHMUS_CODEC_OK);
  EXPECT_EQ(pair.Send(Values(0.2), 3), ISTHMUS_CODEC_OK) << isthmus_codec_last_error();
}

TEST(CodecInterfaceTest, RefusesWrongSpecsAndShapes) {
  isthmus_codec* codec = nullptr;
  ExpectRefused(isthmus_codec_open("zip9", &codec), "isthmus_codec_open: ");
  ExpectRefused(isthmus_codec_open(nullptr, &codec), "NULL");
  ExpectRefused(isthmus_codec_open("int4", nullptr), "NULL");
  const CodecHandle int4 = isthmus_codec_handles::Open("int4");
  isthmus_codec_encoder* encoder = nullptr;
  isthmus_codec_edge edge = Edge();
  edge.width = 0;
  ExpectRefused(isthmus_codec_encoder_new(int4.get(), &edge, &encoder), "width");
  edge = Edge();
  edge.struct_size -= 8;
  ExpectRefused(isthmus_codec_encoder_new(int4.get(), &edge, &encoder), "struct_size");
  edge = Edge();
  edge.num_samples = -1;
  ExpectRefused(isthmus_codec_encoder_new(int4.get(), &edge, &encoder), "negative");
  ExpectRefused(isthmus_codec_encoder_new(int4.get(), nullptr, &encoder), "NULL");
  ExpectRefused(isthmus_codec_encoder_new(nullptr, &edge, &encoder), "NULL");
  const CodecHandle aqsgd = isthmus_codec_handles::Open("aqsgd(bits=4)");
  EXPECT_EQ(isthmus_codec_forward_only(aqsgd.get()), 1);
  edge = Edge(true);
  ExpectRefused(isthmus_codec_encoder_new(aqsgd.get(), &edge, &encoder), "aqsgd");
  EXPECT_EQ(encoder, nullptr);
}

TEST(CodecInterfaceTest, RefusesWrongFrames) {
  Pair pair("int4");
  const std::vector<float> values = Values(0);
  isthmus_codec_bytes bytes = {nullptr, 0};
  isthmus_codec_frame frame = Frame(1);
  const auto encode = [&](size_t count) {
    return isthmus_codec_encode(pair.encoder.get(), values.data(), count, &frame, &bytes);
  };
  ExpectRefused(encode(kWidth + 1), "values");
  const uint32_t ids[3] = {};
  frame.row_ids = ids;
  frame.num_row_ids = 3;
  ExpectRefused(encode(values.size()), "row id");
  frame = Frame(1);
  frame.num_samples = 1;
  ExpectRefused(encode(values.size()), "NULL");
  const isthmus_codec_rows gap = {7, 1, kTokens};
  frame.samples = &gap;
  ExpectRefused(encode(values.size()), "row order");
  frame = Frame(1);
  frame.struct_size = 0;
  ExpectRefused(encode(values.size()), "struct_size");
  std::vector<float> infinite = values;
  infinite[kWidth + 2] = INFINITY;
  ExpectRefused(pair.Send(infinite, 1), "token 1, channel 2");

  ASSERT_EQ(pair.Send(values, 1), ISTHMUS_CODEC_OK);
  const std::vector<uint8_t> whole = pair.bytes;
  for (size_t size = 0; size < whole.size(); size += 97) {
    pair.bytes.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(pair.Receive(1), ISTHMUS_CODEC_INVALID_ARGUMENT) << size;
  }
  pair.bytes = whole;
  EXPECT_EQ(pair.Receive(1), ISTHMUS_CODEC_OK);
  ExpectRefused(isthmus_codec_encoder_set_quality_offset(pair.encoder.get(), NAN), "dB");
}

TEST(CodecInterfaceTest, NullHandlesDoNothing) {
  isthmus_codec_close(nullptr);
  isthmus_codec_encoder_free(nullptr);
  isthmus_codec_decoder_free(nullptr);
  ExpectRefused(isthmus_codec_encoder_commit(nullptr, 1), "NULL");
  ExpectRefused(isthmus_codec_decoder_rollback(nullptr), "NULL");
  EXPECT_EQ(isthmus_codec_encoder_state_bytes(nullptr), 0);
  EXPECT_STREQ(isthmus_codec_full_text(nullptr), "");
}

}  // namespace
