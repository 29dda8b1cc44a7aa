#include "compression/codec_measure.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <vector>

#include "base/status.h"

namespace isthmus {
namespace {

constexpr int64_t kSampleRows = 128;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Of this thread: what other programs on the core take meanwhile is not the codec's.
int64_t ThreadNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{1000000000} * now.tv_sec + now.tv_nsec;
}

template <typename Work>
double Seconds(const Work& work) {
  const int64_t start_ns = ThreadNs();
  work();
  return 1e-9 * static_cast<double>(std::max<int64_t>(1, ThreadNs() - start_ns));
}

double GbPerS(int64_t elements, double seconds) {
  return 1e-9 * sizeof(float) * static_cast<double>(elements) / seconds;
}

// Signal to noise over any number of frames.
class Distortion {
 public:
  void Add(absl::Span<const float> x, absl::Span<const float> y) {
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = static_cast<double>(x[i]) - y[i];
      signal_ += static_cast<double>(x[i]) * x[i];
      noise_ += error * error;
    }
  }
  double snr_db() const {
    return noise_ > 0 ? 10.0 * std::log10(signal_ / noise_)
                      : std::numeric_limits<double>::infinity();
  }

 private:
  double signal_ = 0, noise_ = 0;
};

// Both ends of an edge and the frame they exchange.
class Edge {
 public:
  static absl::StatusOr<Edge> Make(const Codec& codec, const EdgeShape& shape) {
    Edge edge;
    ISTHMUS_ASSIGN_OR_RETURN(edge.encoder_, codec.MakeEncoder(shape));
    ISTHMUS_ASSIGN_OR_RETURN(edge.decoder_, codec.MakeDecoder(shape));
    return edge;
  }

  struct Times {
    double encode_s = 0, decode_s = 0;
  };
  absl::StatusOr<Times> Send(absl::Span<const float> x_TD, const FrameContext& context) {
    bytes_.clear();
    decoded_.resize(x_TD.size());
    Times times;
    absl::Status status;
    times.encode_s = Seconds([&] { status = encoder_->Encode(x_TD, context, &bytes_).status(); });
    ISTHMUS_RETURN_IF_ERROR(status);
    times.decode_s =
        Seconds([&] { status = decoder_->Decode(bytes_, context, absl::MakeSpan(decoded_)); });
    ISTHMUS_RETURN_IF_ERROR(status);
    return times;
  }
  absl::Status Commit(uint64_t step) {
    ISTHMUS_RETURN_IF_ERROR(encoder_->CommitStep(step));
    return decoder_->CommitStep(step);
  }

  absl::Span<const float> decoded() const { return decoded_; }
  int64_t bytes() const { return static_cast<int64_t>(bytes_.size()); }
  int64_t state_bytes() const { return encoder_->StateBytes(); }

 private:
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<float> decoded_;
  Bytes bytes_;
};

EdgeShape ShapeOf(int64_t rows, int64_t width) {
  EdgeShape shape;
  shape.width = width;
  shape.seed = 1;
  shape.num_samples = (rows + kSampleRows - 1) / kSampleRows;
  shape.max_sample_tokens = std::min(rows, kSampleRows);
  shape.total_steps = 100;
  return shape;
}

std::vector<SampleRows> SamplesOf(int64_t rows) {
  std::vector<SampleRows> samples;
  for (int64_t begin = 0; begin < rows; begin += kSampleRows) {
    samples.push_back(
        {static_cast<uint64_t>(begin / kSampleRows), begin, std::min(kSampleRows, rows - begin)});
  }
  return samples;
}

EdgeShape ShapeOf(const CapturedEdge& captured) {
  EdgeShape shape;
  shape.width = captured.width;
  shape.direction = captured.direction;
  shape.seed = 1;
  shape.shared_row_ids = captured.shared_row_ids;
  std::set<uint64_t> samples, steps;
  for (const CapturedFrame& frame : captured.frames) {
    steps.insert(frame.step);
    for (const SampleRows& rows : frame.samples) {
      samples.insert(rows.sample);
      shape.max_sample_tokens = std::max(shape.max_sample_tokens, rows.tokens);
    }
  }
  shape.num_samples = static_cast<int64_t>(samples.size());
  shape.total_steps = static_cast<int64_t>(steps.size());
  return shape;
}

}  // namespace

