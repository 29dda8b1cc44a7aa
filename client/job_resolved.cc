// The resolved job on paper, and whether a run may go on under it.
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "client/job.h"
#include "client/job_fields.h"
#include "client/job_keys.h"
#include "client/job_yaml.h"

namespace isthmus {
namespace {

using OrderedJson = nlohmann::ordered_json;

class JobWriter {
 public:
  void Path(const char* key, const std::string& value) {
    if (!value.empty()) Put(key, value);
  }
  template <typename E>
  void Word(const char* key, E value) {
    Put(key, std::string(Name(value)));
  }
  void Bool(const char* key, bool value) { Put(key, value); }
  void Int(const char* key, int64_t value, IntRange range) {
    if (value >= range.min) Put(key, value);
  }
  void OptionalInt(const char* key, const std::optional<int64_t>& value, IntRange) {
    if (value.has_value()) Put(key, *value);
  }
  void AutoInt(const char* key, int64_t value, IntRange range) {
    if (value >= range.min) {
      Put(key, value);
    } else {
      Put(key, "auto");
    }
  }
  void Unsigned(const char* key, uint64_t value) { Put(key, value); }
  void Size(const char* key, int64_t value) { Put(key, value); }
  void Text(const char* key, const std::string& value) {
    if (!value.empty()) Put(key, value);
  }
  void Real(const char* key, double value, RealRange) { Put(key, value); }
  void RealPair(const char* key, double first, double second, RealRange) {
    Put(key, OrderedJson::array({first, second}));
  }
  void Texts(const char* key, const std::vector<std::string>& value) {
    if (!value.empty()) Put(key, value);
  }
  void Codecs(const char* key, const Job::Codecs& value) {
    if (value.given())
      Put(key, OrderedJson{{"forward", value.forward}, {"backward", value.backward}});
  }
  OrderedJson root = OrderedJson::object();

 private:
  void Put(absl::string_view key, OrderedJson value) {
    OrderedJson* at = &root;
    for (const absl::string_view word : absl::StrSplit(key, '.')) at = &(*at)[std::string(word)];
    *at = std::move(value);
  }
};

// Alternatives that were not chosen say nothing about the run.
void DropUnused(const Job& job, OrderedJson* root) {
  OrderedJson& train = (*root)["train"];
  if (job.train.method != TrainMethod::kLora) train.erase("lora");
  if (job.train.estimator != Estimator::kSpsa) train.erase("spsa");
  if (job.edge.weights.empty() && job.edge.memory_limit_bytes == 0 &&
      job.edge.update == UpdateSet::kAll)
    root->erase("edge");
  OrderedJson& optimizer = train["optimizer"];
  if (job.train.optimizer.name == OptimizerName::kSgd) {
    optimizer.erase("betas");
    optimizer.erase("eps");
  } else {
    optimizer.erase("momentum");
  }
}

bool MayDiffer(absl::string_view key) {
  return key == "train.steps" || key == "train.epochs" || key == "output" ||
         absl::StartsWith(key, "checkpoint.");
}

// The client decides these when the file does not.
bool MayBeOpen(absl::string_view key) {
  return key == "data.sequence_length" || key == "train.lora.targets" ||
         absl::StartsWith(key, "codec.");
}

}  // namespace

OrderedJson ToJson(const Job& job) {
  JobWriter writer;
  VisitJob(job, writer);
  DropUnused(job, &writer.root);
  return std::move(writer.root);
}

std::string ToYaml(const Job& job) { return JsonToYaml(ToJson(job)); }

absl::Status CheckResumable(const Job& earlier, const Job& now) {
  const Json old_tree(ToJson(earlier));
  const Json new_tree(ToJson(now));
  for (const std::string& key : JobKeys()) {
    if (MayDiffer(key)) continue;
    const Json* old_value = FindJobKey(old_tree, key);
    const Json* new_value = FindJobKey(new_tree, key);
    if (new_value == nullptr && (old_value == nullptr || MayBeOpen(key))) continue;
    if (old_value != nullptr && new_value != nullptr && *old_value == *new_value) continue;
    return InvalidArgument(key, ": expected ",
                           old_value == nullptr ? "nothing" : DumpJson(*old_value),
                           " as in the run to go on with, got ",
                           new_value == nullptr ? "nothing" : DumpJson(*new_value),
                           " (only steps, epochs and checkpoint may change)");
  }
  return absl::OkStatus();
}

}  // namespace isthmus
