#include "bench/training_outcome.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace isthmus::bench {
namespace {

// 97.5 % quantiles of Student's t with 1 … 7 degrees of freedom, then the normal distribution's.
constexpr double kStudent[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365};
constexpr double kNormal = 1.96;

double Mean(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

// Running mean over `n` values, the new one included.
void AddToMean(const nlohmann::json& row, const char* name, size_t n, double* mean) {
  *mean += (row.value(name, 0.0) - *mean) / static_cast<double>(n);
}

}  // namespace

double CellRuns::Spec::mean_above() const { return Mean(above); }

std::optional<double> CellRuns::Spec::interval() const {
  const size_t n = above.size();
  if (n < 2) return std::nullopt;
  const double mean = Mean(above);
  double squares = 0.0;
  for (const double value : above) squares += (value - mean) * (value - mean);
  const double quantile = n - 2 < std::size(kStudent) ? kStudent[n - 2] : kNormal;
  return quantile * std::sqrt(squares / static_cast<double>((n - 1) * n));
}

CellRuns::CellRuns(const std::vector<nlohmann::json>& rows) {
  for (const nlohmann::json& row : rows)
    if (row.value("family", "") == "none")
      uncompressed_[row.value("seed", 0)] = row.value("loss", 0.0);
  std::map<std::pair<std::string, std::string>, Spec> of_key;  // by family and codec
  for (const nlohmann::json& row : rows) {
    const std::string family = row.value("family", "");
    const auto none = uncompressed_.find(row.value("seed", 0));
    if (family == "none" || none == uncompressed_.end()) continue;
    const CodecPair codec = {row.value("forward", ""), row.value("backward", "")};
    Spec& spec = of_key[{family, absl::StrCat(codec.forward, " ", codec.backward)}];
    spec.codec = codec;
    spec.above.push_back((row.value("loss", 0.0) - none->second) / none->second);
    const size_t n = spec.above.size();
    AddToMean(row, "bits_per_element", n, &spec.bits);
    AddToMean(row, "bits_forward", n, &spec.bits_forward);
    AddToMean(row, "bits_backward", n, &spec.bits_backward);
    AddToMean(row, "bits_first_epoch", n, &spec.bits_first_epoch);
  }
  for (const auto& [key, spec] : of_key) specs_[key.first].push_back(spec);
  for (auto& [family, specs] : specs_)
    std::sort(specs.begin(), specs.end(),
              [](const Spec& a, const Spec& b) { return a.bits > b.bits; });
}

std::vector<CellRuns::Spec> CellRuns::SpecsOf(const std::string& family) const {
  const auto found = specs_.find(family);
  return found == specs_.end() ? std::vector<Spec>() : found->second;
}

std::optional<CellRuns::Spec> CellRuns::Best(const std::string& family, size_t seeds) const {
  std::optional<Spec> best;
  for (const Spec& spec : SpecsOf(family))
    if (spec.above.size() >= seeds && spec.reaches() && (!best || spec.bits < best->bits))
      best = spec;
  return best;
}

std::vector<double> CellRuns::UncompressedLosses() const {
  std::vector<double> losses;
  for (const auto& [seed, loss] : uncompressed_) losses.push_back(loss);
  return losses;
}

std::map<std::string, std::vector<nlohmann::json>> RowsByCell(
    const std::vector<nlohmann::json>& rows) {
  std::map<std::string, std::vector<nlohmann::json>> cells;
  for (const nlohmann::json& row : rows) cells[row.value("cell", "")].push_back(row);
  return cells;
}

}  // namespace isthmus::bench