absl::StatusOr<CodecMeasure> MeasureCodec(absl::string_view spec, absl::Span<const float> x_TD,
                                          int64_t width, int turns) {
  const auto elements = static_cast<int64_t>(x_TD.size());
  if (width < 1 || elements == 0 || elements % width != 0) {
    return InvalidArgument("codec bench: expected rows of ", width, " values, got ", elements,
                           " values");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const Codec> codec, Codec::Parse(spec));
  ISTHMUS_ASSIGN_OR_RETURN(Edge edge, Edge::Make(*codec, ShapeOf(elements / width, width)));
  const std::vector<SampleRows> samples = SamplesOf(elements / width);
  FrameContext context;
  context.samples = samples;
  CodecMeasure measure;
  measure.codec_full = codec->canonical();
  measure.elements = elements;
  ISTHMUS_RETURN_IF_ERROR(edge.Send(x_TD, context).status());
  ISTHMUS_RETURN_IF_ERROR(edge.Commit(context.step));
  measure.bits_per_element = BitsPerElement(edge.bytes(), elements);
  Distortion distortion;
  distortion.Add(x_TD, edge.decoded());
  measure.snr_db = distortion.snr_db();
  std::vector<float> later(x_TD.begin(), x_TD.end());
  std::vector<double> encode_s, decode_s;
  for (int turn = 0; turn < std::max(1, turns); ++turn) {
    const size_t shift = static_cast<size_t>(turn + 1) * later.size() / 7;
    for (size_t i = 0; i < later.size(); ++i)
      later[i] = x_TD[i] + 0.1f * x_TD[(i + shift) % later.size()];
    ++context.step;
    ISTHMUS_ASSIGN_OR_RETURN(const Edge::Times times, edge.Send(later, context));
    ISTHMUS_RETURN_IF_ERROR(edge.Commit(context.step));
    encode_s.push_back(times.encode_s);
    decode_s.push_back(times.decode_s);
  }
  measure.encode_gb_per_s = GbPerS(elements, Median(encode_s));
  measure.decode_gb_per_s = GbPerS(elements, Median(decode_s));
  measure.state_bytes = edge.state_bytes();
  return measure;
}

absl::StatusOr<CodecMeasure> MeasureCapture(absl::string_view spec, const CapturedEdge& captured) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const Codec> codec, Codec::Parse(spec));
  ISTHMUS_ASSIGN_OR_RETURN(Edge edge, Edge::Make(*codec, ShapeOf(captured)));
  CodecMeasure measure;
  measure.codec_full = codec->canonical();
  Distortion distortion;
  Edge::Times sum;
  int64_t bytes = 0;
  for (size_t i = 0; i < captured.frames.size(); ++i) {
    const CapturedFrame& frame = captured.frames[i];
    FrameContext context;
    context.step = frame.step;
    context.micro_batch = frame.micro_batch;
    context.samples = frame.samples;
    context.row_ids = frame.row_ids;
    ISTHMUS_ASSIGN_OR_RETURN(const Edge::Times times, edge.Send(frame.x_TD, context));
    sum.encode_s += times.encode_s;
    sum.decode_s += times.decode_s;
    measure.elements += static_cast<int64_t>(frame.x_TD.size());
    bytes += edge.bytes();
    distortion.Add(frame.x_TD, edge.decoded());
    const bool ends_step =
        i + 1 == captured.frames.size() || captured.frames[i + 1].step != frame.step;
    if (ends_step) ISTHMUS_RETURN_IF_ERROR(edge.Commit(frame.step));
  }
  measure.bits_per_element = BitsPerElement(bytes, measure.elements);
  measure.snr_db = distortion.snr_db();
  measure.encode_gb_per_s = GbPerS(measure.elements, sum.encode_s);
  measure.decode_gb_per_s = GbPerS(measure.elements, sum.decode_s);
  measure.state_bytes = edge.state_bytes();
  return measure;
}

double MemcpyGbPerS(int64_t elements, int turns) {
  const auto n = static_cast<size_t>(elements);
  std::vector<float> from(n, 1.0f), to(n);
  std::vector<double> seconds;
  for (int turn = 0; turn <= turns; ++turn) {
    const double s = Seconds([&] {
      std::memcpy(to.data(), from.data(), n * sizeof(float));
      asm volatile("" : : "r"(to.data()) : "memory");  // nobody reads it: keep it anyway
    });
    if (turn > 0) seconds.push_back(s);  // the first touches the pages
  }
  return GbPerS(elements, Median(seconds));
}

}  // namespace isthmus
