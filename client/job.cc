#include "client/job.h"

#include <cmath>
#include <filesystem>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "client/job_fields.h"
#include "client/job_keys.h"
#include "client/job_yaml.h"
#include "compression/codec.h"

namespace isthmus {
namespace {

constexpr int64_t kMaxJobBytes = int64_t{1} << 20;

// "48MiB" in bytes; nullopt for another form or more than kMany.
std::optional<int64_t> BytesOf(absl::string_view text) {
  static constexpr struct {
    absl::string_view name;
    double bytes;
  } kUnits[] = {{"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"KB", 1e3},
                {"MB", 1e6},     {"GB", 1e9},     {"B", 1.0}};
  for (const auto& unit : kUnits) {
    absl::string_view number = text;
    double value = 0.0;
    if (!absl::ConsumeSuffix(&number, unit.name)) continue;
    if (!absl::SimpleAtod(number, &value) || !(value >= 0.0)) return std::nullopt;
    const double bytes = value * unit.bytes;
    if (bytes > static_cast<double>(kMany)) return std::nullopt;
    return static_cast<int64_t>(bytes);
  }
  return std::nullopt;
}

// Takes the values of a checked tree over into a Job; the first error is kept.
class JobReader {
 public:
  JobReader(const Json& root, std::string directory)
      : root_(root), directory_(std::move(directory)) {}
  const absl::Status& status() const { return status_; }

  void Path(const char* key, std::string& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return Refuse(key, "a path", *value);
    const std::string& text = *value->get_ptr<const std::string*>();
    if (text.empty() || text.find('\0') != std::string::npos) return Refuse(key, "a path", *value);
    out = (std::filesystem::path(directory_) / text).lexically_normal().string();
    if (out.size() > 1 && out.back() == '/') out.pop_back();
  }

  template <typename E>
  void Word(const char* key, E& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    const auto words = Words(E{});
    for (size_t i = 0; i < words.size(); ++i) {
      if (*value == words[i]) {
        out = static_cast<E>(i);
        return;
      }
    }
    Refuse(key, absl::StrJoin(words, " or "), *value);
  }

  void Bool(const char* key, bool& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Refuse(key, "true or false", *value);
    out = value->get<bool>();
  }

  void Int(const char* key, int64_t& out, IntRange range) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    const absl::StatusOr<int64_t> number = GetInt(Json{{"x", *value}}, "x", "");
    if (!number.ok() || *number < range.min || *number > range.max) {
      const std::string limits = range.max >= kMany
                                     ? absl::StrCat(">= ", range.min)
                                     : absl::StrCat("from ", range.min, " to ", range.max);
      return Refuse(key, absl::StrCat("an integer ", limits), *value);
    }
    out = *number;
  }

  void OptionalInt(const char* key, std::optional<int64_t>& out, IntRange range) {
    if (Find(key) == nullptr) return;
    int64_t number = 0;
    Int(key, number, range);
    out = number;
  }

  void AutoInt(const char* key, int64_t& out, IntRange range) {
    const Json* value = Find(key);
    if (value != nullptr && *value == "auto") return;
    if (value != nullptr && !value->is_number()) return Refuse(key, "auto or a number", *value);
    Int(key, out, range);
  }

  void Unsigned(const char* key, uint64_t& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_number_unsigned()) {
      const absl::StatusOr<int64_t> number = GetInt(Json{{"x", *value}}, "x", "");
      if (!number.ok() || *number < 0) return Refuse(key, "an integer from 0 to 2^64-1", *value);
    }
    out = value->get<uint64_t>();
  }

  // Bytes: a number, or one with a unit ("48MiB").
  void Size(const char* key, int64_t& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (value->is_number()) return Int(key, out, {0, kMany});
    const std::optional<int64_t> bytes =
        value->is_string() ? BytesOf(*value->get_ptr<const std::string*>()) : std::nullopt;
    if (!bytes.has_value()) return Refuse(key, "a size such as 48MiB", *value);
    out = *bytes;
  }

  void Text(const char* key, std::string& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string() || value->get_ptr<const std::string*>()->empty())
      return Refuse(key, "a name", *value);
    out = value->get<std::string>();
  }

  void Real(const char* key, double& out, RealRange range) {
    const Json* value = Find(key);
    if (value != nullptr) TakeReal(key, *value, range, &out);
  }

