#include "bench/training_tables.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "bench/svg_plot.h"
#include "bench/training_families.h"
#include "bench/training_outcome.h"

namespace isthmus::bench {
namespace {

using Spec = CellRuns::Spec;

std::string Line(const std::vector<std::string>& cells) {
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |\n");
}
std::string Head(const std::vector<std::string>& cells) {
  return absl::StrCat(Line(cells), "|",
                      absl::StrJoin(std::vector<std::string>(cells.size(), "---"), "|"), "|\n");
}
std::string FileName(const std::string& text) {
  return absl::StrReplaceAll(text, {{"/", "_"}, {" ", "_"}});
}

// Only rows of runs; times are rows of their own.
std::map<std::string, CellRuns> CellsOf(const Rows& rows) {
  Rows runs;
  for (const nlohmann::json& row : rows)
    if (row.contains("loss") && row.contains("family")) runs.push_back(row);
  std::map<std::string, CellRuns> cells;
  for (const auto& [name, of_cell] : RowsByCell(runs)) cells.emplace(name, CellRuns(of_cell));
  return cells;
}

size_t SeedsOf(const CellRuns& cell) { return cell.UncompressedLosses().size(); }

std::string Above(const Spec& spec) {
  if (spec.mean_above() > 10) return "diverges";
  const auto interval = spec.interval();
  return interval.has_value()
             ? absl::StrFormat("%+.2f ± %.2f", 100 * spec.mean_above(), 100 * *interval)
             : absl::StrFormat("%+.2f", 100 * spec.mean_above());
}

std::string MeanLoss(const CellRuns& cell) {
  const std::vector<double> losses = cell.UncompressedLosses();
  double sum = 0.0;
  for (const double loss : losses) sum += loss;
  return absl::StrFormat("%.3f", sum / static_cast<double>(losses.size()));
}

// The best of the families of a role that reach the loss.
std::optional<std::pair<std::string, Spec>> BestOf(const CellRuns& cell,
                                                   const std::vector<FamilyRole>& roles) {
  std::optional<std::pair<std::string, Spec>> best;
  for (const TrainingFamily& family : TrainingFamilies()) {
    if (std::find(roles.begin(), roles.end(), family.role) == roles.end()) continue;
    const auto spec = cell.Best(family.name, SeedsOf(cell));
    if (spec.has_value() && (!best || spec->bits < best->second.bits))
      best.emplace(family.name, *spec);
  }
  return best;
}

std::string BitsOf(const std::optional<Spec>& spec) {
  return spec.has_value() ? absl::StrFormat("%.2f", spec->bits) : "–";
}
std::string Share(const std::optional<Spec>& ours, const std::optional<Spec>& other) {
  return ours.has_value() && other.has_value() ? absl::StrFormat("%.2f", ours->bits / other->bits)
                                               : "–";
}

// AQ-SGD as published, whatever it reaches: bytes do not depend on that.
std::optional<Spec> Published(const CellRuns& cell) {
  const std::vector<Spec> specs = cell.SpecsOf("aqsgd 2/4 as published");
  return specs.empty() ? std::nullopt : std::optional<Spec>(specs.front());
}

std::string BarTable(const std::map<std::string, CellRuns>& cells) {
  std::string text =
      Head({"run", "seeds", "loss of none", "ecq bits", "f / b", "codec", "loss above none, %",
            "AQ-SGD 2/4 bits", "ecq / it", "best other, tuned", "bits", "ecq / it"});
  for (const auto& [name, cell] : cells) {
    if (cell.empty()) continue;
    const auto ours = BestOf(cell, {FamilyRole::kOurs});
    const auto other = BestOf(cell, {FamilyRole::kRival, FamilyRole::kFurther});
    const std::optional<Spec> spec = ours ? std::optional(ours->second) : std::nullopt;
    const std::optional<Spec> rival = other ? std::optional(other->second) : std::nullopt;
    absl::StrAppend(
        &text,
        Line(
            {name, absl::StrCat(SeedsOf(cell)), MeanLoss(cell), BitsOf(spec),
             spec ? absl::StrFormat("%.2f / %.2f", spec->bits_forward, spec->bits_backward) : "–",
             spec ? absl::StrCat("`", spec->codec.forward, "`, `", spec->codec.backward, "`") : "–",
             spec ? Above(*spec) : "–", BitsOf(Published(cell)), Share(spec, Published(cell)),
             other ? other->first : "–", BitsOf(rival), Share(spec, rival)}));
  }
  return text;
}

// Of each family the setting that reaches the loss; where none does, the finest, in brackets.
std::string CellTable(const CellRuns& cell) {
  std::string text = Head(
      {"codec", "forward, backward", "bits", "f / b", "first epoch", "loss above none, %", "runs"});
  for (const TrainingFamily& family : TrainingFamilies()) {
    const std::vector<Spec> specs = cell.SpecsOf(family.name);
    if (specs.empty()) continue;
    const auto best = cell.Best(family.name, SeedsOf(cell));
    const Spec& shown = best.has_value() ? *best : specs.front();
    size_t runs = 0;
    for (const Spec& spec : specs) runs += spec.above.size();
    const std::string bits = absl::StrFormat("%.2f", shown.bits);
    absl::StrAppend(
        &text,
        Line({family.name,
              absl::StrCat("`", shown.codec.forward, "`, `", shown.codec.backward, "`"),
              best.has_value() ? bits : absl::StrCat("(", bits, ")"),
              absl::StrFormat("%.2f / %.2f", shown.bits_forward, shown.bits_backward),
              absl::StrFormat("%.2f", shown.bits_first_epoch), Above(shown), absl::StrCat(runs)}));
  }
  return text;
}

// Cell -> family -> rate -> seconds to the loss.
using Times = std::map<std::string, std::map<std::string, std::map<int, double>>>;

Times SimulatedTimes(const Rows& rows) {
  Times times;
  for (const nlohmann::json& row : rows)
    for (const nlohmann::json& point : row.value("simulated", nlohmann::json::array()))
      times[row.value("cell", "")][row.value("family", "")][point.value("rate_mbps", 0)] =
          point.value("step_s", 0.0) * row.value("steps", 0.0);
  return times;
}

Plot LossPlot(const std::string& name, const CellRuns& cell) {
  Plot plot{.title = absl::StrCat("Loss after fine-tuning: ", name),
            .x_label = "true bits per element of the whole run, both directions",
            .y_label = "loss above the uncompressed run's, %",
            .most_x = 7,
            .least_y = -1,
            .most_y = 3,
            .lines = {}};
  for (const TrainingFamily& family : TrainingFamilies()) {
    PlotLine line{.name = family.name, .points = {}, .strong = family.name == "ecq"};
    for (const Spec& spec : cell.SpecsOf(family.name))
      line.points.emplace_back(spec.bits, 100 * spec.mean_above());
    std::sort(line.points.begin(), line.points.end());
    if (!line.points.empty()) plot.lines.push_back(std::move(line));
  }
  return plot;
}

Plot TimePlot(const std::string& name,
              const std::map<std::string, std::map<int, double>>& families) {
  Plot plot{.title = absl::StrCat("Time to the loss: ", name),
            .x_label = "rate of every host's link, Mbit/s",
            .y_label = "seconds",
            .log_y = true,
            .most_x = 500,
            .least_y = 1e9,
            .most_y = 0,
            .lines = {}};
  for (const TrainingFamily& family : TrainingFamilies()) {
    const auto found = families.find(family.name);
    if (found == families.end()) continue;
    PlotLine line{.name = family.name, .points = {}, .strong = family.name == "ecq"};
    for (const auto& [rate, seconds] : found->second) {
      if (rate == 0) continue;  // no limit
      line.points.emplace_back(rate, seconds);
      plot.least_y = std::min(plot.least_y, seconds / 1.2);
      plot.most_y = std::max(plot.most_y, seconds * 1.2);
    }
    plot.lines.push_back(std::move(line));
  }
  return plot;
}

std::string CheckTable(const Rows& rows) {
  std::string text;
  for (const nlohmann::json& row : rows) {
    if (!row.contains("measured_s")) continue;
    if (text.empty())
      text = Head({"run", "codec", "Mbit/s", "measured s", "simulated s", "simulated / measured"});
    const double measured = row.value("measured_s", 0.0), simulated = row.value("simulated_s", 0.0);
    absl::StrAppend(
        &text,
        Line({row.value("cell", ""), row.value("family", ""),
              absl::StrCat(row.value("rate_mbps", 0)), absl::StrFormat("%.2f", measured),
              absl::StrFormat("%.2f", simulated), absl::StrFormat("%.2f", simulated / measured)}));
  }
  return text;
}

}  // namespace

std::string TrainingTables(const Rows& rows) {
  const std::map<std::string, CellRuns> cells = CellsOf(rows);
  std::string text = BarTable(cells);
  for (const auto& [name, cell] : cells)
    if (!cell.empty()) absl::StrAppend(&text, "\n### ", name, "\n\n", CellTable(cell));
  return text;
}

std::string TrainingTimeTables(const Rows& rows) {
  std::string text;
  for (const auto& [name, families] : SimulatedTimes(rows)) {
    std::vector<std::string> head = {"codec"};
    const auto fp16 = families.find("fp16");
    for (const auto& [rate, seconds] : families.begin()->second)
      head.push_back(rate > 0 ? absl::StrCat(rate, " Mbit/s") : "no limit");
    absl::StrAppend(&text, "\n### ", name, "\n\n", Head(head));
    for (const auto& [family, times] : families) {
      std::vector<std::string> cells = {family};
      for (const auto& [rate, seconds] : times) {
        cells.push_back(absl::StrFormat("%.1f", seconds));
        if (fp16 != families.end() && fp16->second.count(rate) > 0)
          absl::StrAppendFormat(&cells.back(), " (%.1fx)", fp16->second.at(rate) / seconds);
      }
      absl::StrAppend(&text, Line(cells));
    }
  }
  const std::string check = CheckTable(rows);
  if (!check.empty()) absl::StrAppend(&text, "\n", check);
  return text;
}

std::vector<NamedPlot> TrainingPlots(const Rows& rows) {
  std::vector<NamedPlot> plots;
  for (const auto& [name, cell] : CellsOf(rows))
    if (!cell.empty()) plots.push_back({FileName("training " + name), SvgOf(LossPlot(name, cell))});
  for (const auto& [name, families] : SimulatedTimes(rows))
    plots.push_back({FileName("time " + name), SvgOf(TimePlot(name, families))});
  return plots;
}

}  // namespace isthmus::bench
