#include "bench/training_outcome.h"

#include <algorithm>
#include <cmath>
#include <iterator>

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
  std::map<std::string, std::map<std::pair<size_t, int>, const nlohmann::json*>> ordered;
  for (const nlohmann::json& row : rows) {
    const int seed = row.value("seed", 0);
    if (row.value("family", "") == "none" || uncompressed_.count(seed) == 0) continue;
    ordered[row.value("family", "")][{row.value("rung", size_t{0}), seed}] = &row;
  }
  for (const auto& [family, runs] : ordered) {
    for (const auto& [place, row] : runs) {
      Spec& spec = specs_[family][place.first];
      spec.rung = place.first;
      spec.codec = {row->value("forward", ""), row->value("backward", "")};
      const double none = uncompressed_.at(place.second);
      spec.above.push_back((row->value("loss", 0.0) - none) / none);
      const size_t n = spec.above.size();
      AddToMean(*row, "bits_per_element", n, &spec.bits);
      AddToMean(*row, "bits_forward", n, &spec.bits_forward);
      AddToMean(*row, "bits_backward", n, &spec.bits_backward);
      AddToMean(*row, "bits_first_epoch", n, &spec.bits_first_epoch);
    }
  }
}

std::vector<CellRuns::Spec> CellRuns::SpecsOf(const std::string& family) const {
  std::vector<Spec> specs;
  if (const auto found = specs_.find(family); found != specs_.end())
    for (const auto& [rung, spec] : found->second) specs.push_back(spec);
  return specs;
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
