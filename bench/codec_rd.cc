#include "bench/codec_rd.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/codec_families.h"
#include "bench/process.h"
#include "compression/codec_measure.h"
#include "compression/synthetic_source.h"

namespace isthmus::bench {
namespace {

// Rate and distortion settle long before this many values.
constexpr int64_t kTokens = 1024, kWidth = 1024;
constexpr int kSteps = 3;

double AboveRd(double bits, double snr_db) { return bits - snr_db / (20.0 * std::log10(2.0)); }

std::string Key(const std::string& source, const std::string& codec) {
  return absl::StrCat(source, "/", codec);
}

nlohmann::json Row(const std::string& source, const CodecFamily& family, const std::string& codec,
                   double bits, double snr_db) {
  return {{"source", source}, {"family", family.name},
          {"codec", codec},   {"bits_per_element", bits},
          {"snr_db", snr_db}, {"bits_above_rd", AboveRd(bits, snr_db)}};
}

absl::Status MeasureSource(const std::string& source, ResultFile* results) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<float> values,
                           SyntheticValues(source, kTokens, kWidth));
  for (const CodecFamily& family : CodecFamilies()) {
    for (size_t i = 0; i < family.values.size(); ++i) {
      const std::string codec = family.Spec(i), key = Key(source, codec);
      if (results->Find(key) != nullptr) continue;
      ISTHMUS_ASSIGN_OR_RETURN(const CodecMeasure measure, MeasureCodec(codec, values, kWidth, 1));
      ISTHMUS_RETURN_IF_ERROR(
          results->Add(key, Row(source, family, codec, measure.bits_per_element, measure.snr_db)));
      std::fprintf(stderr, "bench: %s: %.3f bits, %.2f dB\n", key.c_str(), measure.bits_per_element,
                   measure.snr_db);
    }
  }
  return absl::OkStatus();
}

absl::Status Capture(const CaptureJob& job, const std::string& dump) {
  const std::string yaml = absl::StrCat(job.folder, "/capture.yaml");
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(
      yaml, absl::StrCat("model: ", job.model, "\ndata: {train: ", job.text,
                         ", sequence_length: 128}\nsplit: {head_layers: 1, tail_layers: 1}\n",
                         "train: {steps: ", kSteps,
                         ", micro_batch_size: 4, micro_batches: 2, seed: 1}\ncodec: none\noutput: "
                         "capture-run\n")));
  return RunProgram({job.isthmus, "train", yaml, "--overwrite", "--quiet", "--dump-edges", dump,
                     "--dump-steps", absl::StrCat(kSteps)})
      .status();
}

}  // namespace

absl::Status MeasureSynthetic(ResultFile* results) {
  for (const absl::string_view source : SyntheticSources())
    ISTHMUS_RETURN_IF_ERROR(MeasureSource(std::string(source), results));
  return absl::OkStatus();
}

absl::Status MeasureCapturedEdges(const CaptureJob& job, ResultFile* results) {
  const std::string done = absl::StrCat("capture/", job.name);
  if (results->Find(done) != nullptr) return absl::OkStatus();
  const std::string dump = absl::StrCat(job.folder, "/capture-", job.name);
  std::error_code error;
  std::filesystem::remove_all(dump, error);
  ISTHMUS_RETURN_IF_ERROR(Capture(job, dump));
  for (const CodecFamily& family : CodecFamilies()) {
    std::vector<std::string> command = {job.isthmus, "codec", "bench", "--json", "--input", dump};
    for (size_t i = 0; i < family.values.size(); ++i) {
      command.push_back("--codec");
      command.push_back(family.Spec(i));
    }
    ISTHMUS_ASSIGN_OR_RETURN(const nlohmann::json report, RunJson(command));
    for (const nlohmann::json& row : report.at("rows")) {
      const std::string source = absl::StrCat(job.name, " ", row.at("source").get<std::string>());
      const std::string codec = row.at("codec");
      if (row.at("snr_db").is_null()) continue;  // nothing is lost: no point of a curve
      ISTHMUS_RETURN_IF_ERROR(
          results->Add(Key(source, codec),
                       Row(source, family, codec, row.at("bits_per_element"), row.at("snr_db"))));
    }
    std::fprintf(stderr, "bench: %s: %s\n", job.name.c_str(), family.name.c_str());
  }
  return results->Add(done, {{"steps", kSteps}});
}

}  // namespace isthmus::bench
