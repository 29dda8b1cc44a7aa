// What every codec promises, over every row of the table and further specs, in both directions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "compression/codec_table.h"
#include "compression/part_table.h"
#include "frames.h"

namespace isthmus {
namespace {

struct Case {
  std::string spec;
  Direction direction;
  double least_snr;  // of Gaussian values on a first visit
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.spec << " " << Name(c.direction); }

double LeastSnr(const std::string& spec) {
  if (spec.find("bits=1") != std::string::npos) return -2.0;
  if (spec.find("bits=2") != std::string::npos && spec.find("aqsgd") == std::string::npos)
    return -2.0;
  if (spec.find("bits=3") != std::string::npos) return 6.0;
  if (spec.find("bits=4") != std::string::npos || spec == "int4") return 12.0;
  return spec == "none" ? 200.0 : 18.0;
}

std::vector<Case> Cases() {
  std::vector<std::string> specs;
  for (const CodecRow& row : CodecTable()) specs.emplace_back(row.example);
  for (const PartRow& row : PartTable()) specs.emplace_back(row.example);
  for (const char* group : {"tensor", "channel", "token", "tile"}) {
    for (int bits = 1; bits <= 8; ++bits) {
      for (const char* form : {"sym", "asym"}) {
        specs.push_back(absl::StrCat("int(bits=", bits, ",group=", group, ",", form, ")"));
      }
    }
  }
  for (const char* spec :
       {"int(bits=4,group=tile,n=7,round=stochastic)",
        "int(bits=3,group=channel,round=stochastic)",
        "int(bits=5,group=token,sym,range=rms)",
        "int(bits=8,group=tensor,round=nearest)",
        "aqsgd(bits=1)",
        "aqsgd(bits=4,first=fp16,dtype=bf16)",
        "aqsgd(bits=3,first=none,dtype=int8)",
        "aqsgd(bits=8,group=token,capacity=2)",
        "aqsgd(bits=4,group=tile)",
        "aqsgd(bits=5,group=tensor)",
        "aqsgd(bits=4,store=mmap)",
        "aqsgd(bits=2,store=mmap,dtype=int8,capacity=2)",
        "amaq(min=1,max=8,target=3,start=5)",
        "amaq(min=2,max=8,target=3,gate=softmax)",
        "hadamard(block=128)+int(bits=8,group=token,sym)",
        "hadamard(block=4,pivot)+int(bits=4)",
        "policy(score=loss,allocate=greedy,low=3,mean=5)+int(bits=4,t=8,n=4)",
        "policy(score=position,allocate=threshold,over=0.1,high=8,low=5)+int(bits=5,group=token)",
        "int(bits=4,group=channel,range=running,every=3)",
        "int(bits=8,group=tensor,sym,range=running)",
        "int(bits=6,group=channel,range=running)+rans",
        "int(bits=8,group=token,sym)+rans",
        "int(bits=5,group=channel)+rans",
        "int(bits=8,group=tensor)+rans",
        "policy(score=error,allocate=greedy,mean=5)+int(bits=4)+rans",
        "minifloat(e=2,m=1)+rans",
        "codebook(dynamic8)+rans",
        "ecq(db=20,basis=16)",
        "ecq(db=20,sens=on)",
        "ecq(db=20,store=mmap)",
        "ecq(db=20,sens=gates)",
        "center(token)+int(bits=4,group=channel)",
        "center(channel)+hadamard(16)+int(5,tensor)"}) {
    specs.emplace_back(spec);
  }
  std::vector<Case> cases;
  for (const std::string& spec : specs) {
    for (Direction direction : {Direction::kForward, Direction::kBackward}) {
      if (direction == Direction::kBackward && (*Codec::Parse(spec))->ForwardOnly()) continue;
      // Stochastic rounding has four times the error energy of nearest; a first visit of aqsgd is 8
      // bits or better.
      const double backward = direction == Direction::kBackward ? 7.0 : 0.0;
      cases.push_back(
          {spec, direction, (spec.substr(0, 5) == "aqsgd" ? 30.0 : LeastSnr(spec)) - backward});
    }
  }
  return cases;
}

class CodecContract : public testing::TestWithParam<Case> {
 protected:
  static constexpr int64_t kWidth = 37;

