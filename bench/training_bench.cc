// Equal loss in fine-tuning: models learn data sets over codecs, and what a codec costs is the
// bytes of the coarsest of its settings that ends within 0.5 % of the uncompressed run's loss.
//
//   isthmus_training_bench --shared DIR --results FILE [--cell PREFIX]… [--family NAME]… [--seeds
//   N]
//
// Every cell (training_cells.h), family (training_families.h) and seed. A family's ladder is
// searched by halves with the first seed; the rung found runs with the other seeds, and a finer one
// when their mean is too high. Rows already in FILE are not run again.
//
// With PROGRAM the runs that reach the loss are done once more as a user does them, without links
// that are emulated: from that speed and the bytes sent the simulator says how long they take at
// 10, 50, 100 and 500 Mbit/s. At every MBPS given they are also done for real.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/process.h"
#include "bench/result_file.h"
#include "bench/training_cells.h"
#include "bench/training_families.h"
#include "bench/training_outcome.h"
#include "bench/training_ring.h"
#include "bench/training_time.h"
#include "client/job.h"
#include "engine/torch/engine.h"
#include "engine/torch/environment.h"

namespace isthmus::bench {
namespace {

// Of every party: only their shares count.
constexpr double kAnyFlops = 1e10;
constexpr int kRatesMbps[] = {0, 10, 50, 100, 500};

struct Options {
  std::string shared, results, isthmus;
  std::vector<std::string> cells, families;  // empty: all
  std::vector<int> rates_mbps;               // of real runs
  int seeds = 3;
  std::string folder() const { return results.substr(0, results.rfind('/')); }
};

// Runs of one cell, measured when they are asked for.
class CellBench {
 public:
  CellBench(const Options& options, const TrainingCell& cell, TrainingFiles files, Engine* engine,
            ResultFile* results)
      : options_(options),
        cell_(cell),
        files_(std::move(files)),
        engine_(engine),
        results_(results) {}

  absl::Status Uncompressed() {
    const TrainingFamily none = {"none", FamilyRole::kPublished, "none", "none", {{0, 0}}};
    for (int seed = 1; seed <= options_.seeds; ++seed)
      ISTHMUS_RETURN_IF_ERROR(Measure(none, 0, seed));
    return absl::OkStatus();
  }

