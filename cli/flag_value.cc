#include "cli/flag_value.h"

#include <cmath>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace isthmus {
namespace {

struct Unit {
  const char* name;
  double factor;
};

constexpr Unit kSizes[] = {{"", 1},         {"B", 1},        {"KiB", 0x1p10}, {"MiB", 0x1p20},
                           {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"KB", 1e3},     {"MB", 1e6},
                           {"GB", 1e9},     {"TB", 1e12}};
constexpr Unit kTimes[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"h", 3600}};

// Digits with a decimal point, then one of the units. No sign, exponent, inf or nan.
template <size_t N>
std::optional<double> ParseWithUnit(absl::string_view text, const Unit (&units)[N]) {
  const size_t end = text.find_first_not_of("0123456789.");
  const absl::string_view digits = text.substr(0, end);
  const absl::string_view unit = end == absl::string_view::npos ? "" : text.substr(end);
  double number = 0.0;
  if (digits.empty() || !absl::SimpleAtod(digits, &number)) return std::nullopt;
  for (const Unit& known : units) {
    if (unit == known.name) return number * known.factor;
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> ParseBytes(absl::string_view text) {
  const std::optional<double> bytes = ParseWithUnit(text, kSizes);
  if (!bytes.has_value() || !(*bytes < 0x1p63)) return std::nullopt;
  return static_cast<int64_t>(*bytes);
}

std::optional<double> ParseSeconds(absl::string_view text) {
  const std::optional<double> seconds = ParseWithUnit(text, kTimes);
  if (!seconds.has_value() || !std::isfinite(*seconds)) return std::nullopt;
  return seconds;
}

}  // namespace isthmus