  void SetUp() override { shape_ = Shape(kWidth); }
  EdgeShape Shape(int64_t width) const {
    EdgeShape shape;
    shape.width = width;
    shape.edge = 1;
    shape.direction = GetParam().direction;
    shape.seed = 11;
    shape.num_samples = 6;
    shape.max_sample_tokens = 64;
    shape.total_steps = 50;
    shape.state_dir = testing::TempDir();
    return shape;
  }
  Ends Make() const { return MakeEnds(GetParam().spec, shape_); }

  // Frame i of a little run: two or three of six samples, values that drift.
  std::vector<float> RunFrame(uint64_t i, TestFrame* frame, bool training = true) const {
    std::vector<std::pair<uint64_t, int64_t>> rows;
    for (uint64_t k = 0; k < 2 + i % 2; ++k) {
      const uint64_t id = (i * 2 + k) % 6;
      rows.emplace_back(id, static_cast<int64_t>(3 + id * 5));
    }
    frame->Set(rows, i / 2, static_cast<uint32_t>(i % 2), training);
    std::vector<float> x = Values(1000 + (i * 2) % 6 + i % 2, frame->tokens, kWidth);
    const std::vector<float> drift = Values(i, frame->tokens, kWidth, 0.02f);
    for (size_t j = 0; j < x.size(); ++j) x[j] += drift[j];
    return x;
  }
  // Frames [begin, end) with a commit after each even number of them; the bytes of all.
  std::vector<Bytes> RunFrames(const Ends& ends, uint64_t begin, uint64_t end) const {
    std::vector<Bytes> wire;
    for (uint64_t i = begin; i < end; ++i) {
      TestFrame frame;
      const std::vector<float> x = RunFrame(i, &frame);
      Bytes bytes;
      const std::vector<float> y = Through(ends, x, frame.context, &bytes);
      if (ends.encoder->WantsGradient()) {
        EXPECT_TRUE(
            ends.encoder->ObserveGradient(Values(i, frame.tokens, kWidth, 1e-3f), frame.context)
                .ok());
      }
      wire.push_back(bytes);
      EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
      if (i % 2 == 1) Commit(ends, i / 2);
    }
    return wire;
  }
  static void Commit(const Ends& ends, uint64_t step) {
    EXPECT_TRUE(ends.encoder->CommitStep(step).ok());
    EXPECT_TRUE(ends.decoder->CommitStep(step).ok());
  }

