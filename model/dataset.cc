#include "model/dataset.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/status.h"
#include "model/chat.h"
#include "model/json.h"
#include "model/unicode.h"

namespace isthmus {
namespace {

constexpr int32_t kNotPredicted = -100;

// ids with the file's labels (each beside the id it names) as a Document (each where it is
// predicted from).
Document MakeDocument(std::vector<int32_t> ids, std::vector<int32_t> file_labels) {
  Document document;
  if (!file_labels.empty()) {
    document.first_label = file_labels.front();
    file_labels.erase(file_labels.begin());
    file_labels.push_back(kNotPredicted);
  }
  document.ids = std::move(ids);
  document.labels = std::move(file_labels);
  return document;
}

class DocumentReader {
 public:
  DocumentReader(const Tokenizer* tokenizer, const DatasetOptions& options)
      : tokenizer_(tokenizer), options_(options) {}

  absl::StatusOr<Document> FromText(absl::string_view text) const {
    ISTHMUS_RETURN_IF_ERROR(NeedTokenizer());
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_->Encode(text));
    std::vector<int32_t> labels = ids;
    return Checked(std::move(ids), std::move(labels));
  }

  absl::StatusOr<Document> FromLine(absl::string_view line, const std::string& where) const {
    ISTHMUS_ASSIGN_OR_RETURN(const Json object, ParseJson(line, where));
    if (!object.is_object())
      return InvalidArgument("line: expected an object, got ", Describe(object), " (", where, ")");
    absl::StatusOr<Document> document = FromObject(object, where);
    if (document.ok() || absl::StrContains(document.status().message(), where)) return document;
    return InvalidArgument(document.status().message(), " (", where, ")");
  }

 private:
  absl::StatusOr<Document> FromObject(const Json& object, const std::string& where) const {
    if (FindMember(object, "input_ids")) return FromIds(object, where);
    if (FindMember(object, "messages")) return FromMessages(object, where);
    if (FindMember(object, "prompt") || FindMember(object, "completion"))
      return FromCompletion(object, where);
    if (FindMember(object, "text")) {
      ISTHMUS_ASSIGN_OR_RETURN(const std::string text, GetString(object, "text", where));
      return FromText(text);
    }
    return InvalidArgument(
        "line: expected text, prompt and completion, messages, or input_ids, got none of them");
  }

  absl::StatusOr<Document> FromIds(const Json& object, const std::string& where) const {
    ISTHMUS_ASSIGN_OR_RETURN(const auto wide_ids, GetInts(object, "input_ids", where));
    std::vector<int64_t> wide_labels = wide_ids;
    if (FindMember(object, "labels")) {
      ISTHMUS_ASSIGN_OR_RETURN(wide_labels, GetInts(object, "labels", where));
    }
    if (wide_labels.size() != wide_ids.size())
      return InvalidArgument("labels: expected ", wide_ids.size(), " of them as input_ids, got ",
                             wide_labels.size());
    for (const int64_t id : wide_ids) ISTHMUS_RETURN_IF_ERROR(CheckId(id));
    for (const int64_t id : wide_labels)
      if (id != kNotPredicted) ISTHMUS_RETURN_IF_ERROR(CheckId(id));
    return MakeDocument({wide_ids.begin(), wide_ids.end()},
                        {wide_labels.begin(), wide_labels.end()});
  }