  absl::Status Tune(const TrainingFamily& family) {
    // Of a ladder the coarsest rung that reaches the loss; one rung is run whatever it reaches.
    size_t low = 0, high = family.rungs.size();
    while (low < high) {
      const size_t middle = (low + high) / 2;
      ISTHMUS_ASSIGN_OR_RETURN(const bool reached, Reaches(family, middle, 1));
      if (reached) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    size_t rung = low > 0 ? low - 1 : 0;
    for (;;) {
      ISTHMUS_ASSIGN_OR_RETURN(const bool reached, Reaches(family, rung, options_.seeds));
      if (reached || rung == 0) return absl::OkStatus();
      --rung;
    }
  }

  // Of the setting that reaches the loss; nothing where none does.
  absl::Status Time(const TrainingFamily& family) {
    const auto best = CellRuns(RowsByCell(results_->rows())[cell_.Name()])
                          .Best(family.name, static_cast<size_t>(options_.seeds));
    if (!best.has_value()) return absl::OkStatus();
    const nlohmann::json row =
        *results_->Find(Key(best->codec.forward, best->codec.backward, 1, family.adaptive));
    TrainingRunSpec run = {cell_, files_, best->codec, 1, 0};
    ISTHMUS_ASSIGN_OR_RETURN(
        const Job job, ParseJob(TrainingJob(run, options_.shared, "unused"), options_.folder()));
    ISTHMUS_ASSIGN_OR_RETURN(const v1::Plan plan, PlanOfJob(job, kAnyFlops));
    ISTHMUS_ASSIGN_OR_RETURN(const double unshaped_s, StepSeconds(run));
    nlohmann::json times = {{"cell", cell_.Name()},
                            {"family", family.name},
                            {"steps", row.value("steps", 0)},
                            {"simulated", nlohmann::json::array()}};
    for (const int rate : kRatesMbps) {
      ISTHMUS_ASSIGN_OR_RETURN(const double step_s,
                               SimulatedStepSeconds(plan, row, unshaped_s, rate, Cores()));
      times["simulated"].push_back({{"rate_mbps", rate}, {"step_s", step_s}});
    }
    ISTHMUS_RETURN_IF_ERROR(
        results_->Add(absl::StrCat("time/", cell_.Name(), "/", family.name), times));
    for (const int rate : options_.rates_mbps) {
      run.rate_mbps = rate;
      ISTHMUS_ASSIGN_OR_RETURN(const double measured_s, StepSeconds(run));
      ISTHMUS_ASSIGN_OR_RETURN(const double simulated_s,
                               SimulatedStepSeconds(plan, row, unshaped_s, rate, Cores()));
      ISTHMUS_RETURN_IF_ERROR(
          results_->Add(absl::StrCat("shaped/", cell_.Name(), "/", family.name, "/", rate),
                        {{"cell", cell_.Name()},
                         {"family", family.name},
                         {"rate_mbps", rate},
                         {"measured_s", measured_s},
                         {"simulated_s", simulated_s}}));
    }
    return absl::OkStatus();
  }

 private:
  static uint32_t Cores() { return std::max(1u, std::thread::hardware_concurrency()); }

  // Mean step of a whole run of the program; measured once for each codec and rate.
  absl::StatusOr<double> StepSeconds(const TrainingRunSpec& run) {
    const std::string key = absl::StrCat("run/", cell_.Name(), "/", run.codec.forward, "/",
                                         run.codec.backward, "/", run.rate_mbps);
    if (const nlohmann::json* row = results_->Find(key)) return row->value("step_s", 0.0);
    const std::string path = absl::StrCat(options_.folder(), "/job.yaml");
    ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(
        path, TrainingJob(run, options_.shared, absl::StrCat(options_.folder(), "/run"))));
    ISTHMUS_ASSIGN_OR_RETURN(const nlohmann::json report,
                             RunJson({options_.isthmus, "train", path, "--overwrite", "--json",
                                      "--quiet", "--threads", "1"}));
    const auto time = report.find("time");
    const double steps = report.value("steps", 0.0);
    if (time == report.end() || steps < 1)
      return Internal("training: expected a report with time and steps (", path, ")");
    const double step_s = time->value("wall_s", 0.0) / steps;
    std::fprintf(stderr, "bench: %s: %.4f s a step\n", key.c_str(), step_s);
    ISTHMUS_RETURN_IF_ERROR(results_->Add(key, {{"step_s", step_s}}));
    return step_s;
  }

  absl::StatusOr<bool> Reaches(const TrainingFamily& family, size_t rung, int seeds) {
    for (int seed = 1; seed <= seeds; ++seed) ISTHMUS_RETURN_IF_ERROR(Measure(family, rung, seed));
    std::vector<nlohmann::json> rows;
    for (int seed = 1; seed <= seeds; ++seed) {
      rows.push_back(*results_->Find(Key("none", "none", seed, false)));
      const CodecPair codec = family.At(rung);
      rows.push_back(*results_->Find(Key(codec.forward, codec.backward, seed, family.adaptive)));
      rows.back()["family"] = family.name;
    }
    return CellRuns(rows).Best(family.name, static_cast<size_t>(seeds)).has_value();
  }

  std::string Key(const std::string& forward, const std::string& backward, int seed,
                  bool adaptive) const {
    return absl::StrCat(cell_.Name(), "/", forward, "/", backward, adaptive ? "/behind" : "", "/",
                        seed);
  }

