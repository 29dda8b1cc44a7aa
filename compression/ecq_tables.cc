#include "compression/ecq_tables.h"

#include <algorithm>
#include <cstring>

namespace isthmus {
namespace {

constexpr int kPointsPerCell = 8;
constexpr int kCells = 48;
constexpr double kPriorCounts = 256.0;  // a prior's weight in symbols
constexpr uint32_t kMostCounts = 1u << 15;

// A density on x >= 0 by its values in the middle of 1/8 cells, unscaled.
struct Density {
  std::array<double, kCells * kPointsPerCell> at;
};

// exp(-x^2 * a) or exp(-x * a) as powers of one ratio: no exponential is ever computed.
Density Decay(double ratio, bool gaussian) {
  Density density;
  double value = 1.0, factor = ratio;
  for (double& v : density.at) {
    v = value;
    value *= factor;
    if (gaussian) factor *= ratio * ratio;
  }
  return density;
}

int CellOf(size_t point) { return (static_cast<int>(point) + kPointsPerCell / 2) / kPointsPerCell; }

double MeanMagnitude(const Density& density) {
  double mass = 0, first = 0;
  for (size_t i = 0; i < density.at.size(); ++i) {
    mass += density.at[i];
    first += density.at[i] * CellOf(i);
  }
  return first / mass;
}

// The ratio whose mean magnitude of codes is `mean`.
Density DensityOfMean(double mean, bool gaussian) {
  double low = 0.0, high = 1.0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) * 0.5;
    (MeanMagnitude(Decay(middle, gaussian)) < mean ? low : high) = middle;
  }
  Density density = Decay(low, gaussian);
  double mass = 0;
  for (const double v : density.at) mass += v;
  for (double& v : density.at) v = v / mass;
  return density;
}

double MeanOfClass(int cls) {
  const double octave = static_cast<double>(uint64_t{1} << (cls / 2)) / 512.0;
  return octave * (cls % 2 == 0 ? 1.25 : 1.75);
}

void SetPrior(size_t table, EcqTables::State* state) {
  const int cls = table < kEcqPlainClasses ? static_cast<int>(table) : static_cast<int>(table) - 2;
  const Density gauss = DensityOfMean(MeanOfClass(cls), true);
  const Density laplace = DensityOfMean(MeanOfClass(cls), false);
  const int k = EcqLargestPlain(table);
  std::array<double, kCells + 1> mass{}, moment{};
  for (size_t i = 0; i < gauss.at.size(); ++i) {
    const double v = 0.5 * (gauss.at[i] + laplace.at[i]);
    const double x = (static_cast<double>(i) + 0.5) / kPointsPerCell;
    mass[static_cast<size_t>(CellOf(i))] += v;
    moment[static_cast<size_t>(CellOf(i))] += v * x;
  }
  uint32_t* counts = state->counts.data() + table * kRansSymbols;
  counts[kEcqZero] = static_cast<uint32_t>(mass[0] * kPriorCounts);
  for (int level = 1; level <= k; ++level) {
    const auto half = static_cast<uint32_t>(mass[static_cast<size_t>(level)] * kPriorCounts * 0.5);
    counts[kEcqZero - level] = counts[kEcqZero + level] = half;
  }
  for (size_t level = 0; level < kEcqCentroids && table < kEcqPlainClasses; ++level) {
    const double cell = static_cast<double>(level + 1);
    const double gap = mass[level + 1] > 0 ? cell - moment[level + 1] / mass[level + 1] : 0.0;
    state->centroids[table * kEcqCentroids + level] = static_cast<int8_t>(gap * 128.0);
  }
  NormalizeCounts({counts, kRansSymbols}, EcqSymbols(table),
                  state->frequencies.data() + table * kRansSymbols);
}

const EcqTables::State& PriorState() {
  static const EcqTables::State* const state = [] {
    auto* prior = new EcqTables::State{};
    for (size_t t = 0; t < kEcqTables; ++t) SetPrior(t, prior);
    return prior;
  }();
  return *state;
}

uint64_t Total(const uint32_t* counts) {
  uint64_t total = 0;
  for (size_t s = 0; s < kRansSymbols; ++s) total += counts[s];
  return total;
}

}  // namespace

EcqTables::EcqTables() : state_(PriorState()), rans_(kEcqTables) {
  for (size_t t = 0; t < kEcqTables; ++t) rans_.Set(t, &state_.frequencies[t * kRansSymbols]);
}

void EcqTables::Learn(const uint32_t* histogram) {
  for (size_t t = 0; t < kEcqTables; ++t) {
    const uint32_t* seen = histogram + t * kRansSymbols;
    const uint64_t added = Total(seen);
    if (added == 0) continue;
    uint32_t* counts = state_.counts.data() + t * kRansSymbols;
    for (size_t s = 0; s < kRansSymbols; ++s) counts[s] += seen[s];
    uint64_t total = Total(counts);
    for (; total > kMostCounts; total = Total(counts)) {
      for (size_t s = 0; s < kRansSymbols; ++s) counts[s] -= counts[s] / 2;
    }
    state_.fresh[t] = static_cast<uint32_t>(std::min<uint64_t>(state_.fresh[t] + added, 1u << 30));
    if (uint64_t{state_.fresh[t]} * 8 < total) continue;  // a table of few news stays as it is
    state_.fresh[t] = 0;
    uint16_t* frequencies = state_.frequencies.data() + t * kRansSymbols;
    NormalizeCounts({counts, kRansSymbols}, EcqSymbols(t), frequencies);
    rans_.Set(t, frequencies);
  }
}

void EcqTables::set_state(const State& state) {
  for (size_t t = 0; t < kEcqTables; ++t) {
    const uint16_t* frequencies = &state.frequencies[t * kRansSymbols];
    if (std::memcmp(frequencies, &state_.frequencies[t * kRansSymbols],
                    kRansSymbols * sizeof(uint16_t)) != 0) {
      rans_.Set(t, frequencies);
    }
  }
  state_ = state;
}

void EcqTables::Write(Bytes* out) const {
  ByteWriter writer(out);
  for (const uint32_t v : state_.counts) writer.PutVarint(v);
  for (const uint16_t v : state_.frequencies) writer.PutVarint(v);
  for (const uint32_t v : state_.fresh) writer.PutVarint(v);
  for (const int8_t v : state_.centroids) writer.Put(v);
}

bool EcqTables::Read(ByteReader* in) {
  State state;
  const auto read = [&](auto* values, uint64_t most) {
    for (auto& v : *values) {
      const auto value = in->GetVarint();
      if (!value.ok() || *value > most) return false;
      v = static_cast<std::remove_reference_t<decltype(v)>>(*value);
    }
    return true;
  };
  if (!read(&state.counts, kMostCounts) || !read(&state.frequencies, kRansScale) ||
      !read(&state.fresh, 1u << 30)) {
    return false;
  }
  for (int8_t& v : state.centroids) {
    const auto value = in->Get<int8_t>();
    if (!value.ok()) return false;
    v = *value;
  }
  for (size_t t = 0; t < kEcqTables; ++t) {
    const uint64_t used = EcqSymbols(t);
    uint32_t sum = 0;
    for (size_t s = 0; s < kRansSymbols; ++s) {
      const uint32_t f = state.frequencies[t * kRansSymbols + s];
      if ((f > 0) != ((used >> s & 1) != 0)) return false;
      sum += f;
    }
    if (sum != kRansScale) return false;
  }
  set_state(state);
  return true;
}

}  // namespace isthmus
