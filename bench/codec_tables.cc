#include "bench/codec_tables.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "bench/codec_families.h"
#include "bench/svg_plot.h"
#include "bench/table.h"

namespace isthmus::bench {
namespace {

constexpr double kSnrs[] = {10, 20, 30};
constexpr double kLosses[] = {0.01, 0.03, 0.1};
// Below this a measured difference of losses is noise of the text.
constexpr double kLeastLoss = 1e-4;

std::string Line(const std::vector<std::string>& cells) {
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |\n");
}
std::string Head(const std::vector<std::string>& cells) {
  return absl::StrCat(Line(cells), "|",
                      absl::StrJoin(std::vector<std::string>(cells.size(), "---"), "|"), "|\n");
}

std::string Number(const std::optional<double>& value, const char* missing = "") {
  return value.has_value() ? absl::StrFormat("%.2f", *value) : missing;
}

// Group -> family -> curve, ascending.
using Curves = std::map<std::string, std::map<std::string, Curve>>;

Curves CurvesOf(const Rows& rows, const char* x, const char* y,
                const std::function<std::string(const nlohmann::json&)>& group) {
  Curves curves;
  for (const nlohmann::json& row : rows) {
    if (!row.contains(x) || !row.contains(y)) continue;
    curves[group(row)][row.value("family", "")].emplace_back(row.value(x, 0.0), row.value(y, 0.0));
  }
  for (auto& [name, families] : curves)
    for (auto& [family, curve] : families) std::sort(curve.begin(), curve.end());
  return curves;
}

std::string SourceOf(const nlohmann::json& row) { return row.value("source", ""); }

// Model; text and how much of it. Below them the cuts.
using Place = std::pair<std::string, std::string>;
using CutCurves = std::map<int64_t, std::map<std::string, Curve>>;

std::map<Place, CutCurves> LossCurves(const Rows& rows) {
  std::map<Place, CutCurves> places;
  for (const nlohmann::json& row : rows) {
    if (row.value("family", "none") == "none") continue;
    const std::string text =
        absl::StrCat(row.value("text", ""), ", ", row.value("tokens", 0), " positions");
    places[{row.value("model", ""), text}][row.value("after", int64_t{0})][row.value("family", "")]
        .emplace_back(row.value("bits_per_element", 0.0), row.value("added", 0.0));
  }
  for (auto& [place, cuts] : places)
    for (auto& [cut, families] : cuts)
      for (auto& [family, curve] : families) std::sort(curve.begin(), curve.end());
  return places;
}

std::optional<double> BitsOf(const std::map<std::string, Curve>& families, const std::string& name,
                             double added) {
  const auto found = families.find(name);
  return found == families.end() ? std::nullopt : BitsAtLoss(found->second, added);
}

std::optional<double> BestRival(const std::map<std::string, Curve>& families, double added) {
  std::optional<double> best;
  for (const CodecFamily& family : CodecFamilies()) {
    if (!family.rival) continue;
    const auto bits = BitsOf(families, family.name, added);
    if (bits.has_value() && (!best.has_value() || *bits < *best)) best = bits;
  }
  return best;
}

std::string PlaceTable(const CutCurves& cuts) {
  std::vector<std::string> head = {"codec"};
  for (const auto& [cut, families] : cuts) head.push_back(absl::StrCat("after ", cut));
  std::string text = Head(head);
  for (const CodecFamily& family : CodecFamilies()) {
    std::vector<std::string> cells = {family.name};
    for (const auto& [cut, families] : cuts) {
      std::vector<std::string> bits;
      for (const double added : kLosses)
        bits.push_back(Number(BitsOf(families, family.name, added), "–"));
      cells.push_back(families.contains(family.name) ? absl::StrJoin(bits, " / ") : "");
    }
    absl::StrAppend(&text, Line(cells));
  }
  return text;
}

// What ecq saves at each cut against the best rival, in percent.
std::string SavingsTable(const std::map<Place, CutCurves>& places) {
  std::string text = Head({"model", "text", "loss +", "saved at each cut, %", "least", "mean"});
  for (const auto& [place, cuts] : places) {
    for (const double added : kLosses) {
      std::vector<std::string> shown;
      double sum = 0, least = 100;
      for (const auto& [cut, families] : cuts) {
        const auto ours = BitsOf(families, "ecq", added), best = BestRival(families, added);
        if (!ours.has_value() || !best.has_value()) continue;
        const double saved = 100 * (1 - *ours / *best);
        shown.push_back(absl::StrFormat("%.0f", saved));
        sum += saved;
        least = std::min(least, saved);
      }
      if (shown.empty()) continue;
      absl::StrAppend(
          &text, Line({place.first, place.second, absl::StrCat(added), absl::StrJoin(shown, " "),
                       absl::StrFormat("%.0f", least),
                       absl::StrFormat("%.0f", sum / static_cast<double>(shown.size()))}));
    }
  }
  return text;
}

std::string RateTable(const Curves& curves, double snr) {
  std::vector<std::string> head = {
      absl::StrFormat("at %g dB, R(D) = %.2f bits", snr, snr / (20 * std::log10(2.0)))};
  for (const auto& [source, families] : curves) head.push_back(source);
  std::string text = Head(head);
  for (const CodecFamily& family : CodecFamilies()) {
    std::vector<std::string> cells = {family.name};
    for (const auto& [source, families] : curves) {
      const auto found = families.find(family.name);
      cells.push_back(found == families.end() ? "" : Number(Between(found->second, snr)));
    }
    absl::StrAppend(&text, Line(cells));
  }
  return text;
}

std::string FileName(const std::string& text) {
  return absl::StrReplaceAll(text, {{",", ""}, {" ", "-"}, {"/", "-"}});
}

std::vector<PlotLine> LinesOf(const std::map<std::string, Curve>& families) {
  std::vector<PlotLine> lines;
  for (const CodecFamily& family : CodecFamilies()) {
    const auto found = families.find(family.name);
    if (found != families.end())
      lines.push_back({family.name, found->second, family.name == "ecq"});
  }
  return lines;
}

}  // namespace

std::optional<double> Between(const Curve& curve, double x) {
  for (size_t i = 0; i + 1 < curve.size(); ++i) {
    const auto& [x0, y0] = curve[i];
    const auto& [x1, y1] = curve[i + 1];
    if (x0 <= x && x <= x1) return x1 > x0 ? y0 + (y1 - y0) * (x - x0) / (x1 - x0) : y0;
  }
  return std::nullopt;
}

std::optional<double> BitsAtLoss(const Curve& curve, double added) {
  if (curve.empty() || curve.back().second > added) return std::nullopt;
  const auto logarithm = [](double loss) { return std::log(std::max(loss, kLeastLoss)); };
  for (size_t i = curve.size() - 1; i-- > 0;) {
    const auto& [bits, loss] = curve[i];
    if (loss <= added) continue;
    const auto& [finer_bits, finer_loss] = curve[i + 1];
    const double share =
        (logarithm(added) - logarithm(loss)) / (logarithm(finer_loss) - logarithm(loss));
    return bits + share * (finer_bits - bits);
  }
  return curve.front().first;
}

std::string RateTables(const Rows& rows) {
  // What a run sent is apart from what was made up.
  Curves made_up, captured;
  for (auto& [source, families] : CurvesOf(rows, "snr_db", "bits_above_rd", SourceOf))
    (absl::StrContains(source, " edge ") ? captured : made_up)[source] = families;
  std::string text;
  for (const Curves* curves : {&made_up, &captured}) {
    if (curves->empty()) continue;
    for (const double snr : kSnrs) absl::StrAppend(&text, RateTable(*curves, snr), "\n");
  }
  return text;
}

std::string SpeedTable(const Rows& rows) {
  nlohmann::json measured = nlohmann::json::array();
  for (const nlohmann::json& row : rows)
    for (const nlohmann::json& codec : row.value("rows", nlohmann::json::array()))
      measured.push_back(codec);
  return MarkdownTable(
      measured, {"codec", "direction", "bits_per_element", "encode_gb_per_s", "decode_gb_per_s",
                 "encode_share_of_memcpy", "decode_share_of_memcpy"});
}

std::string LossTables(const Rows& rows) {
  const auto places = LossCurves(rows);
  std::string text = SavingsTable(places);
  for (const auto& [place, cuts] : places)
    absl::StrAppend(&text, "\n### ", place.first, ", ", place.second, "\n\n", PlaceTable(cuts));
  return text;
}

std::vector<NamedPlot> RatePlots(const Rows& rows) {
  std::vector<NamedPlot> plots;
  for (const auto& [source, families] :
       CurvesOf(rows, "bits_per_element", "bits_above_rd", SourceOf)) {
    Plot plot{.title = absl::StrCat("Rate and distortion: ", source),
              .x_label = "true bits per element",
              .y_label = "bits above the Gaussian R(D)",
              .most_x = 8,
              .least_y = -2,
              .most_y = 3,
              .lines = LinesOf(families)};
    plots.push_back({FileName("rd " + source), SvgOf(plot)});
  }
  return plots;
}

std::vector<NamedPlot> LossPlots(const Rows& rows) {
  std::vector<NamedPlot> plots;
  for (const auto& [place, cuts] : LossCurves(rows)) {
    for (const auto& [cut, families] : cuts) {
      const std::string name = absl::StrCat(place.first, " ", place.second, " after ", cut);
      Plot plot{.title = absl::StrCat("Loss against true bits: ", name),
                .x_label = "true bits per element, from a cold start",
                .y_label = "loss above the uncut model's, nats",
                .log_y = true,
                .most_x = 8,
                .least_y = 0.001,
                .most_y = 1,
                .lines = LinesOf(families)};
      plots.push_back({FileName("loss " + name), SvgOf(plot)});
    }
  }
  return plots;
}

}  // namespace isthmus::bench
