#include "client/job_keys.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "client/job_fields.h"

namespace isthmus {
namespace {

class KeyList {
 public:
  template <typename... Rest>
  void Path(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Word(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Bool(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename T>
  void Int(const char* key, T&, IntRange) {
    keys.push_back(key);
  }
  template <typename T>
  void OptionalInt(const char* key, T&, IntRange) {
    keys.push_back(key);
  }
  template <typename T>
  void AutoInt(const char* key, T&, IntRange) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Unsigned(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Size(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Text(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Real(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void RealPair(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Texts(const char* key, Rest&&...) {
    keys.push_back(key);
  }
  template <typename... Rest>
  void Codecs(const char* key, Rest&&...) {
    keys.push_back(absl::StrCat(key, ".forward"));
    keys.push_back(absl::StrCat(key, ".backward"));
  }
  std::vector<std::string> keys;
};

// Keys and the sections above them.
const std::set<std::string>& Sections() {
  static const auto* const sections = [] {
    auto* set = new std::set<std::string>;
    for (const std::string& key : JobKeys())
      for (size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.', dot + 1))
        set->insert(key.substr(0, dot));
    return set;
  }();
  return *sections;
}

bool IsKey(const std::string& name) {
  return std::find(JobKeys().begin(), JobKeys().end(), name) != JobKeys().end();
}

absl::string_view LastWord(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? name : name.substr(dot + 1);
}

absl::string_view Section(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? "" : name.substr(0, dot);
}

// Levenshtein, two rows. The words compared are short: longer ones are cut.
int EditDistance(absl::string_view a, absl::string_view b) {
  a = a.substr(0, 64);
  b = b.substr(0, 64);
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int change = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

// The last words are compared; a key of another section has to be nearer by more than one letter.
std::string NearestKey(absl::string_view name) {
  std::string nearest;
  int least = 1 << 20;
  const auto consider = [&](const std::string& known) {
    const int distance = 2 * EditDistance(LastWord(name), LastWord(known)) +
                         (Section(name) == Section(known) ? 0 : 3);
    if (distance < least) {
      least = distance;
      nearest = known;
    }
  };
  for (const std::string& key : JobKeys()) consider(key);
  for (const std::string& section : Sections()) consider(section);
  return nearest;
}

// Keys that the format has and this build has not.
absl::string_view NotBuilt(absl::string_view name) {
  if (name == "security.token") return "tokens are not in this build";
  return "";
}

absl::Status CheckNames(const Json& object, const std::string& prefix) {
  for (const auto& [word, value] : object.items()) {
    const std::string name = prefix.empty() ? word : absl::StrCat(prefix, ".", word);
    if (Sections().contains(name)) {
      if (value.is_object()) {
        ISTHMUS_RETURN_IF_ERROR(CheckNames(value, name));
      } else if (!value.is_null() && name != "codec") {
        return InvalidArgument(name, ": expected a section, got ", Describe(value));
      }
    } else if (const absl::string_view why = NotBuilt(name); !why.empty()) {
      return InvalidArgument(name, ": expected a key of this build, got one that is not (", why,
                             ")");
    } else if (!IsKey(name)) {
      return InvalidArgument(name, ": expected a known key, got an unknown one (the nearest is ",
                             NearestKey(name), ")");
    }
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& JobKeys() {
  static const auto* const keys = [] {
    KeyList list;
    Job job;
    VisitJob(job, list);
    return new std::vector<std::string>(std::move(list.keys));
  }();
  return *keys;
}

absl::Status CheckJobKeys(const Json& root) {
  if (!root.is_object())
    return InvalidArgument("job: expected a mapping with model, data.train and output, got ",
                           root.is_null() ? "nothing" : Describe(root));
  return CheckNames(root, "");
}

const Json* FindJobKey(const Json& root, absl::string_view key) {
  const Json* value = &root;
  for (const absl::string_view word : absl::StrSplit(key, '.')) {
    value = FindMember(*value, word);
    if (value == nullptr) return nullptr;
  }
  return value;
}

absl::Status SetJobKey(absl::string_view key, Json value, Json* root) {
  const std::vector<std::string> words = absl::StrSplit(key, '.');
  Json* at = root;
  for (const std::string& word : words) {
    if (at->is_null()) *at = Json::object();
    if (!at->is_object())
      return InvalidArgument(key, ": expected a section above it, got ", Describe(*at));
    at = &(*at)[word];
  }
  *at = std::move(value);
  return absl::OkStatus();
}

}  // namespace isthmus
