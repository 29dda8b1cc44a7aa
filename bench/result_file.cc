#include "bench/result_file.h"

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"

namespace isthmus::bench {

absl::StatusOr<ResultFile> ResultFile::Open(const std::string& path) {
  ResultFile file;
  file.path_ = path;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return file;
  if (!text.ok()) return text.status();
  for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    nlohmann::json row = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!row.is_object() || !row.contains("key") || !row["key"].is_string()) continue;
    const std::string key = row["key"];
    file.rows_[key] = std::move(row);
  }
  return file;
}

const nlohmann::json* ResultFile::Find(const std::string& key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : &found->second;
}

absl::Status ResultFile::Add(const std::string& key, nlohmann::json row) {
  row["key"] = key;
  std::ofstream out(path_, std::ios::app);
  // A line of its own even behind a torn one.
  out << "\n" << row.dump() << "\n";
  if (!out.flush()) return absl::ResourceExhaustedError(absl::StrCat(path_, ": cannot be written"));
  rows_[key] = std::move(row);
  return absl::OkStatus();
}

std::vector<nlohmann::json> ResultFile::rows() const {
  std::vector<nlohmann::json> rows;
  for (const auto& [key, row] : rows_) rows.push_back(row);
  return rows;
}

}  // namespace isthmus::bench