  // Prompt and completion are encoded apart, so that their border never moves; only the prompt has
  // BOS.
  absl::StatusOr<Document> FromCompletion(const Json& object, const std::string& where) const {
    ISTHMUS_RETURN_IF_ERROR(NeedTokenizer());
    ISTHMUS_ASSIGN_OR_RETURN(const std::string prompt, GetString(object, "prompt", where));
    ISTHMUS_ASSIGN_OR_RETURN(const std::string completion, GetString(object, "completion", where));
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, Prefix());
    ISTHMUS_ASSIGN_OR_RETURN(const auto prompt_ids, tokenizer_->Encode(prompt, false));
    ISTHMUS_ASSIGN_OR_RETURN(const auto completion_ids, tokenizer_->Encode(completion, false));
    ids.insert(ids.end(), prompt_ids.begin(), prompt_ids.end());
    std::vector<int32_t> labels(ids.size(), kNotPredicted);
    ids.insert(ids.end(), completion_ids.begin(), completion_ids.end());
    labels.insert(labels.end(), completion_ids.begin(), completion_ids.end());
    if (options_.append_eos) {
      if (tokenizer_->eos_id() < 0)
        return InvalidArgument("append_eos: expected a tokenizer with EOS, got one without");
      ids.push_back(tokenizer_->eos_id());
      labels.push_back(tokenizer_->eos_id());
    }
    return Checked(std::move(ids), std::move(labels));
  }

  // What the tokenizer puts in front of every text.
  absl::StatusOr<std::vector<int32_t>> Prefix() const {
    ISTHMUS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_->Encode(""));
    const bool only_bos = ids.size() == 1 && ids[0] == tokenizer_->bos_id();
    if (!ids.empty() && !only_bos && ids.back() == tokenizer_->eos_id()) ids.pop_back();
    return ids;
  }

  absl::StatusOr<Document> FromMessages(const Json& object, const std::string& where) const {
    ISTHMUS_RETURN_IF_ERROR(NeedTokenizer());
    ISTHMUS_ASSIGN_OR_RETURN(const Json* list, GetArray(object, "messages", where));
    std::vector<ChatMessage> messages;
    for (const Json& entry : *list) {
      ChatMessage message;
      ISTHMUS_ASSIGN_OR_RETURN(message.role, GetString(entry, "role", where));
      ISTHMUS_ASSIGN_OR_RETURN(message.content, GetString(entry, "content", where));
      messages.push_back(std::move(message));
    }
    ISTHMUS_ASSIGN_OR_RETURN(ChatTokens chat, EncodeChat(*tokenizer_, messages));
    std::vector<int32_t> labels = chat.ids;
    for (size_t i = 0; i < labels.size(); ++i)
      if (!chat.from_assistant[i]) labels[i] = kNotPredicted;
    return Checked(std::move(chat.ids), std::move(labels));
  }

  absl::Status NeedTokenizer() const {
    if (tokenizer_ != nullptr) return absl::OkStatus();
    return InvalidArgument("line: expected input_ids where the model has no tokenizer, got text");
  }

  absl::Status CheckId(int64_t id) const {
    const int64_t limit = options_.vocab_size > 0 ? options_.vocab_size : INT32_MAX;
    if (id >= 0 && id < limit) return absl::OkStatus();
    return InvalidArgument("id: expected 0 to ", limit - 1, " (the vocabulary), got ", id);
  }

  absl::StatusOr<Document> Checked(std::vector<int32_t> ids, std::vector<int32_t> labels) const {
    for (const int32_t id : ids) ISTHMUS_RETURN_IF_ERROR(CheckId(id));
    return MakeDocument(std::move(ids), std::move(labels));
  }

  const Tokenizer* const tokenizer_;
  const DatasetOptions options_;
};

bool IsBlank(absl::string_view line) {
  return line.find_first_not_of(" \t\r") == absl::string_view::npos;
}

absl::StatusOr<std::vector<Document>> ReadLines(absl::string_view text, const std::string& path,
                                                const DocumentReader& reader) {
  std::vector<Document> documents;
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (IsBlank(line)) continue;
    ISTHMUS_ASSIGN_OR_RETURN(Document document,
                             reader.FromLine(line, absl::StrCat(path, ":", number)));
    documents.push_back(std::move(document));
  }
  return documents;
}