  absl::Status Measure(const TrainingFamily& family, size_t rung, int seed) {
    const CodecPair codec = family.At(rung);
    const std::string key = Key(codec.forward, codec.backward, seed, family.adaptive);
    if (results_->Find(key) != nullptr) return absl::OkStatus();
    const TrainingRunSpec run = {cell_, files_, codec, static_cast<uint64_t>(seed), 0};
    ISTHMUS_ASSIGN_OR_RETURN(
        const Job job, ParseJob(TrainingJob(run, options_.shared, "unused"), options_.folder()));
    nlohmann::json row = {{"cell", cell_.Name()},
                          {"family", family.name},
                          {"forward", codec.forward},
                          {"backward", codec.backward},
                          {"seed", seed}};
    absl::StatusOr<nlohmann::json> trained = TrainInRing(engine_, job, family.adaptive);
    if (trained.ok()) {
      row.update(*trained);
    } else {
      // A run that leaves the numbers' range is a result, too.
      row["failed"] = std::string(trained.status().message());
      row["loss"] = 1e3;
    }
    std::fprintf(stderr, "bench: %s: %.3f bits, loss %.4f\n", key.c_str(),
                 row.value("bits_per_element", 0.0), row.value("loss", 0.0));
    return results_->Add(key, row);
  }

  const Options& options_;
  const TrainingCell cell_;
  const TrainingFiles files_;
  Engine* const engine_;
  ResultFile* const results_;
};

bool Wanted(const std::vector<std::string>& prefixes, const std::string& name) {
  return prefixes.empty() ||
         std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return absl::StartsWith(name, prefix); });
}

bool WantedFamily(const Options& options, const TrainingFamily& family) {
  return options.families.empty() || std::find(options.families.begin(), options.families.end(),
                                               family.name) != options.families.end();
}

absl::Status Run(const Options& options) {
  ISTHMUS_ASSIGN_OR_RETURN(ResultFile results, ResultFile::Open(options.results));
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeTorchEngine("cpu", 1));
  // What the bars ask for comes first: a run that is stopped has it.
  for (const bool further : {false, true}) {
    for (const TrainingCell& cell : TrainingCells()) {
      if (!Wanted(options.cells, cell.Name())) continue;
      ISTHMUS_ASSIGN_OR_RETURN(TrainingFiles files,
                               WriteTrainingFiles(cell, options.shared, options.folder()));
      CellBench bench(options, cell, std::move(files), engine.get(), &results);
      ISTHMUS_RETURN_IF_ERROR(bench.Uncompressed());
      for (const TrainingFamily& family : TrainingFamilies()) {
        if ((family.role == FamilyRole::kFurther) != further || !WantedFamily(options, family))
          continue;
        ISTHMUS_RETURN_IF_ERROR(bench.Tune(family));
        if (!options.isthmus.empty()) ISTHMUS_RETURN_IF_ERROR(bench.Time(family));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Options> ParseArguments(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--shared") {
      options.shared = value;
    } else if (name == "--results") {
      options.results = value;
    } else if (name == "--cell") {
      options.cells.push_back(value);
    } else if (name == "--family") {
      options.families.push_back(value);
    } else if (name == "--isthmus") {
      options.isthmus = value;
    } else if (int rate = 0; name == "--rate" && absl::SimpleAtoi(value, &rate) && rate > 0) {
      options.rates_mbps.push_back(rate);
    } else if (name != "--seeds" || !absl::SimpleAtoi(value, &options.seeds) || options.seeds < 1) {
      return InvalidArgument(
          "training: expected --shared, --results, --isthmus, --cell, --family, --rate MBPS or "
          "--seeds N, got ",
          name, " ", value);
    }
  }
  if (argc % 2 == 0 || options.shared.empty() || options.results.find('/') == std::string::npos)
    return InvalidArgument("training: expected --shared DIR --results FOLDER/FILE");
  options.shared = std::filesystem::absolute(options.shared).string();
  options.results = std::filesystem::absolute(options.results).string();
  return options;
}

}  // namespace
}  // namespace isthmus::bench

int main(int argc, char** argv) {
  isthmus::TuneProcess(argv);
  const auto options = isthmus::bench::ParseArguments(argc, argv);
  const absl::Status status = options.ok() ? isthmus::bench::Run(*options) : options.status();
  if (!status.ok()) std::fprintf(stderr, "bench: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : options.ok() ? 1 : 2;
}
