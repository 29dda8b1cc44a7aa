#include "bench/table.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace isthmus::bench {
namespace {

// The member at the end of `path`, null if there is none.
const nlohmann::json* Find(const nlohmann::json& row, const std::string& path) {
  const nlohmann::json* at = &row;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(path, '.'))) {
    if (!at->is_object()) return nullptr;
    const auto found = at->find(name);
    if (found == at->end()) return nullptr;
    at = &*found;
  }
  return at;
}

std::string Cell(const nlohmann::json& row, const std::string& column) {
  const nlohmann::json* found = Find(row, column);
  if (found == nullptr || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_float()) {
    const double value = found->get<double>();
    if (value >= 1000) return absl::StrFormat("%.0f", value);
    return absl::StrFormat("%.3g", value);
  }
  return found->dump();
}

}  // namespace

std::string MarkdownTable(const nlohmann::json& rows, const std::vector<std::string>& columns) {
  std::string text = "|";
  for (const std::string& column : columns) absl::StrAppend(&text, " ", column, " |");
  absl::StrAppend(&text, "\n|");
  for (size_t i = 0; i < columns.size(); ++i) absl::StrAppend(&text, " --- |");
  absl::StrAppend(&text, "\n");
  if (!rows.is_array()) return text;
  for (const nlohmann::json& row : rows) {
    if (!row.is_object()) continue;
    absl::StrAppend(&text, "|");
    for (const std::string& column : columns) absl::StrAppend(&text, " ", Cell(row, column), " |");
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace isthmus::bench