  EdgeShape shape_;
};

TEST_P(CodecContract, RoundTripErrorIsWhatTheStepAllows) {
  TestFrame frame;
  frame.Set({{1, 20}, {2, 31}});
  for (float size : {1.0f, 1e-8f, 1e6f}) {
    // Half in the forward direction has no shared exponent: it serves values of about 1.
    const bool half = GetParam().spec.find("fp16") != std::string::npos;
    if (half && GetParam().direction == Direction::kForward && size != 1.0f) continue;
    const Ends ends = Make();
    const std::vector<float> x = Values(2, frame.tokens, kWidth, size);
    const std::vector<float> y = Through(ends, x, frame.context);
    EXPECT_GE(Snr(x, y), GetParam().least_snr) << size;
    if (GetParam().spec == "none") {
      EXPECT_EQ(x, y);
    }
  }
}

TEST_P(CodecContract, SameInputSameBytes) {
  EXPECT_EQ(RunFrames(Make(), 0, 12), RunFrames(Make(), 0, 12));
}

TEST_P(CodecContract, RaggedShapes) {
  for (int64_t width : {1, 2, 3, 63, 64, 65, 129}) {
    shape_ = Shape(width);
    const Ends ends = Make();
    const std::vector<std::vector<std::pair<uint64_t, int64_t>>> frames = {
        {{1, 1}},
        {},
        {{3, 0}},
        {{1, 2}, {2, 1}, {4, 17}},
        {{1, 1}, {3, 0}, {2, 64}},
        {{1, 1}, {2, 1}, {1, 1}}};
    for (int repeat = 0; repeat < 2; ++repeat) {
      for (const auto& rows : frames) {
        TestFrame frame;
        frame.Set(rows);
        const std::vector<float> x = Values(rows.size(), frame.tokens, width);
        const std::vector<float> y = Through(ends, x, frame.context);
        for (float v : y) EXPECT_TRUE(std::isfinite(v));
        EXPECT_EQ(ends.encoder->StateHash(), ends.decoder->StateHash());
      }
    }
  }
}

// A part that mixes values, or whose levels are not spread over the group's own range, turns a
// constant into other values: it may be off by a level.
bool KeepsConstants(const std::string& spec) {
  for (const char* part : {"hadamard", "haar", "channel_pow2", "outliers", "topk", "minifloat",
                           "codebook", "store", "skip", "basis", "step", "running", "trellis"})
    if (spec.find(part) != std::string::npos) return false;
  return true;
}

TEST_P(CodecContract, ZeroRangeIsExact) {
  const Ends ends = Make();
  const bool keeps = KeepsConstants((*Codec::Parse(GetParam().spec))->canonical());
  // A symmetric grid spans [-c, c] for a constant c: only zero has range zero there.
  const bool symmetric =
      (*Codec::Parse(GetParam().spec))->canonical().find(",sym") != std::string::npos;
  const bool stored =
      GetParam().spec.substr(0, 5) == "aqsgd";  // a first visit is 8 bits of a symmetric grid
  for (float value : {0.0f, 1.5f, -0.25f}) {
    if ((symmetric || !keeps) && value != 0.0f) continue;
    TestFrame frame;
    frame.Set({{5, 9}});
    const std::vector<float> x(static_cast<size_t>(9 * kWidth), value);
    for (int visit = 0; visit < 2; ++visit) {
      for (float v : Through(ends, x, frame.context))
        ASSERT_NEAR(v, value, stored ? 0.01f * std::fabs(value) : 0.0f);
    }
  }
}

TEST_P(CodecContract, NonFiniteInputIsRefusedAndNothingChanges) {
  const Ends ends = Make();
  RunFrames(ends, 0, 4);
  const uint64_t hash = ends.encoder->StateHash();
  TestFrame frame;
  std::vector<float> x = RunFrame(4, &frame);
  for (float bad : {NAN, INFINITY, -INFINITY, 3e38f}) {
    std::vector<float> y = x;
    y[static_cast<size_t>(2 * kWidth + 5)] = bad;
    Bytes out = {1, 2, 3};
    const auto size = ends.encoder->Encode(y, frame.context, &out);
    EXPECT_EQ(size.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(size.status().message()),
                testing::HasSubstr("token 2, channel 5 (edge 1"));
    EXPECT_EQ(out, (Bytes{1, 2, 3}));
    EXPECT_EQ(ends.encoder->StateHash(), hash);
  }
  const Ends twin = Make();
  RunFrames(twin, 0, 4);
  EXPECT_EQ(RunFrames(ends, 4, 8), RunFrames(twin, 4, 8));
}

TEST_P(CodecContract, FramesThatDoNotMatchTheContextAreRefused) {
  const Ends ends = Make();
  TestFrame frame;
  frame.Set({{1, 4}, {2, 4}});
  const std::vector<float> x = Values(1, 8, kWidth);
  Bytes out;
  EXPECT_FALSE(ends.encoder->Encode(absl::MakeSpan(x).subspan(1), frame.context, &out).ok());
  frame.samples[1].begin = 5;
  EXPECT_FALSE(ends.encoder->Encode(x, frame.context, &out).ok());
  EXPECT_TRUE(out.empty());
}

TEST_P(CodecContract, DamagedBytesNeverChangeTheState) {
  const Ends ends = Make();
  RunFrames(ends, 0, 8);
  TestFrame frame;
  const std::vector<float> x = RunFrame(8, &frame);
  Bytes bytes;
  ASSERT_TRUE(ends.encoder->Encode(x, frame.context, &bytes).ok());
  const uint64_t hash = ends.decoder->StateHash();
  std::vector<float> y(x.size());
  for (size_t n = 0; n < bytes.size(); n += 1 + n / 16) {
    EXPECT_FALSE(
        ends.decoder->Decode(absl::MakeSpan(bytes).subspan(0, n), frame.context, absl::MakeSpan(y))
            .ok())
        << n;
    EXPECT_EQ(ends.decoder->StateHash(), hash);
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(ends.decoder->Decode(longer, frame.context, absl::MakeSpan(y)).ok());
  longer.resize(bytes.size() + 100000, 0xA5);
  EXPECT_FALSE(ends.decoder->Decode(longer, frame.context, absl::MakeSpan(y)).ok());
  EXPECT_EQ(ends.decoder->StateHash(), hash);
  Bytes before;
  ASSERT_TRUE(ends.decoder->CommitStep(4).ok());
  ASSERT_TRUE(ends.decoder->Snapshot(&before).ok());
  CounterRng rng(6);
  for (int i = 0; i < 300; ++i) {  // may decode to something (the frame's CRC is the link's), never
                                   // to a non-finite value
    Bytes flipped = bytes;
    const uint64_t bit = i < 64 ? static_cast<uint64_t>(i) : rng.NextBelow(8 * bytes.size());
    flipped[bit / 8 % flipped.size()] ^= static_cast<uint8_t>(1 << bit % 8);
    if (ends.decoder->Decode(flipped, frame.context, absl::MakeSpan(y)).ok()) {
      for (float v : y) ASSERT_TRUE(std::isfinite(v));
      ASSERT_TRUE(ends.decoder->Restore(before).ok());
    }
    ASSERT_EQ(ends.decoder->StateHash(), hash);
  }
  EXPECT_TRUE(ends.decoder->Decode(bytes, frame.context, absl::MakeSpan(y)).ok());
}

TEST_P(CodecContract, ShortFramesAreRefused) {
  const Ends ends = Make();
  TestFrame frame;
  frame.Set({{1, 12}});
  std::vector<float> y(static_cast<size_t>(12 * kWidth));
  CounterRng rng(8);
  for (int i = 0; i < 500; ++i) {
    Bytes noise(rng.NextBelow(30));
    for (uint8_t& b : noise) b = static_cast<uint8_t>(rng.Next32());
    EXPECT_FALSE(ends.decoder->Decode(noise, frame.context, absl::MakeSpan(y)).ok());
  }
}

TEST_P(CodecContract, RollbackEncodesTheSameBytesAgain) {
  const Ends ends = Make();
  RunFrames(ends, 0, 6);
  const uint64_t hash = ends.encoder->StateHash();
  Ends twin = Make();
  RunFrames(twin, 0, 6);
  std::vector<Bytes> first;
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::vector<Bytes> wire;
    for (uint64_t i = 6; i < 8; ++i) {
      TestFrame frame;
      const std::vector<float> x = RunFrame(i, &frame);
      Bytes bytes;
      Through(ends, x, frame.context, &bytes);
      wire.push_back(bytes);
    }
    if (attempt == 0) first = wire;
    EXPECT_EQ(wire, first);
    EXPECT_TRUE(ends.encoder->RollbackStep().ok());
    EXPECT_TRUE(ends.decoder->RollbackStep().ok());
    EXPECT_EQ(ends.encoder->StateHash(), hash);
    EXPECT_EQ(ends.decoder->StateHash(), hash);
  }
  EXPECT_EQ(RunFrames(ends, 6, 20), RunFrames(twin, 6, 20));
}

TEST_P(CodecContract, EvaluationChangesNothing) {
  const Ends ends = Make(), twin = Make();
  RunFrames(ends, 0, 6);
  RunFrames(twin, 0, 6);
  for (uint64_t i = 0; i < 4; ++i) {
    TestFrame frame;
    const std::vector<float> x = RunFrame(i, &frame, false);
    const std::vector<float> y = Through(ends, x, frame.context);
    EXPECT_GE(Snr(x, y), GetParam().least_snr - 2.0);
  }
  EXPECT_EQ(RunFrames(ends, 6, 12), RunFrames(twin, 6, 12));
}

TEST_P(CodecContract, SnapshotAndRestoreGoOnBitForBit) {
  const Ends ends = Make(), restored = Make();
  RunFrames(ends, 0, 10);
  Bytes encoder, decoder;
  ASSERT_TRUE(ends.encoder->Snapshot(&encoder).ok());
  ASSERT_TRUE(ends.decoder->Snapshot(&decoder).ok());
  ASSERT_TRUE(restored.encoder->Restore(encoder).ok());
  ASSERT_TRUE(restored.decoder->Restore(decoder).ok());
  EXPECT_EQ(restored.encoder->StateHash(), ends.encoder->StateHash());
  EXPECT_EQ(restored.decoder->StateHash(), ends.decoder->StateHash());
  EXPECT_EQ(RunFrames(restored, 10, 20), RunFrames(ends, 10, 20));
  // A damaged snapshot is refused or harmless; it never crashes.
  for (size_t n = 0; n < encoder.size(); n += 1 + n / 8) {
    EXPECT_FALSE(restored.encoder->Restore(absl::MakeSpan(encoder).subspan(0, n)).ok());
  }
  for (size_t n = 0; n < decoder.size(); n += 1 + n / 8) {
    EXPECT_FALSE(restored.decoder->Restore(absl::MakeSpan(decoder).subspan(0, n)).ok());
  }
}

TEST_P(CodecContract, HashesStayEqualOverAThousandFramesWithRestartAndKeyFrames) {
  Ends ends = Make();
  for (uint64_t i = 0; i < 1000; i += 100) {
    RunFrames(ends, i, i + 100);
    if (i == 300) {  // both ends restart from their snapshots
      Bytes encoder, decoder;
      ASSERT_TRUE(ends.encoder->Snapshot(&encoder).ok());
      ASSERT_TRUE(ends.decoder->Snapshot(&decoder).ok());
      ends = Make();
      ASSERT_TRUE(ends.encoder->Restore(encoder).ok());
      ASSERT_TRUE(ends.decoder->Restore(decoder).ok());
    }
    if (i == 600) {  // the decoder lost everything
      ends.decoder->RequestKeyFrames();
      ends.encoder->RequestKeyFrames();
    }
  }
}

// A run in which frames get lost or cut short, steps are tried again, both ends or one of them come
// back from a snapshot, and evaluation comes in between. A decoder that lost its way says so and
// both ends start from key frames; what decodes is right, and the ends are the same again within
// as many frames as it takes to see every sample and a check.
class FaultyRun {
 public:
  FaultyRun(const Case& c, const EdgeShape& shape)
      : case_(c), shape_(shape), ends_(MakeEnds(c.spec, shape)), random_(RandomKey(5, c.spec)) {}

