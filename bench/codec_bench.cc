// Encode and decode of every codec on one core, as a share of memcpy in the same breath.
//
// A frame is 8192 tokens of 1024 values (32 MiB of fp32, more than a second-level cache holds), as
// 64 samples. GB/s are of fp32 in (encode) or out (decode); memcpy counts what it copies. Copy,
// encode and decode take turns and a share is of the copy of the same turn, so that a busy machine
// slows both; medians over turns. Codecs with a store are timed on what training mostly does: a
// later visit of a sample, with values that moved by a tenth; codecs with gates after the gates
// have learned. `ecq` with slots is timed on rows of an id's mean and a third of noise, ids by
// Zipf's law, other ones every turn. Codecs work on one core, unless a row says two.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/status.h"
#include "compression/band_threads.h"
#include "compression/codec.h"
#include "compression/codec_table.h"

namespace isthmus {
namespace {

constexpr int64_t kWidth = 1024;
constexpr int64_t kSamples = 64;
constexpr int64_t kSampleTokens = 128;
constexpr int64_t kElements = kWidth * kSamples * kSampleTokens;
constexpr double kFrameGb = 1e-9 * sizeof(float) * kElements;
constexpr int kTurns = 7;
// Gates reach their target within this run and take a step down the loss every 16.
constexpr uint64_t kLearningSteps = 32;

constexpr uint32_t kIds = 4000;

struct Case {
  std::string codec;
  Direction direction = Direction::kForward;
  bool with_ids = false;
  int threads = 1;
};

// Every row of the codec table, narrower and wider relatives, and what gradients go through.
std::vector<Case> Cases() {
  std::vector<Case> cases;
  const auto add = [&](absl::string_view codec, Direction direction) {
    for (const Case& known : cases) {
      if (known.codec == codec && known.direction == direction) return;
    }
    cases.push_back({std::string(codec), direction, false, 1});
  };
  for (const CodecRow& row : CodecTable()) add(row.example, Direction::kForward);
  for (const char* codec : {"int(bits=2)", "aqsgd(bits=4)"}) add(codec, Direction::kForward);
  for (const char* codec : {"fp16", "int8", "int4"}) add(codec, Direction::kBackward);
  for (const int threads : {1, 2})
    cases.push_back({"ecq(db=20,predict=slot)", Direction::kForward, true, threads});
  return cases;
}

std::vector<SampleRows> Samples(int64_t count) {
  std::vector<SampleRows> samples;
  for (int64_t s = 0; s < count; ++s)
    samples.push_back({static_cast<uint64_t>(s), s * kSampleTokens, kSampleTokens});
  return samples;
}

// What the codecs are fed: a batch, and the same batch a little later in training.
struct Batches {
  std::vector<float> x_TD, later_TD;
  std::vector<uint32_t> x_ids, later_ids;  // empty: none
};

Batches MakeBatches() {
  Batches batches;
  std::mt19937 random(1);
  std::normal_distribution<float> gaussian;
  batches.x_TD.resize(kElements);
  for (float& x : batches.x_TD) x = gaussian(random);
  batches.later_TD = batches.x_TD;
  for (int64_t i = 0; i < kElements; ++i)
    batches.later_TD[i] += 0.1f * batches.x_TD[(i + kElements / 3) % kElements];
  return batches;
}

// Rows of tokens: what their ids have in common, and a third of noise.
void FillRows(const std::vector<float>& normals, std::mt19937* random, std::vector<float>* x_TD,
              std::vector<uint32_t>* ids) {
  std::uniform_real_distribution<double> uniform;
  x_TD->resize(kElements);
  ids->clear();
  for (int64_t t = 0; t < kSamples * kSampleTokens; ++t) {
    ids->push_back(static_cast<uint32_t>(std::pow(double{kIds}, uniform(*random))));
    const size_t mean = ids->back() * size_t{7919}, noise = (*random)();
    for (int64_t c = 0; c < kWidth; ++c) {
      const size_t i = static_cast<size_t>(c);
      (*x_TD)[static_cast<size_t>(t * kWidth + c)] =
          normals[(mean + i) % normals.size()] + 0.3f * normals[(noise + i) % normals.size()];
    }
  }
}

Batches MakeTokenBatches(const std::vector<float>& normals) {
  Batches batches;
  std::mt19937 random(2);
  FillRows(normals, &random, &batches.x_TD, &batches.x_ids);
  FillRows(normals, &random, &batches.later_TD, &batches.later_ids);
  return batches;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <typename Work>
double Seconds(const Work& work) {
  const int64_t start_us = NowUs();
  work();
  return 1e-6 * static_cast<double>(std::max<int64_t>(1, NowUs() - start_us));
}

// Both ends of one edge.
class Edge {
 public:
  static absl::StatusOr<Edge> Make(const Case& measured) {
    Edge edge;
    ISTHMUS_ASSIGN_OR_RETURN(edge.codec_, Codec::Parse(measured.codec));
    EdgeShape shape;
    shape.width = kWidth;
    shape.direction = measured.direction;
    shape.seed = 1;
    shape.num_samples = kSamples;
    shape.max_sample_tokens = kSampleTokens;
    shape.total_steps = static_cast<int64_t>(kLearningSteps);
    ISTHMUS_ASSIGN_OR_RETURN(edge.encoder_, edge.codec_->MakeEncoder(shape));
    ISTHMUS_ASSIGN_OR_RETURN(edge.decoder_, edge.codec_->MakeDecoder(shape));
    return edge;
  }

  // Lets gates learn, on short frames: width is all that matters to them.
  absl::Status Learn(const Batches& batches) {
    if (!encoder_->WantsGradient()) return absl::OkStatus();
    const std::vector<SampleRows> samples = Samples(1);
    constexpr size_t kCount = kSampleTokens * kWidth;
    std::vector<float> decoded_TD(kCount);
    for (uint64_t step = 0; step < kLearningSteps; ++step) {
      const FrameContext context = {step_, 0, true, samples};
      ISTHMUS_RETURN_IF_ERROR(Encode({batches.x_TD.data(), kCount}, context));
      ISTHMUS_RETURN_IF_ERROR(decoder_->Decode(bytes_, context, absl::MakeSpan(decoded_TD)));
      const absl::Span<const float> g_TD(batches.later_TD.data() + step * kCount, kCount);
      ISTHMUS_RETURN_IF_ERROR(encoder_->ObserveGradient(g_TD, context));
      ISTHMUS_RETURN_IF_ERROR(Commit());
    }
    return absl::OkStatus();
  }

  struct Times {
    double encode_s = 0.0, decode_s = 0.0;
  };
  // One step of one whole frame.
  absl::StatusOr<Times> Step(const std::vector<float>& x_TD, const std::vector<uint32_t>& ids,
                             std::vector<float>* decoded_TD) {
    const std::vector<SampleRows> samples = Samples(kSamples);
    FrameContext context = {step_, 0, true, samples};
    context.row_ids = ids;
    absl::Status encoded, decoded;
    Times times;
    times.encode_s = Seconds([&] { encoded = Encode(x_TD, context); });
    ISTHMUS_RETURN_IF_ERROR(encoded);
    times.decode_s =
        Seconds([&] { decoded = decoder_->Decode(bytes_, context, absl::MakeSpan(*decoded_TD)); });
    ISTHMUS_RETURN_IF_ERROR(decoded);
    ISTHMUS_RETURN_IF_ERROR(Commit());
    return times;
  }

  std::string codec_full() const { return codec_->canonical(); }
  double bits_per_element() const {  // of the last frame
    return BitsPerElement(static_cast<int64_t>(bytes_.size()), kElements);
  }

 private:
  absl::Status Encode(absl::Span<const float> x_TD, const FrameContext& context) {
    bytes_.clear();
    return encoder_->Encode(x_TD, context, &bytes_).status();
  }
  absl::Status Commit() {
    ISTHMUS_RETURN_IF_ERROR(encoder_->CommitStep(step_));
    return decoder_->CommitStep(step_++);
  }

  std::shared_ptr<const Codec> codec_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<Decoder> decoder_;
  uint64_t step_ = 0;
  Bytes bytes_;  // of the last frame
};

struct Series {
  std::vector<double> copy_s, encode_s, decode_s, encode_share, decode_share;
};

// The first turn only warms up: pages, and first visits of a store.
absl::StatusOr<Series> Measure(const Batches& batches, Edge* edge) {
  ISTHMUS_RETURN_IF_ERROR(edge->Learn(batches));
  std::vector<float> copy(kElements), decoded_TD(kElements);
  Series series;
  for (int turn = 0; turn <= kTurns; ++turn) {
    const std::vector<float>& x_TD = turn % 2 == 0 ? batches.x_TD : batches.later_TD;
    const std::vector<uint32_t>& ids = turn % 2 == 0 ? batches.x_ids : batches.later_ids;
    const double copy_s = Seconds([&] {
      std::memcpy(copy.data(), x_TD.data(), sizeof(float) * kElements);
      asm volatile("" : : "r"(copy.data()) : "memory");  // nobody reads it: keep it anyway
    });
    ISTHMUS_ASSIGN_OR_RETURN(const Edge::Times times, edge->Step(x_TD, ids, &decoded_TD));
    if (turn == 0) continue;
    series.copy_s.push_back(copy_s);
    series.encode_s.push_back(times.encode_s);
    series.decode_s.push_back(times.decode_s);
    series.encode_share.push_back(copy_s / times.encode_s);
    series.decode_share.push_back(copy_s / times.decode_s);
  }
  return series;
}

absl::StatusOr<std::string> Row(const Case& measured, const Batches& batches,
                                std::vector<double>* copy_s) {
  SetCodecThreads(measured.threads);
  ISTHMUS_ASSIGN_OR_RETURN(Edge edge, Edge::Make(measured));
  ISTHMUS_ASSIGN_OR_RETURN(const Series series, Measure(batches, &edge));
  copy_s->insert(copy_s->end(), series.copy_s.begin(), series.copy_s.end());
  return absl::StrCat("{\"codec\":\"", measured.codec, "\",\"codec_full\":\"", edge.codec_full(),
                      "\",\"direction\":\"", Name(measured.direction),
                      "\",\"row_ids\":", measured.with_ids ? "true" : "false",
                      ",\"threads\":", measured.threads, ",\"elements\":", kElements,
                      ",\"bits_per_element\":", edge.bits_per_element(),
                      ",\"encode_gb_per_s\":", kFrameGb / Median(series.encode_s),
                      ",\"decode_gb_per_s\":", kFrameGb / Median(series.decode_s),
                      ",\"encode_share_of_memcpy\":", Median(series.encode_share),
                      ",\"decode_share_of_memcpy\":", Median(series.decode_share), "}");
}

int Main() {
  const Batches batches = MakeBatches(), tokens = MakeTokenBatches(batches.x_TD);
  std::vector<std::string> rows;
  std::vector<double> copy_s;
  for (const Case& measured : Cases()) {
    const absl::StatusOr<std::string> row =
        Row(measured, measured.with_ids ? tokens : batches, &copy_s);
    if (!row.ok()) {
      std::fprintf(stderr, "codec bench: %s: %s\n", measured.codec.c_str(),
                   std::string(row.status().message()).c_str());
      return 1;
    }
    rows.push_back(*row);
  }
  std::printf("{\"memcpy_gb_per_s\":%g,\"rows\":[%s]}\n", kFrameGb / Median(copy_s),
              absl::StrJoin(rows, ",").c_str());
  return 0;
}

}  // namespace
}  // namespace isthmus

int main() { return isthmus::Main(); }
