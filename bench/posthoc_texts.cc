#include "bench/posthoc_texts.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {
namespace {

constexpr size_t kDocuments = 200;

using Documents = std::vector<std::string>;

std::string TextMember(const nlohmann::json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_string() ? found->get<std::string>() : "";
}

// Lines of JSON: the members named, one below the other.
Documents FromJsonLines(const std::string& raw, const std::vector<const char*>& members) {
  Documents documents;
  for (const absl::string_view line : absl::StrSplit(raw, '\n', absl::SkipEmpty())) {
    const nlohmann::json json = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!json.is_object()) continue;
    std::string text;
    for (const char* member : members)
      absl::StrAppend(&text, text.empty() ? "" : "\n", TextMember(json, member));
    documents.push_back(std::move(text));
  }
  return documents;
}

// Question and sentence of a GLUE row.
Documents FromPairs(const std::string& raw) {
  Documents documents;
  for (const absl::string_view line : absl::StrSplit(raw, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> columns = absl::StrSplit(line, '\t');
    if (columns.size() < 4 || columns[0] == "index") continue;
    documents.push_back(absl::StrCat(columns[1], " ", columns[2]));
  }
  return documents;
}

// Paragraphs; titles and blank lines are left out.
Documents FromParagraphs(const std::string& raw) {
  Documents documents;
  for (const absl::string_view line : absl::StrSplit(raw, '\n', absl::SkipEmpty())) {
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.size() > 200) documents.emplace_back(text);
  }
  return documents;
}

// A line each; the data and what is said of them are divided by "||".
Documents FromLines(const std::string& raw) {
  Documents documents;
  for (const absl::string_view line : absl::StrSplit(raw, '\n', absl::SkipEmpty()))
    documents.push_back(absl::StrReplaceAll(line, {{"||", "\n"}}));
  return documents;
}

}  // namespace

const std::vector<PosthocModel>& PosthocModels() {
  static const auto* const kModels =
      new std::vector<PosthocModel>{{"stories260K", {"tinystories", "wikitext2"}, 12288},
                                    {"babyllama-105", {"tinystories", "wikitext2"}, 12288},
                                    {"mixed-14m", {"qnli", "gsm8k"}, 4096}};
  return *kModels;
}

absl::StatusOr<std::vector<std::string>> DocumentsOf(const std::string& name,
                                                     const std::string& data) {
  const auto read = [&](const char* path) { return ReadFile(absl::StrCat(data, "/", path)); };
  if (name == "tinystories") {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string raw, read("tinystories-sample/stories.jsonl"));
    return FromJsonLines(raw, {"text"});
  }
  if (name == "gsm8k") {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string raw, read("gsm8k/test.jsonl"));
    return FromJsonLines(raw, {"question", "answer"});
  }
  if (name == "qnli") {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string raw, read("qnli/dev_rows_0_4462.tsv"));
    return FromPairs(raw);
  }
  if (name == "tinyshakespeare") {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string raw, read("tinyshakespeare/input.txt"));
    return Documents(absl::StrSplit(raw, "\n\n", absl::SkipEmpty()));
  }
  if (name == "e2e_nlg") {
    ISTHMUS_ASSIGN_OR_RETURN(const std::string raw, read("e2e_nlg/valid.txt"));
    return FromLines(raw);
  }
  ISTHMUS_ASSIGN_OR_RETURN(const std::string raw, read("wikitext2/wiki.test.raw"));
  return FromParagraphs(raw);
}

absl::StatusOr<std::string> WriteText(const std::string& name, const std::string& data,
                                      const std::string& folder) {
  ISTHMUS_ASSIGN_OR_RETURN(Documents documents, DocumentsOf(name, data));
  if (documents.size() > kDocuments) documents.resize(kDocuments);
  std::string lines;
  for (const std::string& text : documents)
    absl::StrAppend(&lines, nlohmann::json{{"text", text}}.dump(), "\n");
  const std::string path = absl::StrCat(folder, "/", name, ".jsonl");
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(path, lines));
  return path;
}

}  // namespace isthmus::bench
