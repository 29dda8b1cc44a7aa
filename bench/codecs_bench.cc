// `./dev bench codecs`: the codecs beside each other, in parts that can be chosen and go on where
// they were stopped.
//
//   isthmus_codecs_bench --isthmus PROGRAM --out FOLDER [--shared FOLDER] [[--only] PART]…
//                        [--model NAME]… [--text NAME]… [--tokens N] [--fresh]
//                        [--cell PREFIX]… [--family NAME]… [--seeds N] [--rate MBPS]…
//
//   rd       rate and distortion on made-up sources and captured edges
//   speed    GB/s beside memcpy (isthmus_codec_bench)
//   posthoc  loss of trained models against true bits (isthmus_posthoc_bench; the models and texts
//            lie below --shared)
//   training loss of fine-tuning runs against their bytes, and the time to it
//            (isthmus_training_bench); takes hours, so only where it is named
//
// FOLDER/codecs/PART.jsonl has the rows, FOLDER/codecs.json all of them, codecs.md the tables,
// codecs/*.svg the curves. Without a part: all but training; --fresh forgets the rows of the chosen
// parts.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/codec_rd.h"
#include "bench/codec_tables.h"
#include "bench/machine.h"
#include "bench/posthoc_texts.h"
#include "bench/process.h"
#include "bench/result_file.h"
#include "bench/training_tables.h"

namespace isthmus::bench {
namespace {

constexpr const char* kParts[] = {"rd", "speed", "posthoc", "training"};

bool IsPart(const std::string& word) {
  return std::find(std::begin(kParts), std::end(kParts), word) != std::end(kParts);
}

struct Options {
  std::string programs, isthmus, out, shared;
  std::vector<std::string> only, models, texts;
  std::string tokens;
  std::vector<std::string> training;  // options of isthmus_training_bench and their values
  bool fresh = false;
  bool Wants(const std::string& part) const {
    if (only.empty()) return part != "training";
    return std::find(only.begin(), only.end(), part) != only.end();
  }
  std::string ResultPath(const std::string& part) const {
    return absl::StrCat(out, "/codecs/", part, ".jsonl");
  }
  bool HasShared(const std::string& path) const {
    return !shared.empty() && std::filesystem::exists(absl::StrCat(shared, "/", path));
  }
};

absl::Status RunRd(const Options& options, ResultFile* results) {
  ISTHMUS_RETURN_IF_ERROR(MeasureSynthetic(results));
  const std::string folder = options.out + "/codecs";
  for (const auto& [model, data] : std::vector<std::pair<std::string, std::string>>{
           {"stories260K", "tinystories"}, {"mixed-14m", "gsm8k"}}) {
    if (!options.HasShared("models/" + model)) {
      std::fprintf(stderr, "bench: no %s below --shared: its edges are not captured\n",
                   model.c_str());
      continue;
    }
    const std::string path = std::filesystem::absolute(options.shared).string();
    ISTHMUS_ASSIGN_OR_RETURN(const std::string text, WriteText(data, path + "/data", folder));
    ISTHMUS_RETURN_IF_ERROR(
        MeasureCapturedEdges({options.isthmus, model, absl::StrCat(path, "/models/", model),
                              std::filesystem::absolute(text).string(), folder},
                             results));
  }
  return absl::OkStatus();
}

absl::Status RunSpeed(const Options& options, ResultFile* results) {
  if (results->Find("speed") != nullptr) return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(const nlohmann::json report,
                           RunJson({absl::StrCat(options.programs, "/isthmus_codec_bench")}));
  return results->Add("speed", report);
}

absl::Status RunPosthoc(const Options& options) {
  const std::string program = absl::StrCat(options.programs, "/isthmus_posthoc_bench");
  if (!std::filesystem::exists(program))
    return Unimplemented("posthoc: expected a build with LibTorch, got one without");
  if (!options.HasShared("models") || !options.HasShared("data"))
    return NotFound("posthoc: expected models/ and data/ below --shared, got none (",
                    options.shared, ")");
  std::vector<std::string> command = {program, "--shared", options.shared, "--results",
                                      options.ResultPath("posthoc")};
  for (const std::string& model : options.models) command.insert(command.end(), {"--model", model});
  for (const std::string& text : options.texts) command.insert(command.end(), {"--text", text});
  if (!options.tokens.empty()) command.insert(command.end(), {"--tokens", options.tokens});
  return RunProgram(command).status();
}

absl::Status RunTraining(const Options& options) {
  const std::string program = absl::StrCat(options.programs, "/isthmus_training_bench");
  if (!std::filesystem::exists(program))
    return Unimplemented("training: expected a build with LibTorch, got one without");
  if (!options.HasShared("models") || !options.HasShared("data"))
    return NotFound("training: expected models/ and data/ below --shared, got none (",
                    options.shared, ")");
  std::vector<std::string> command = {
      program,     "--shared",     options.shared, "--results", options.ResultPath("training"),
      "--isthmus", options.isthmus};
  command.insert(command.end(), options.training.begin(), options.training.end());
  return RunProgram(command).status();
}

absl::Status RunPart(const Options& options, const std::string& part) {
  std::error_code error;
  if (options.fresh) std::filesystem::remove(options.ResultPath(part), error);
  if (part == "posthoc") return RunPosthoc(options);
  if (part == "training") return RunTraining(options);
  ISTHMUS_ASSIGN_OR_RETURN(ResultFile results, ResultFile::Open(options.ResultPath(part)));
  return part == "rd" ? RunRd(options, &results) : RunSpeed(options, &results);
}

// All rows there are, of this run and of earlier ones.
absl::Status WriteReport(const Options& options) {
  nlohmann::json report = {{"machine", Machine()}};
  std::string page = absl::StrCat("# Codecs, ", MachineLine(report["machine"]), "\n");
  std::vector<NamedPlot> plots;
  for (const std::string part : kParts) {
    ISTHMUS_ASSIGN_OR_RETURN(const ResultFile results, ResultFile::Open(options.ResultPath(part)));
    const Rows rows = results.rows();
    if (rows.empty()) continue;
    report[part] = rows;
    if (part == "rd") {
      absl::StrAppend(&page, "\n## Bits above the Gaussian R(D)\n\n", RateTables(rows));
      plots = RatePlots(rows);
    } else if (part == "speed") {
      absl::StrAppend(&page, "\n## One core, shares of memcpy\n\n", SpeedTable(rows));
    } else if (part == "training") {
      absl::StrAppend(&page, "\n## Bits to the uncompressed run's loss\n\n", TrainingTables(rows),
                      "\n## Time to the loss\n", TrainingTimeTables(rows));
      for (NamedPlot& plot : TrainingPlots(rows)) plots.push_back(std::move(plot));
    } else {
      absl::StrAppend(&page, "\n## True bits at which the loss rises by 0.01 / 0.03 / 0.1\n\n",
                      LossTables(rows));
      for (NamedPlot& plot : LossPlots(rows)) plots.push_back(std::move(plot));
    }
  }
  for (const NamedPlot& plot : plots)
    ISTHMUS_RETURN_IF_ERROR(
        WriteFileAtomic(absl::StrCat(options.out, "/codecs/", plot.name, ".svg"), plot.svg));
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(options.out + "/codecs.json", report.dump(1) + "\n"));
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(options.out + "/codecs.md", page));
  std::fputs(page.c_str(), stdout);
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(options.out + "/codecs"));
  for (const std::string part : kParts)
    if (options.Wants(part)) ISTHMUS_RETURN_IF_ERROR(RunPart(options, part));
  return WriteReport(options);
}

