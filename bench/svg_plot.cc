#include "bench/svg_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace isthmus::bench {
namespace {

constexpr double kWidth = 860, kHeight = 460;
constexpr double kLeft = 70, kRight = 620, kTop = 40, kBottom = 405;
// Told apart by those who see few colours, too: blue, orange, green, red, violet, brown, pink,
// grey.
constexpr const char* kColours[] = {"#0072b2", "#e69f00", "#009e73", "#d55e00",
                                    "#7b4fa3", "#8c564b", "#cc79a7", "#777777"};
constexpr const char* kDashes[] = {"", "6 3", "2 3"};

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

class Canvas {
 public:
  explicit Canvas(const Plot& plot) : plot_(plot) {
    absl::StrAppendFormat(&svg_,
                          "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
                          "font-family=\"sans-serif\" font-size=\"12\">\n"
                          "<rect width=\"%g\" height=\"%g\" fill=\"white\"/>\n",
                          kWidth, kHeight, kWidth, kHeight);
    Text(kLeft, 24, "start", plot.title, 15);
    Text((kLeft + kRight) / 2, kHeight - 15, "middle", plot.x_label);
    absl::StrAppendFormat(&svg_,
                          "<text x=\"18\" y=\"%g\" text-anchor=\"middle\" transform=\"rotate(-90 "
                          "18 %g)\">%s</text>\n",
                          (kTop + kBottom) / 2, (kTop + kBottom) / 2, Escaped(plot.y_label));
  }

  void Grid() {
    const double step = NiceStep(plot_.most_x - plot_.least_x);
    for (double x = std::ceil(plot_.least_x / step) * step; x <= plot_.most_x + 1e-9; x += step) {
      Line(X(x), kTop, X(x), kBottom);
      Text(X(x), kBottom + 18, "middle", absl::StrFormat("%g", x));
    }
    for (const double y : YTicks()) {
      Line(kLeft, Y(y), kRight, Y(y));
      Text(kLeft - 6, Y(y) + 4, "end", absl::StrFormat("%g", y));
    }
    absl::StrAppendFormat(&svg_,
                          "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"none\" "
                          "stroke=\"black\"/>\n<clipPath id=\"box\"><rect x=\"%g\" y=\"%g\" "
                          "width=\"%g\" height=\"%g\"/></clipPath>\n",
                          kLeft, kTop, kRight - kLeft, kBottom - kTop, kLeft, kTop, kRight - kLeft,
                          kBottom - kTop);
  }

  void Draw(size_t index, const PlotLine& line) {
    const std::string style = absl::StrFormat(
        "stroke=\"%s\" stroke-width=\"%g\" stroke-dasharray=\"%s\"",
        line.strong ? "black" : kColours[index % std::size(kColours)], line.strong ? 3.0 : 1.5,
        line.strong ? "" : kDashes[index / std::size(kColours) % std::size(kDashes)]);
    std::string points;
    for (const auto& [x, y] : line.points) absl::StrAppendFormat(&points, "%.1f,%.1f ", X(x), Y(y));
    absl::StrAppendFormat(&svg_,
                          "<polyline fill=\"none\" clip-path=\"url(#box)\" %s points=\"%s\"/>\n",
                          style, points);
    // A line of one point is nothing to see.
    if (line.points.size() == 1)
      absl::StrAppendFormat(
          &svg_,
          "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" clip-path=\"url(#box)\" fill=\"none\" %s/>\n",
          X(line.points[0].first), Y(line.points[0].second), style);
    const double y = kTop + 10 + 19 * static_cast<double>(index);
    absl::StrAppendFormat(&svg_, "<path d=\"M%g %gh28\" %s/>\n", kRight + 14, y, style);
    Text(kRight + 48, y + 4, "start", line.name);
  }

  std::string Finish() { return svg_ + "</svg>\n"; }

 private:
  double Scaled(double y) const { return plot_.log_y ? std::log10(std::max(y, 1e-12)) : y; }
  double X(double x) const {
    return kLeft + (kRight - kLeft) * (x - plot_.least_x) / (plot_.most_x - plot_.least_x);
  }
  double Y(double y) const {
    const double low = Scaled(plot_.least_y), high = Scaled(plot_.most_y);
    return kBottom - (kBottom - kTop) * (Scaled(y) - low) / (high - low);
  }
  // 1, 2 or 5 times a power of ten: five to ten of them in `range`.
  static double NiceStep(double range) {
    const double power = std::pow(10.0, std::floor(std::log10(range / 5)));
    for (const double factor : {1.0, 2.0, 5.0})
      if (range / (factor * power) <= 10) return factor * power;
    return 10 * power;
  }
  std::vector<double> YTicks() const {
    std::vector<double> ticks;
    if (plot_.log_y) {
      const double first = std::floor(std::log10(plot_.least_y));
      for (double power = first; power <= std::log10(plot_.most_y); ++power) {
        for (const double factor : {1.0, 3.0}) {
          const double y = factor * std::pow(10.0, power);
          if (y >= plot_.least_y * 0.999 && y <= plot_.most_y * 1.001) ticks.push_back(y);
        }
      }
      return ticks;
    }
    const double step = NiceStep(plot_.most_y - plot_.least_y);
    for (double y = std::ceil(plot_.least_y / step) * step; y <= plot_.most_y + 1e-9; y += step)
      ticks.push_back(std::abs(y) < step * 1e-6 ? 0.0 : y);
    return ticks;
  }
  void Line(double x1, double y1, double x2, double y2) {
    absl::StrAppendFormat(
        &svg_, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n", x1,
        y1, x2, y2);
  }
  void Text(double x, double y, const char* anchor, const std::string& text, int size = 12) {
    absl::StrAppendFormat(
        &svg_, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">%s</text>\n", x, y,
        anchor, size, Escaped(text));
  }

  const Plot& plot_;
  std::string svg_;
};

}  // namespace

std::string SvgOf(const Plot& plot) {
  Canvas canvas(plot);
  canvas.Grid();
  for (const bool strong : {false, true}) {
    for (size_t i = 0; i < plot.lines.size(); ++i)
      if (plot.lines[i].strong == strong) canvas.Draw(i, plot.lines[i]);
  }
  return canvas.Finish();
}

}  // namespace isthmus::bench