  void Frame(uint64_t i) {
    const uint64_t event = random_.NextBelow(10);
    if (event == 0) Evaluate(i);
    if (event == 1) ends_ = Restored(ends_);
    if (event == 2) OneEndFallsBack();
    Make(i, true);
    Bytes bytes = Encoded();
    if (event == 3) return Lose(i);
    if (event == 4) {
      CutShort(bytes);
    }
    if (event == 5) bytes = TryAgain(bytes);
    Arrive(bytes);
    if (parted_ > 0 && --parted_ == 0) parted_ = -1;
    if (parted_ <= 0) {
      EXPECT_EQ(ends_.encoder->StateHash(), ends_.decoder->StateHash()) << i;
      parted_ = 0;
    }
    Commit(i);
  }
  int healed() const { return healed_; }

 private:
  static constexpr int kAllSeen = 18;

  void Make(uint64_t i, bool training) {
    const int64_t tokens = static_cast<int64_t>(5 + i % 6 * 4);
    frame_.Set({{i % 6, tokens}}, i, 0, training);
    ids_.assign(static_cast<size_t>(tokens), 0);
    for (size_t t = 0; t < ids_.size(); ++t) ids_[t] = static_cast<uint32_t>((i + t * t) % 23);
    frame_.context.row_ids = ids_;
    x_ = Values(i % 6, tokens, shape_.width);
    const std::vector<float> drift = Values(100 + i, tokens, shape_.width, 0.05f);
    for (size_t k = 0; k < x_.size(); ++k) x_[k] += drift[k];
    y_.assign(x_.size(), 0.0f);
  }
  Bytes Encoded() {
    Bytes bytes;
    EXPECT_TRUE(ends_.encoder->Encode(x_, frame_.context, &bytes).ok());
    return bytes;
  }
  absl::Status Decoded(absl::Span<const uint8_t> bytes) {
    return ends_.decoder->Decode(bytes, frame_.context, absl::MakeSpan(y_));
  }
  void Arrive(const Bytes& bytes) {
    const absl::Status decoded = Decoded(bytes);
    if (!decoded.ok()) {
      EXPECT_EQ(decoded.code(), absl::StatusCode::kDataLoss) << decoded;
      EXPECT_NE(parted_, 0) << decoded;
      ends_.decoder->RequestKeyFrames();
      ends_.encoder->RequestKeyFrames();
      const absl::Status again = Decoded(Encoded());
      EXPECT_TRUE(again.ok()) << again;
      parted_ = 0;
      ++healed_;
    }
    ExpectRight();
    if (ends_.encoder->WantsGradient()) {
      const auto g = Values(7, frame_.tokens, shape_.width, 1e-3f);
      EXPECT_TRUE(ends_.encoder->ObserveGradient(g, frame_.context).ok());
    }
  }
  void Lose(uint64_t i) {
    parted_ = kAllSeen;
    Commit(i);
  }
  void CutShort(const Bytes& bytes) {
    if (bytes.size() < 2) return;
    const auto half = absl::MakeSpan(bytes).subspan(0, bytes.size() / 2);
    EXPECT_FALSE(Decoded(half).ok());
  }
  Bytes TryAgain(const Bytes& bytes) {
    const bool follows = Decoded(bytes).ok();
    EXPECT_TRUE(ends_.encoder->RollbackStep().ok());
    EXPECT_TRUE(ends_.decoder->RollbackStep().ok());
    Bytes again = Encoded();
    EXPECT_EQ(again, bytes);
    EXPECT_TRUE(follows || parted_ != 0);
    return again;
  }
  void Evaluate(uint64_t i) {
    Make(i + 3, false);
    const absl::Status decoded = Decoded(Encoded());
    EXPECT_TRUE(decoded.ok() || (parted_ != 0 && decoded.code() == absl::StatusCode::kDataLoss))
        << decoded;
    if (decoded.ok()) ExpectRight();
  }
  // Gates lower what is spent on a frame.
  void ExpectRight() const {
    if (parted_ != 0) return;
    EXPECT_GE(Snr(x_, y_), std::min(case_.least_snr - 3.0, 6.0));
  }
  Ends Restored(const Ends& from) {
    Ends to = MakeEnds(case_.spec, shape_);
    Bytes encoder, decoder;
    EXPECT_TRUE(from.encoder->Snapshot(&encoder).ok());
    EXPECT_TRUE(from.decoder->Snapshot(&decoder).ok());
    EXPECT_TRUE(to.encoder->Restore(encoder).ok());
    EXPECT_TRUE(to.decoder->Restore(decoder).ok());
    old_ = decoder;
    return to;
  }
  void OneEndFallsBack() {
    if (old_.empty()) return;
    EXPECT_TRUE(ends_.decoder->Restore(old_).ok());
    ends_.decoder->RequestKeyFrames();  // as a session does for whoever comes back alone
    ends_.encoder->RequestKeyFrames();
    parted_ = 0;
  }
  void Commit(uint64_t step) {
    EXPECT_TRUE(ends_.encoder->CommitStep(step).ok());
    EXPECT_TRUE(ends_.decoder->CommitStep(step).ok());
  }

