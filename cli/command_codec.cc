// isthmus codec list | bench: the codecs of this build, what they are made of, and how they do on
// made-up sources, a file or what a run sent over its edges.
#include <cmath>
#include <optional>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/dump_folder.h"
#include "cli/output.h"
#include "compression/codec_measure.h"
#include "compression/codec_table.h"
#include "compression/gradient_variance.h"
#include "compression/part_table.h"
#include "compression/synthetic_source.h"
#include "model/npy.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

// The edge that state sizes are said for.
constexpr int64_t kWidth = 4096, kSamples = 1000, kTokens = 512;
// 16 MiB of fp32: more than a second-level cache holds.
constexpr int64_t kBenchTokens = 4096, kBenchWidth = 1024;

int64_t StateBytes(const Codec& codec) {
  EdgeShape shape;
  shape.width = kWidth;
  shape.num_samples = kSamples;
  shape.max_sample_tokens = kTokens;
  const Codec::StateSize size = codec.StateSizeFor(shape);
  return size.ram_bytes + size.file_bytes;
}

absl::StatusOr<Json> CodecJson(const CodecRow& row) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto codec, Codec::Parse(row.example));
  return Json{{"name", std::string(row.name)},
              {"arguments", std::string(row.summary)},
              {"example", std::string(row.example)},
              {"composition", codec->canonical()},
              {"directions", codec->ForwardOnly() ? "forward" : "both"},
              {"state_bytes", StateBytes(*codec)}};
}

Json PartJson(const PartRow& row) {
  return Json{{"name", std::string(row.name)},
              {"stage", std::string(Name(row.stage))},
              {"arguments", std::string(row.summary)},
              {"example", std::string(row.example)}};
}

std::string StateWords(int64_t bytes) {
  if (bytes == 0) return "-";
  return bytes >= 1 << 20 ? absl::StrFormat("%.0f MiB", static_cast<double>(bytes) / (1 << 20))
                          : absl::StrFormat("%.1f KiB", static_cast<double>(bytes) / 1024);
}

std::string ListForPeople(const Json& list) {
  std::vector<std::vector<std::string>> codecs = {
      {"codec", "directions", "state", "composition of the example", "arguments and source"}};
  for (const Json& row : list["codecs"]) {
    codecs.push_back({row["example"], row["directions"],
                      StateWords(row["state_bytes"].get<int64_t>()), row["composition"],
                      row["arguments"]});
  }
  std::vector<std::vector<std::string>> parts = {{"part", "stage", "arguments"}};
  for (const Json& row : list["parts"])
    parts.push_back({row["name"], row["stage"], row["arguments"]});
  return absl::StrCat(Table(codecs),
                      "\nstate: of one end of an edge of width 4096, 1000 samples of 512 tokens\n"
                      "parts, joined by '+' in this order, a format last:\n\n",
                      Table(parts));
}

absl::Status List(const Invocation& in) {
  Json list = {{"codecs", Json::array()}, {"parts", Json::array()}};
  for (const CodecRow& row : CodecTable()) {
    ISTHMUS_ASSIGN_OR_RETURN(Json json, CodecJson(row));
    list["codecs"].push_back(std::move(json));
  }
  for (const PartRow& row : PartTable()) list["parts"].push_back(PartJson(row));
  Print(in.On("json") ? list.dump() + "\n" : ListForPeople(list));
  return absl::OkStatus();
}

// A matrix, or the frames of an edge.
struct Source {
  std::string name;
  bool synthetic = false;
  std::vector<float> values;
  int64_t width = 0;
  std::optional<CapturedEdge> capture;
  bool IsGradient() const {
    return capture.has_value() && capture->direction == Direction::kBackward;
  }
};

absl::StatusOr<std::vector<Source>> SourcesFromInput(const std::string& path) {
  std::vector<Source> sources;
  if (IsDumpFolder(path)) {
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<DumpedEdge> edges, ReadDumpFolder(path));
    for (DumpedEdge& edge : edges)
      sources.push_back({edge.name, false, {}, edge.capture.width, std::move(edge.capture)});
    return sources;
  }
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor tensor, ReadNpy(path));
  if (tensor.dtype() != DType::kF32)
    return InvalidArgument(path, ": expected '<f4' values, got ", Name(tensor.dtype()));
  const absl::Span<const float> values = tensor.floats();
  sources.push_back({path, false, {values.begin(), values.end()}, tensor.shape().back(), {}});
  return sources;
}

absl::StatusOr<std::vector<Source>> Sources(const Invocation& in) {
  if (in.Has("input")) {
    absl::StatusOr<std::vector<Source>> sources = SourcesFromInput(in.Text("input"));
    if (!sources.ok()) return Annotate(sources.status(), "--input");
    return sources;
  }
  std::vector<Source> sources;
  for (const absl::string_view name : SyntheticSources()) {
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<float> values,
                             SyntheticValues(name, kBenchTokens, kBenchWidth));
    sources.push_back({std::string(name), true, std::move(values), kBenchWidth, {}});
  }
  return sources;
}

// Captured gradients with their activations: what coding adds to the variance of a weight's
// gradient. Null where there are none, or no step has two micro-batches.
Json AddedVariance(const std::string& codec, const Source& source,
                   const std::vector<Source>& sources) {
  if (!source.IsGradient()) return {};
  for (const Source& other : sources) {
    if (!other.capture.has_value() || other.IsGradient()) continue;
    if (other.name != absl::StrReplaceAll(source.name, {{"backward", "forward"}})) continue;
    const auto share = AddedVarianceShare(codec, *source.capture, *other.capture);
    return share.ok() ? Json(*share) : Json();
  }
  return {};
}

