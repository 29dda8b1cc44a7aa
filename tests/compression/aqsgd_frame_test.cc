#include "compression/aqsgd_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frames.h"

namespace isthmus {
namespace {

EdgeShape StoreShape(int64_t width = 64) {
  EdgeShape shape;
  shape.width = width;
  shape.num_samples = 8;
  shape.max_sample_tokens = 100;
  return shape;
}

// A stream whose values move by `rate` of their size between visits.
struct DriftingSample {
  std::vector<float> x;
  int64_t tokens, width;
  DriftingSample(int64_t t, int64_t w) : x(Values(1, t, w)), tokens(t), width(w) {}
  void Move(uint64_t visit, float rate) {
    const std::vector<float> d = Values(500 + visit, tokens, width, rate);
    for (size_t i = 0; i < x.size(); ++i) x[i] += d[i];
  }
};

TEST(Aqsgd, BeatsDirectCodingOnADriftingStreamFromTheSecondVisit) {
  for (const char* group : {"channel", "token", "tile"}) {
    const Ends ends = MakeEnds(absl::StrCat("aqsgd(bits=2,group=", group, ")"), StoreShape());
    const Ends direct = MakeEnds(absl::StrCat("int(bits=2,group=", group, ")"), StoreShape());
    DriftingSample sample(60, 64);
    TestFrame frame;
    frame.Set({{3, 60}});
    Through(ends, sample.x, frame.context);
    for (uint64_t visit = 1; visit < 10; ++visit) {
      sample.Move(visit, 0.05f);
      EXPECT_GE(Snr(sample.x, Through(ends, sample.x, frame.context)),
                Snr(sample.x, Through(direct, sample.x, frame.context)) + 10.0)
          << group << " visit " << visit;
    }
  }
}

TEST(Aqsgd, ConvergesToAFrozenActivationAtEveryWidth) {
  for (int bits = 1; bits <= 8; ++bits) {
    const Ends ends = MakeEnds(absl::StrCat("aqsgd(bits=", bits, ")"), StoreShape());
    TestFrame frame;
    frame.Set({{3, 60}});
    const std::vector<float> x = Values(4, 60, 64);
    double last = Snr(x, Through(ends, x, frame.context));
    EXPECT_GE(last, 38.0);
    for (int visit = 0; visit < 8; ++visit) {
      const double now = Snr(x, Through(ends, x, frame.context));
      if (last < 110) {  // fp32 itself ends near 140 dB
        EXPECT_GE(now, last + (bits == 1 ? 1.0 : 4.0 * bits - 3.0))
            << bits << " bits, visit " << visit;
      }
      last = now;
    }
  }
}

TEST(Aqsgd, AnUnchangedSampleCostsAByte) {
  const Ends ends = MakeEnds("aqsgd(bits=4,first=none)", StoreShape());
  TestFrame frame;
  frame.Set({{3, 60}});
  const std::vector<float> x = Values(4, 60, 64);
  Through(ends, x, frame.context);
  Bytes wire;
  EXPECT_EQ(Through(ends, x, frame.context, &wire), x);
  EXPECT_EQ(wire.size(), 2u);  // flags, head
}

// One sink token whose values are 300 times the rest's must not cost the other tokens their
// accuracy.
TEST(Aqsgd, ASinkTokenDoesNotSetTheRangeOfTheOthers) {
  const Ends ends = MakeEnds("aqsgd(bits=2)", StoreShape());
  TestFrame frame;
  frame.Set({{3, 60}});
  std::vector<float> x = Values(4, 60, 64);
  for (size_t c = 0; c < 64; ++c) x[c] *= 300.0f;
  Through(ends, x, frame.context);
  std::vector<float> y;
  for (int visit = 0; visit < 4; ++visit) y = Through(ends, x, frame.context);
  const std::vector<float> rest_x(x.begin() + 64, x.end()), rest_y(y.begin() + 64, y.end());
  EXPECT_GE(Snr(rest_x, rest_y), 60.0);
}

TEST(Aqsgd, ASampleThatChangedBeyondRecognitionIsCodedAnew) {
  const Ends ends = MakeEnds("aqsgd(bits=2)", StoreShape());
  TestFrame frame;
  frame.Set({{3, 60}});
  Through(ends, Values(4, 60, 64, 10.0f), frame.context);
  Bytes bytes;
  const auto size = ends.encoder->Encode(Values(5, 60, 64), frame.context, &bytes);
  ASSERT_TRUE(size.ok());
  EXPECT_EQ(size->key_frames, 1);
}

TEST(Aqsgd, TheSecondVisitOfASampleInOneFrameSeesTheFirst) {
  const Ends ends = MakeEnds("aqsgd(bits=4)", StoreShape());
  TestFrame frame;
  frame.Set({{3, 30}, {3, 30}});
  std::vector<float> x = Values(4, 30, 64);
  x.insert(x.end(), x.begin(), x.begin() + 30 * 64);
  Bytes bytes;
  const auto size = ends.encoder->Encode(x, frame.context, &bytes);
  ASSERT_TRUE(size.ok());
  EXPECT_EQ(size->key_frames, 1);
  std::vector<float> y(x.size());
  ASSERT_TRUE(ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y)).ok());
  const auto half = static_cast<std::ptrdiff_t>(x.size() / 2);
  const std::vector<float> x0(x.begin(), x.begin() + half);
  EXPECT_GE(Snr(x0, std::vector<float>(y.begin() + half, y.end())),
            Snr(x0, std::vector<float>(y.begin(), y.begin() + half)) + 15);
}