absl::StatusOr<std::vector<Document>> ReadBlocks(absl::string_view text, const std::string& path,
                                                 const DocumentReader& reader) {
  std::vector<Document> documents;
  std::string block;
  int64_t number = 0, first = 0;
  const auto finish = [&]() -> absl::Status {
    if (block.empty()) return absl::OkStatus();
    absl::StatusOr<Document> document = reader.FromText(block);
    block.clear();
    if (!document.ok())
      return InvalidArgument(document.status().message(), " (", path, ":", first, ")");
    documents.push_back(*std::move(document));
    return absl::OkStatus();
  };
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (IsBlank(line)) {
      ISTHMUS_RETURN_IF_ERROR(finish());
      continue;
    }
    if (line.back() == '\r') line.remove_suffix(1);
    if (block.empty()) first = number;
    absl::StrAppend(&block, block.empty() ? "" : "\n", line);
  }
  ISTHMUS_RETURN_IF_ERROR(finish());
  return documents;
}

void CutDocument(const Document& document, int64_t index, int64_t length, bool full_only,
                 std::vector<Window>* windows) {
  const int64_t positions = static_cast<int64_t>(document.ids.size()) - 1;
  for (int64_t begin = 0; begin < positions; begin += length) {
    const int64_t end = std::min(begin + length, positions);
    if (full_only && end - begin < length) break;
    Window window;
    window.document = index;
    window.sample = static_cast<uint64_t>(index) << 32 | static_cast<uint64_t>(begin / length);
    window.inputs.assign(document.ids.begin() + begin, document.ids.begin() + end);
    window.targets.assign(document.labels.begin() + begin, document.labels.begin() + end);
    window.num_predicted =
        end - begin - std::count(window.targets.begin(), window.targets.end(), kNotPredicted);
    if (window.num_predicted > 0) windows->push_back(std::move(window));
  }
}

Document Joined(const std::vector<Document>& documents) {
  Document joined;
  for (const Document& document : documents) {
    if (document.ids.empty()) continue;
    if (!joined.labels.empty()) joined.labels.back() = document.first_label;
    joined.ids.insert(joined.ids.end(), document.ids.begin(), document.ids.end());
    joined.labels.insert(joined.labels.end(), document.labels.begin(), document.labels.end());
  }
  return joined;
}

}  // namespace

absl::StatusOr<std::vector<Document>> ReadDocuments(const std::string& path,
                                                    const Tokenizer* tokenizer,
                                                    const DatasetOptions& options) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const DocumentReader reader(tokenizer, options);
  absl::StatusOr<std::vector<Document>> documents =
      absl::EndsWith(path, ".txt") ? ReadBlocks(text, path, reader) : ReadLines(text, path, reader);
  if (documents.ok() && documents->empty())
    return InvalidArgument("data: expected documents, got none (", path, ")");
  return documents;
}

absl::StatusOr<std::vector<Window>> CutWindows(const std::vector<Document>& documents,
                                               const DatasetOptions& options) {
  if (options.sequence_length <= 0)
    return InvalidArgument("sequence_length: expected at least 1, got ", options.sequence_length);
  std::vector<Window> windows;
  if (options.pack) {
    CutDocument(Joined(documents), 0, options.sequence_length, /*full_only=*/true, &windows);
  } else {
    for (size_t i = 0; i < documents.size(); ++i)
      CutDocument(documents[i], static_cast<int64_t>(i), options.sequence_length,
                  /*full_only=*/false, &windows);
  }
  if (windows.empty())
    return InvalidArgument("data: expected something to predict, got ",
                           options.pack ? "less than one full window of " : "no window of ",
                           options.sequence_length, " positions with a predicted token");
  return windows;
}

std::vector<int64_t> EpochOrder(int64_t num_windows, bool shuffle, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(num_windows));
  std::iota(order.begin(), order.end(), 0);
  if (!shuffle) return order;
  CounterRng rng(RandomKey(seed, "shuffle", static_cast<uint64_t>(epoch)));
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.NextBelow(i)]);
  return order;
}

}  // namespace isthmus