absl::StatusOr<Json> BenchRow(const std::string& codec, const Source& source,
                              const std::vector<Source>& sources) {
  const absl::StatusOr<CodecMeasure> measure =
      source.capture.has_value() ? MeasureCapture(codec, *source.capture)
                                 : MeasureCodec(codec, source.values, source.width);
  if (!measure.ok()) return Annotate(measure.status(), absl::StrCat(codec, " on ", source.name));
  const bool lossless = std::isinf(measure->snr_db);
  Json row = {{"codec", codec},
              {"codec_full", measure->codec_full},
              {"source", source.name},
              {"elements", measure->elements},
              {"bits_per_element", measure->bits_per_element},
              {"snr_db", lossless ? Json() : Json(measure->snr_db)}};
  if (source.synthetic) {
    // R(D) = 1/2 log2(variance / D) of a Gaussian of the source's energy.
    const double rate = measure->snr_db / (20.0 * std::log10(2.0));
    row["bits_above_rd"] = lossless ? Json() : Json(measure->bits_per_element - rate);
  }
  row["added_variance"] = AddedVariance(codec, source, sources);
  row["encode_gb_per_s"] = measure->encode_gb_per_s;
  row["decode_gb_per_s"] = measure->decode_gb_per_s;
  row["state_bytes"] = measure->state_bytes;
  return row;
}

std::string Number(const Json& value, const char* format) {
  if (!value.is_number()) return "-";
  return value.get<double>() < 100
             ? absl::StrFormat(*absl::ParsedFormat<'f'>::New(format), value.get<double>())
             : absl::StrFormat("%.0f", value.get<double>());
}

std::string BenchForPeople(const Json& report) {
  std::vector<std::vector<std::string>> table = {{"codec", "source", "bits", "SNR dB", "above R(D)",
                                                  "added variance", "encode GB/s", "decode GB/s",
                                                  "state"}};
  for (const Json& row : report["rows"]) {
    table.push_back(
        {row["codec"], row["source"], Number(row["bits_per_element"], "%.3f"),
         Number(row["snr_db"], "%.2f"), Number(row.value("bits_above_rd", Json()), "%.2f"),
         Number(row["added_variance"], "%.3f"), Number(row["encode_gb_per_s"], "%.2f"),
         Number(row["decode_gb_per_s"], "%.2f"), StateWords(row["state_bytes"].get<int64_t>())});
  }
  return absl::StrCat(Table(table), "\nmemcpy ",
                      absl::StrFormat("%.2f", report["memcpy_gb_per_s"].get<double>()),
                      " GB/s; bits and SNR of the first visit of every sample, of a captured "
                      "edge over all its frames from a cold start; added variance: of a weight's "
                      "gradient, over that of its mini-batch\n");
}

// Tokens may be left out of gradients alone.
bool IsForGradients(const Codec& codec) {
  EdgeShape shape;
  shape.width = 1;
  const bool forward = codec.MakeEncoder(shape).ok();
  shape.direction = Direction::kBackward;
  return !forward && codec.MakeEncoder(shape).ok();
}

absl::Status Bench(const Invocation& in) {
  std::vector<std::string> texts = in.Texts("codec");
  if (texts.empty())
    for (const CodecRow& row : CodecTable()) texts.emplace_back(row.example);
  std::vector<std::shared_ptr<const Codec>> codecs;
  for (const std::string& text : texts) {
    ISTHMUS_ASSIGN_OR_RETURN(codecs.emplace_back(), Codec::Parse(text));
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<Source> sources, Sources(in));
  Json report = {{"memcpy_gb_per_s", MemcpyGbPerS(kBenchTokens * kBenchWidth)},
                 {"rows", Json::array()}};
  for (const Source& source : sources) {
    for (const auto& codec : codecs) {
      if (codec->ForwardOnly() && source.IsGradient()) continue;
      if (source.capture.has_value() && !source.IsGradient() && IsForGradients(*codec)) continue;
      ISTHMUS_ASSIGN_OR_RETURN(Json row, BenchRow(codec->text(), source, sources));
      report["rows"].push_back(std::move(row));
    }
  }
  Print(in.On("json") ? report.dump() + "\n" : BenchForPeople(report));
  return absl::OkStatus();
}

absl::Status RunCodec(const Invocation& in) {
  const std::string& what = in.arguments()[0];
  if (what == "bench") return Bench(in);
  if (what != "list") return InvalidArgument("codec: expected `list` or `bench`, got ", what);
  if (in.Given("input") || in.Given("codec"))
    return InvalidArgument("codec list: expected no --input and no --codec, got one");
  return List(in);
}

}  // namespace

CliCommand CodecCommand() {
  return {.name = "codec",
          .arguments = "list|bench",
          .least_arguments = 1,
          .most_arguments = 1,
          .summary = "the codecs of this build; their rate, distortion and speed",
          .notes =
              "bench codes 4096 x 1024 made-up values of five kinds, or --input, on one core.\n"
              "Codecs of activations alone have no row for gradients, codecs of gradients alone "
              "none for "
              "activations.",
          .flags = {{.name = "input",
                     .value = "FILE",
                     .help = "bench on this .npy file ('<f4'; the last dimension is the width) or "
                             "on a folder of train --dump-edges"},
                    {.name = "codec",
                     .value = "SPEC",
                     .help = "bench this codec (again for more; default: one of each)",
                     .repeated = true},
                    {.name = "json", .kind = FlagKind::kSwitch, .help = "one JSON document"}},
          .run = RunCodec};
}

}  // namespace isthmus
