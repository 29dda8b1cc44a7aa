#include "cli/nearest.h"

#include <algorithm>
#include <numeric>

namespace isthmus {
namespace {

// Levenshtein distance, one row of the table at a time.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Nearest(absl::string_view text, const std::vector<std::string>& names) {
  text = text.substr(0, 64);  // a longer one is nobody's typing error
  const auto nearest =
      std::min_element(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
        return EditDistance(text, a) < EditDistance(text, b);
      });
  return nearest == names.end() ? "" : *nearest;
}

}  // namespace isthmus