  void RealPair(const char* key, double& first, double& second, RealRange range) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_array() || value->size() != 2)
      return Refuse(key, "a list of two numbers", *value);
    TakeReal(key, (*value)[0], range, &first);
    TakeReal(key, (*value)[1], range, &second);
  }

  void Texts(const char* key, std::vector<std::string>& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_array() || value->empty()) return Refuse(key, "a list of names", *value);
    out.clear();
    for (const Json& item : *value) {
      const std::string* text = item.get_ptr<const std::string*>();
      if (text == nullptr || text->empty()) return Refuse(key, "names", item);
      for (const std::string& earlier : out)
        if (earlier == *text) return Refuse(key, "every name once", item);
      out.push_back(*text);
    }
  }

  void Codecs(const char* key, Job::Codecs& out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (value->is_object()) {
      const Json* backward = FindMember(*value, "backward");
      TakeCodec("codec.forward", FindMember(*value, "forward"), &out.forward);
      if (backward != nullptr) TakeCodec("codec.backward", backward, &out.backward);
    } else if (*value != "auto") {  // auto: the client chooses, as where no codec is named
      TakeCodec(key, value, &out.forward);
    }
    if (status_.ok() && out.given()) CheckCodecs(&out);
  }

 private:
  // After the first error nothing more is read.
  const Json* Find(const char* key) { return status_.ok() ? FindJobKey(root_, key) : nullptr; }

  void Refuse(absl::string_view key, absl::string_view expected, const Json& got) {
    status_ = InvalidArgument(key, ": expected ", expected, ", got ", Describe(got));
  }

  void TakeReal(const char* key, const Json& value, RealRange range, double* out) {
    const double number = value.is_number() ? value.get<double>() : NAN;
    if (!std::isfinite(number) || !range.holds(number))
      return Refuse(key, absl::StrCat("a number ", range.text), value);
    *out = number;
  }

  void TakeCodec(absl::string_view key, const Json* value, std::string* out) {
    if (!status_.ok()) return;
    if (value == nullptr || !value->is_string())
      return Refuse(key, "a codec spec", value == nullptr ? Json(nullptr) : *value);
    const std::string& text = *value->get_ptr<const std::string*>();
    const auto codec = Codec::Parse(text);
    if (!codec.ok()) {
      status_ = InvalidArgument(key, ": ", codec.status().message());
      return;
    }
    *out = (*codec)->text();
  }

  void CheckCodecs(Job::Codecs* out) {
    if (out->backward.empty()) {
      auto backward = DefaultBackward(out->forward);
      if (!backward.ok()) {
        status_ = InvalidArgument("codec: ", backward.status().message());
        return;
      }
      out->backward = *std::move(backward);
    }
    const auto codec = Codec::Parse(out->backward);
    if (codec.ok() && (*codec)->ForwardOnly())
      status_ = InvalidArgument("codec.backward: expected a codec for gradients, got ",
                                out->backward, ", which is for activations only");
  }

  const Json& root_;
  const std::string directory_;
  absl::Status status_;
};

absl::Status ApplyOverride(absl::string_view text, Json* root) {
  const size_t equals = text.find('=');
  const absl::string_view key = text.substr(0, equals);
  if (equals == absl::string_view::npos || key.empty() || absl::StrContains(key, ".."))
    return InvalidArgument("--set: expected KEY=VALUE, got ", text);
  absl::StatusOr<Json> value = YamlToJson(text.substr(equals + 1));
  if (!value.ok()) return Annotate(value.status(), absl::StrCat("--set ", key));
  // Of the two ways to say how long, the one said last counts.
  if (key == "train.steps" || key == "train.epochs") {
    const char* other = key == "train.steps" ? "train.epochs" : "train.steps";
    if (!value->is_null() && FindJobKey(*root, other) != nullptr)
      ISTHMUS_RETURN_IF_ERROR(SetJobKey(other, nullptr, root));
  }
  return SetJobKey(key, *std::move(value), root);
}

absl::Status CheckRequired(const Job& job) {
  if (job.model.empty()) return InvalidArgument("model: expected a path, got nothing");
  if (job.output.empty()) return InvalidArgument("output: expected a path, got nothing");
  return absl::OkStatus();
}

// Probes know no gradient: what works on one is refused.
absl::Status CheckProbes(const Json& root, const Job& job) {
  const Job::Train& train = job.train;
  if (train.estimator != Estimator::kSpsa) return absl::OkStatus();
  const Json* backward = FindJobKey(root, "codec.backward");
  if (backward != nullptr && *backward != "none")
    return InvalidArgument("codec.backward: expected none with estimator: spsa, got ",
                           job.codec.backward);
  if (train.optimizer.name != OptimizerName::kSgd)
    return InvalidArgument("train.optimizer.name: expected sgd with estimator: spsa, got ",
                           Name(train.optimizer.name));
  const struct {
    const char* key;
    double value;
  } kWithout[] = {{"optimizer.momentum", train.optimizer.momentum},
                  {"optimizer.clip_norm", train.optimizer.clip_norm},
                  {"recompute", train.recompute ? 1.0 : 0.0},
                  {"lora.dropout", train.method == TrainMethod::kLora ? train.lora.dropout : 0.0}};
  for (const auto& row : kWithout) {
    if (row.value != 0.0)
      return InvalidArgument("train.", row.key, ": expected none with estimator: spsa, got ",
                             row.value);
  }
  return absl::OkStatus();
}