  const Case case_;
  const EdgeShape shape_;
  Ends ends_;
  CounterRng random_;
  TestFrame frame_;
  std::vector<uint32_t> ids_;
  std::vector<float> x_, y_;
  Bytes old_;       // a snapshot of the decoder
  int parted_ = 0;  // frames within which a fault must have shown, 0: none is open
  int healed_ = 0;
};

TEST_P(CodecContract, FaultsAreSeenAndTheEndsComeTogetherAgain) {
  FaultyRun run(GetParam(), shape_);
  for (uint64_t i = 0; i < 240; ++i) run.Frame(i);
}

// The plan reserves what the larger end will hold, and no more than a tenth beyond it, once every
// sample was seen at its full length and every id had its row.
TEST_P(CodecContract, StateIsWhatWasAnnounced) {
  const auto codec = Codec::Parse(GetParam().spec);
  shape_.num_samples = 24;
  const Ends ends = Make();
  std::vector<uint32_t> ids(64);
  for (uint64_t i = 0; i < 96; ++i) {
    TestFrame frame;
    frame.Set({{i % 24, 64}}, i);
    for (uint32_t t = 0; t < 64; ++t) ids[t] = static_cast<uint32_t>(i * 64 + t) % 4096;
    frame.context.row_ids = ids;
    Through(ends, Values(i % 24, 64, kWidth), frame.context);
    if (ends.encoder->WantsGradient()) {
      ASSERT_TRUE(ends.encoder->ObserveGradient(Values(i, 64, kWidth, 1e-3f), frame.context).ok());
    }
    Commit(ends, i);
  }
  const Codec::StateSize size = (*codec)->StateSizeFor(shape_);
  const int64_t announced = size.ram_bytes + size.file_bytes;
  const int64_t held = std::max(ends.encoder->StateBytes(), ends.decoder->StateBytes());
  EXPECT_LE(held, announced);
  EXPECT_GE(static_cast<double>(held), 0.9 * static_cast<double>(announced));
}

INSTANTIATE_TEST_SUITE_P(EverySpec, CodecContract, testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           std::string name(Name(info.param.direction));
                           for (char c : info.param.spec)
                             name.push_back(std::isalnum(static_cast<unsigned char>(c)) ? c : '_');
                           return name;
                         });

}  // namespace
}  // namespace isthmus