TEST(Aqsgd, LostAndReorderedChangesAreDataLossUntilKeyFramesCame) {
  const Ends ends = MakeEnds("aqsgd(bits=4)", StoreShape());
  TestFrame frame;
  frame.Set({{3, 30}});
  std::vector<Bytes> wire(4);
  std::vector<float> y(30 * 64);
  for (uint64_t i = 0; i < 4; ++i)
    ASSERT_TRUE(ends.encoder->Encode(Values(i, 30, 64), frame.context, &wire[i]).ok());
  const auto decode = [&](const Bytes& bytes) {
    return ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y));
  };
  ASSERT_TRUE(decode(wire[0]).ok());
  // Values(i) of unequal seeds are unrelated, but their change is smaller than the sample often
  // enough to be coded as one.
  DriftingSample sample(30, 64);
  const Ends pair = MakeEnds("aqsgd(bits=4)", StoreShape());
  std::vector<Bytes> deltas(4);
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(pair.encoder->Encode(sample.x, frame.context, &deltas[i]).ok());
    sample.Move(i, 0.05f);
  }
  const auto take = [&](const Bytes& bytes) {
    return pair.decoder->Decode(bytes, frame.context, absl::MakeSpan(y));
  };
  EXPECT_EQ(take(deltas[1]).code(), absl::StatusCode::kDataLoss);  // before its key frame
  ASSERT_TRUE(take(deltas[0]).ok());
  EXPECT_EQ(take(deltas[2]).code(), absl::StatusCode::kDataLoss);  // one was lost
  ASSERT_TRUE(take(deltas[1]).ok());
  EXPECT_EQ(take(deltas[1]).code(), absl::StatusCode::kDataLoss);  // twice
  ASSERT_TRUE(take(deltas[2]).ok());
  ASSERT_TRUE(take(deltas[3]).ok());
  EXPECT_EQ(pair.encoder->StateHash(), pair.decoder->StateHash());

  pair.decoder->RequestKeyFrames();
  Bytes delta, key;
  ASSERT_TRUE(pair.encoder->Encode(sample.x, frame.context, &delta).ok());
  EXPECT_EQ(take(delta).code(), absl::StatusCode::kDataLoss);
  pair.encoder->RequestKeyFrames();
  const auto size = pair.encoder->Encode(sample.x, frame.context, &key);
  ASSERT_TRUE(size.ok());
  EXPECT_EQ(size->key_frames, 1);
  EXPECT_TRUE(take(key).ok());
  EXPECT_EQ(pair.encoder->StateHash(), pair.decoder->StateHash());
}

TEST(Aqsgd, KeyFramesOfOneEndMakeTheOtherForget) {
  const Ends ends = MakeEnds("aqsgd(bits=4,capacity=3)", StoreShape());
  TestFrame frame;
  for (uint64_t id = 0; id < 3; ++id) {
    frame.Set({{id, 10}});
    Through(ends, Values(id, 10, 64), frame.context);
  }
  ends.encoder->RequestKeyFrames();
  frame.Set({{1, 10}});
  Through(ends, Values(1, 10, 64), frame.context);
  EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
  // The request outlives a rollback: the frame that carried it was taken back.
  ASSERT_TRUE(ends.encoder->RollbackStep().ok());
  ASSERT_TRUE(ends.decoder->RollbackStep().ok());
  frame.Set({{2, 10}});
  Through(ends, Values(2, 10, 64), frame.context);
  EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
}