// What single keys cannot say.
absl::Status CheckTogether(const Json& root, const Job& job) {
  if (FindJobKey(root, "train.steps") && FindJobKey(root, "train.epochs"))
    return InvalidArgument("train.steps: expected steps or epochs, got both");
  if (job.split.labels == LabelsAt::kServer && job.split.tail_layers != 0)
    return InvalidArgument("split.tail_layers: expected 0 where labels are at the server, got ",
                           job.split.tail_layers);
  if (job.data.eval_every_steps > 0 && job.data.eval.empty())
    return InvalidArgument("data.eval_every_steps: expected data.eval with it, got nothing");
  if (job.data.patience > 0 && job.data.eval_every_steps == 0)
    return InvalidArgument("data.patience: expected data.eval_every_steps with it, got 0");
  if (job.train.optimizer.momentum > 0 && job.train.optimizer.name != OptimizerName::kSgd)
    return InvalidArgument("train.optimizer.momentum: expected sgd with it, got ",
                           Name(job.train.optimizer.name));
  ISTHMUS_RETURN_IF_ERROR(CheckProbes(root, job));
  if (job.security.tls.cert.empty() != job.security.tls.key.empty())
    return InvalidArgument("security.tls: expected cert and key together, got one of them");
  if (job.cluster.given && job.pipeline.stages > job.cluster.workers)
    return InvalidArgument("pipeline.stages: expected at most cluster.workers = ",
                           job.cluster.workers, ", got ", job.pipeline.stages);
  return absl::OkStatus();
}

// Defaults that depend on other keys.
void ResolveDefaults(const Json& root, Job* job) {
  job->cluster.given = FindJobKey(root, "cluster.workers") != nullptr;
  if (job->split.labels == LabelsAt::kServer && !FindJobKey(root, "split.tail_layers"))
    job->split.tail_layers = 0;
  if (FindJobKey(root, "train.steps") && !FindJobKey(root, "train.epochs"))
    job->train.epochs.reset();
  if (job->train.estimator == Estimator::kSpsa && job->codec.given() &&
      FindJobKey(root, "codec.backward") == nullptr)
    job->codec.backward = "none";
}

}  // namespace

absl::string_view Name(Init value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(ComputeType value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(LabelsAt value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(TrainMethod value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(Estimator value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(OptimizerName value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(RateSchedule value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(UpdateSet value) { return Words(value)[static_cast<size_t>(value)]; }
absl::string_view Name(PipelineSchedule value) { return Words(value)[static_cast<size_t>(value)]; }

absl::StatusOr<Job> ParseJob(absl::string_view yaml, const std::string& directory,
                             absl::Span<const std::string> overrides) {
  ISTHMUS_ASSIGN_OR_RETURN(Json root, YamlToJson(yaml));
  for (const std::string& text : overrides) ISTHMUS_RETURN_IF_ERROR(ApplyOverride(text, &root));
  ISTHMUS_RETURN_IF_ERROR(CheckJobKeys(root));

  std::error_code error;
  const std::filesystem::path folder = std::filesystem::absolute(
      directory.empty() ? std::filesystem::path(".") : std::filesystem::path(directory), error);
  if (error) return InvalidArgument("job: expected a folder, got ", directory);
  JobReader reader(root, folder.string());
  Job job;
  VisitJob(job, reader);
  ISTHMUS_RETURN_IF_ERROR(reader.status());

  ResolveDefaults(root, &job);
  ISTHMUS_RETURN_IF_ERROR(CheckRequired(job));
  ISTHMUS_RETURN_IF_ERROR(CheckTogether(root, job));
  return job;
}

absl::StatusOr<Job> ReadJob(const std::string& path, absl::Span<const std::string> overrides) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxJobBytes));
  absl::StatusOr<Job> job =
      ParseJob(text, std::filesystem::path(path).parent_path().string(), overrides);
  if (job.ok() && job->data.train.empty())
    job = InvalidArgument("data.train: expected a path, got nothing");
  if (!job.ok())
    return absl::Status(job.status().code(), absl::StrCat(job.status().message(), " (", path, ")"));
  return job;
}

}  // namespace isthmus