absl::Status SetOption(const std::string& name, const std::string& value, Options* options) {
  if (name == "--isthmus") {
    options->isthmus = value;
  } else if (name == "--out") {
    options->out = value;
  } else if (name == "--shared") {
    options->shared = value;
  } else if (name == "--model") {
    options->models.push_back(value);
  } else if (name == "--text") {
    options->texts.push_back(value);
  } else if (int tokens = 0; name == "--tokens" && absl::SimpleAtoi(value, &tokens) && tokens > 0) {
    options->tokens = value;
  } else if (name == "--only" && IsPart(value)) {
    options->only.push_back(value);
  } else if (name == "--cell" || name == "--family" || name == "--seeds" || name == "--rate") {
    options->training.insert(options->training.end(), {name, value});
  } else {
    return InvalidArgument("bench codecs: expected ", absl::StrJoin(kParts, "|"),
                           ", --cell PREFIX, --family NAME, --seeds N, --rate MBPS, --model NAME, "
                           "--text NAME, --tokens N, --shared FOLDER or --fresh, got ",
                           name, " ", value);
  }
  return absl::OkStatus();
}

absl::StatusOr<Options> ParseArguments(int argc, char** argv) {
  Options options;
  const std::string self = argv[0];
  options.programs = self.substr(0, self.find_last_of('/'));
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--fresh") {
      options.fresh = true;
      continue;
    }
    if (IsPart(name)) {
      options.only.push_back(name);
      continue;
    }
    ISTHMUS_RETURN_IF_ERROR(SetOption(name, i + 1 < argc ? argv[i + 1] : "nothing", &options));
    ++i;
  }
  if (options.isthmus.empty() || options.out.empty())
    return InvalidArgument("bench codecs: expected --isthmus PROGRAM --out FOLDER");
  return options;
}

}  // namespace
}  // namespace isthmus::bench

int main(int argc, char** argv) {
  const auto options = isthmus::bench::ParseArguments(argc, argv);
  const absl::Status status = options.ok() ? isthmus::bench::Run(*options) : options.status();
  if (!status.ok()) std::fprintf(stderr, "bench: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : options.ok() ? 1 : 2;
}
