// What the rows of `./dev bench codecs` say, as Markdown tables, curves and shares.
#ifndef ISTHMUS_BENCH_CODEC_TABLES_H_
#define ISTHMUS_BENCH_CODEC_TABLES_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"

namespace isthmus::bench {

using Rows = std::vector<nlohmann::json>;
using Curve = std::vector<std::pair<double, double>>;

// A curve's y at `x`, straight between its points; nothing outside. `curve` is ascending in x.
std::optional<double> Between(const Curve& curve, double x);

// (bits, added loss) ascending in bits -> the bits at which the loss rises by `added` nats, going
// from fine to coarse; straight lines over the logarithm of the loss. The coarsest point where none
// adds so much; nothing where the finest adds more.
std::optional<double> BitsAtLoss(const Curve& curve, double added);

// Bits above R(D) of a Gaussian, family by source, at 10, 20 and 30 dB.
std::string RateTables(const Rows& rows);
// Share of memcpy of the same turn.
std::string SpeedTable(const Rows& rows);
// Bits that add 0.01, 0.03 and 0.1 to the loss, family by cut, for every model and text; and what
// `ecq` saves against the best of its rivals at each cut.
std::string LossTables(const Rows& rows);

struct NamedPlot {
  std::string name, svg;
};
std::vector<NamedPlot> RatePlots(const Rows& rows);
std::vector<NamedPlot> LossPlots(const Rows& rows);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_CODEC_TABLES_H_