TEST(Aqsgd, TheCheckFindsAStoreThatDriftedApart) {
  const Ends ends = MakeEnds("aqsgd(bits=4,first=none)", StoreShape());
  const Ends other = MakeEnds("aqsgd(bits=4,first=none)", StoreShape());
  TestFrame frame;
  frame.Set({{3, 30}});
  DriftingSample sample(30, 64), wrong(30, 64);
  wrong.x[100] += 0.001f;  // the decoder starts from another key frame
  std::vector<float> y(sample.x.size());
  Bytes key, wrong_key;
  ASSERT_TRUE(ends.encoder->Encode(sample.x, frame.context, &key).ok());
  ASSERT_TRUE(other.encoder->Encode(wrong.x, frame.context, &wrong_key).ok());
  ASSERT_TRUE(ends.decoder->Decode(wrong_key, frame.context, absl::MakeSpan(y)).ok());
  int frames = 1;
  absl::Status status;
  for (; status.ok() && frames < 40; ++frames) {
    sample.Move(static_cast<uint64_t>(frames), 0.02f);
    Bytes bytes;
    ASSERT_TRUE(ends.encoder->Encode(sample.x, frame.context, &bytes).ok());
    status = ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y));
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(frames, 16);
}

TEST(Aqsgd, SizesAreExactForFullSamples) {
  for (const char* spec : {"aqsgd(bits=4)", "aqsgd(bits=4,dtype=bf16)",
                           "aqsgd(bits=4,dtype=int8,capacity=5)", "aqsgd(bits=4,store=mmap)"}) {
    EdgeShape shape = StoreShape(33);
    shape.state_dir = testing::TempDir();
    const Ends ends = MakeEnds(spec, shape);
    TestFrame frame;
    for (uint64_t id = 0; id < 8; ++id) {
      frame.Set({{id, 100}});
      Through(ends, Values(id, 100, 33), frame.context);
    }
    const Codec::StateSize size = (*Codec::Parse(spec))->StateSizeFor(shape);
    EXPECT_EQ(ends.encoder->StateBytes(), size.ram_bytes + size.file_bytes) << spec;
    EXPECT_EQ(ends.decoder->StateBytes(), size.ram_bytes + size.file_bytes) << spec;
    EXPECT_EQ(size.file_bytes > 0, std::string(spec).find("mmap") != std::string::npos);
  }
}

TEST(Aqsgd, SaysWhatItCannotServe) {
  EdgeShape shape = StoreShape();
  shape.direction = Direction::kBackward;
  const auto codec = *Codec::Parse("aqsgd(bits=4)");
  EXPECT_THAT(std::string(codec->MakeEncoder(shape).status().message()),
              testing::HasSubstr("forward"));
  shape = StoreShape();
  const auto mapped = *Codec::Parse("aqsgd(bits=4,store=mmap)");
  EXPECT_THAT(std::string(mapped->MakeDecoder(shape).status().message()),
              testing::HasSubstr("state folder"));
  const Ends ends = MakeEnds("aqsgd(bits=4)", shape);
  TestFrame frame;
  frame.Set({{1, 101}});
  Bytes out;
  EXPECT_EQ(ends.encoder->Encode(Values(1, 101, 64), frame.context, &out).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Aqsgd, TrueBitsOfFirstAndLaterVisits) {
  const Ends ends = MakeEnds("aqsgd(bits=2)", StoreShape());
  DriftingSample sample(100, 64);
  TestFrame frame;
  frame.Set({{1, 100}});
  Bytes first, later;
  Through(ends, sample.x, frame.context, &first);
  sample.Move(1, 0.05f);
  Through(ends, sample.x, frame.context, &later);
  EXPECT_NEAR(BitsPerElement(static_cast<int64_t>(first.size()), 6400), 8.25, 0.02);
  EXPECT_NEAR(BitsPerElement(static_cast<int64_t>(later.size()), 6400), 2.32, 0.02);
}

}  // namespace
}  // namespace isthmus
