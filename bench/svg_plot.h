// Lines in a box, as SVG: no library, no script.
#ifndef ISTHMUS_BENCH_SVG_PLOT_H_
#define ISTHMUS_BENCH_SVG_PLOT_H_

#include <string>
#include <utility>
#include <vector>

namespace isthmus::bench {

struct PlotLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending
  bool strong = false;                            // thick, and on top
};

struct Plot {
  std::string title, x_label, y_label;
  bool log_y = false;
  double least_x = 0, most_x = 1, least_y = 0, most_y = 1;  // points outside are cut off
  std::vector<PlotLine> lines;
};

std::string SvgOf(const Plot& plot);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_SVG_PLOT_H_
