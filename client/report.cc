#include "client/report.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "isthmus/version.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

Json OrNull(const std::optional<double>& value) {
  return value.has_value() && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

Json ToJson(const WireRow& row) {
  return {{"edge", row.edge},
          {"direction", std::string(Name(row.direction))},
          {"codec", row.codec},
          {"codec_full", row.codec_full},
          {"elements", row.elements},
          {"raw_bytes_fp32", 4 * row.elements},
          {"payload_bytes", row.payload_bytes},
          {"side_bytes", row.side_bytes},
          {"header_bytes", row.header_bytes},
          {"wire_bytes", row.wire_bytes()},
          {"bits_per_element", BitsPerElement(row.wire_bytes(), row.elements)},
          {"key_frames", row.key_frames},
          {"resends", row.resends},
          {"resend_bytes", row.resend_bytes}};
}

Json ToJson(const std::vector<WireRow>& rows) {
  Json array = Json::array();
  for (const WireRow& row : rows) array.push_back(ToJson(row));
  return array;
}

// Reads typed members of one object; the first that is missing or of another type is remembered.
class Fields {
 public:
  Fields(const Json& object, std::string where, absl::Status* status)
      : object_(object), where_(std::move(where)), status_(status) {}

  void Read(const char* key, int64_t* out) {
    const Json* value = Find(key, "an integer", &Json::is_number_integer);
    if (value != nullptr) *out = value->get<int64_t>();
  }
  void Read(const char* key, double* out) {
    const Json* value = Find(key, "a number", &Json::is_number);
    if (value != nullptr) *out = value->get<double>();
  }
  void Read(const char* key, std::string* out) {
    const Json* value = Find(key, "text", &Json::is_string);
    if (value != nullptr) *out = value->get<std::string>();
  }
  template <typename T>
  void Read(const char* key, std::optional<T>* out) {
    const auto it = object_.find(key);
    if (it == object_.end() || it->is_null()) return;
    T value{};
    Read(key, &value);
    *out = value;
  }
  const Json* Object(const char* key) { return Find(key, "an object", &Json::is_object); }
  const Json* Array(const char* key) { return Find(key, "a list", &Json::is_array); }

 private:
  const Json* Find(const char* key, const char* expected, bool (Json::*is)() const noexcept) {
    const auto it = object_.find(key);
    if (it != object_.end() && ((*it).*is)()) return &*it;
    if (status_->ok()) {
      *status_ = InvalidArgument(where_, ".", key, ": expected ", expected, ", got ",
                                 it == object_.end() ? "nothing" : it->type_name());
    }
    return nullptr;
  }

  const Json& object_;
  std::string where_;
  absl::Status* status_;
};

WireRow ParseWireRow(const Json& json, absl::Status* status) {
  WireRow row;
  int64_t edge = 0;
  std::string direction;
  Fields fields(json, "report.wire", status);
  fields.Read("edge", &edge);
  fields.Read("direction", &direction);
  fields.Read("codec", &row.codec);
  fields.Read("codec_full", &row.codec_full);
  fields.Read("elements", &row.elements);
  fields.Read("payload_bytes", &row.payload_bytes);
  fields.Read("side_bytes", &row.side_bytes);
  fields.Read("header_bytes", &row.header_bytes);
  fields.Read("key_frames", &row.key_frames);
  fields.Read("resends", &row.resends);
  fields.Read("resend_bytes", &row.resend_bytes);
  row.edge = static_cast<uint32_t>(edge);
  row.direction =
      direction == Name(Direction::kBackward) ? Direction::kBackward : Direction::kForward;
  return row;
}

void ParseWire(const Json* array, std::vector<WireRow>* rows, absl::Status* status) {
  if (array == nullptr) return;
  for (const Json& row : *array) rows->push_back(ParseWireRow(row, status));
}

void ParseLoss(const Json* object, Report::Loss* loss, absl::Status* status) {
  if (object == nullptr) return;
  Fields fields(*object, "report.loss", status);
  fields.Read("train_first", &loss->train_first);
  fields.Read("train_last", &loss->train_last);
  fields.Read("eval_before", &loss->eval_before);
  fields.Read("eval_after", &loss->eval_after);
  fields.Read("eval_after_uncompressed_cut", &loss->eval_after_uncompressed_cut);
}

void ParseTime(const Json* object, Report::Time* time, absl::Status* status) {
  if (object == nullptr) return;
  Fields fields(*object, "report.time", status);
  fields.Read("wall_s", &time->wall_s);
  fields.Read("total_s", &time->total_s);
  fields.Read("predicted_step_s", &time->predicted_step_s);
  fields.Read("compute_s", &time->compute_s);
  fields.Read("encode_s", &time->encode_s);
  fields.Read("decode_s", &time->decode_s);
  fields.Read("wait_s", &time->wait_s);
}

void ParseProcesses(const Json* array, std::vector<Report::Process>* out, absl::Status* status) {
  if (array == nullptr) return;
  for (const Json& row : *array) {
    Report::Process process;
    Fields fields(row, "report.processes", status);
    fields.Read("role", &process.role);
    fields.Read("peak_rss_bytes", &process.peak_rss_bytes);
    out->push_back(std::move(process));
  }
}

absl::StatusOr<Report::Outcome> ParseOutcome(const std::string& text) {
  for (const auto outcome :
       {Report::Outcome::kCompleted, Report::Outcome::kInterrupted, Report::Outcome::kFailed}) {
    if (text == Name(outcome)) return outcome;
  }
  return InvalidArgument("report.status: expected completed, interrupted or failed, got ", text);
}

}  // namespace

double BitsPerElementOf(const std::vector<WireRow>& rows, Direction direction) {
  int64_t bytes = 0, elements = 0;
  for (const WireRow& row : rows) {
    if (row.direction != direction) continue;
    bytes += row.wire_bytes();
    elements += row.elements;
  }
  return elements == 0 ? 0.0 : BitsPerElement(bytes, elements);
}

absl::string_view Name(Report::Outcome outcome) {
  switch (outcome) {
    case Report::Outcome::kCompleted:
      return "completed";
    case Report::Outcome::kInterrupted:
      return "interrupted";
    case Report::Outcome::kFailed:
      break;
  }
  return "failed";
}

absl::string_view IsthmusVersion() { return kVersion; }

std::string Report::ToJson() const {
  Json changes;
  if (quality.has_value()) {
    changes = Json::array();
    for (const QualityChange& change : *quality)
      changes.push_back({{"step", change.step},
                         {"offset_db", change.offset_db},
                         {"step_over_computing", change.ratio}});
  }
  Json job = Json::parse(job_json, nullptr, false);
  Json rows = Json::array();
  for (const Process& process : processes) {
    rows.push_back({{"role", process.role}, {"peak_rss_bytes", process.peak_rss_bytes}});
  }
  const Json json = {
      {"isthmus_version", isthmus_version},
      {"seed", seed},
      {"job", job.is_discarded() ? Json(nullptr) : std::move(job)},
      {"status", std::string(Name(outcome))},
      {"steps", steps},
      {"resumed_from_step", resumed_from_step ? Json(*resumed_from_step) : Json(nullptr)},
      {"loss",
       {{"train_first", OrNull(loss.train_first)},
        {"train_last", OrNull(loss.train_last)},
        {"eval_before", OrNull(loss.eval_before)},
        {"eval_after", OrNull(loss.eval_after)},
        {"eval_after_uncompressed_cut", OrNull(loss.eval_after_uncompressed_cut)}}},
      {"wire", isthmus::ToJson(wire)},
      {"wire_eval", isthmus::ToJson(wire_eval)},
      {"time",
       {{"wall_s", time.wall_s},
        {"total_s", time.total_s},
        {"predicted_step_s", time.predicted_step_s},
        {"compute_s", time.compute_s},
        {"encode_s", time.encode_s},
        {"decode_s", time.decode_s},
        {"wait_s", time.wait_s}}},
      {"codec_auto", std::move(changes)},
      {"tokens", tokens},
      {"tokens_per_s", tokens_per_s},
      {"processes", std::move(rows)},
      {"recoveries", recoveries}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string Report::Summary() const {
  const auto shown = [](const std::optional<double>& value) {
    return value.has_value() ? absl::StrFormat("%.4f", *value) : std::string("-");
  };
  int64_t bytes = 0;
  for (const WireRow& row : wire) bytes += row.wire_bytes();
  return absl::StrFormat(
      "%s after %d steps in %.1f s (%.0f tokens/s)\n"
      "loss: training %s to %s, evaluation %s to %s\n"
      "wire: %.2f MB, %.2f bits/element forward, %.2f backward\n",
      Name(outcome), steps, time.wall_s, tokens_per_s, shown(loss.train_first),
      shown(loss.train_last), shown(loss.eval_before), shown(loss.eval_after),
      static_cast<double>(bytes) * 1e-6, BitsPerElementOf(wire, Direction::kForward),
      BitsPerElementOf(wire, Direction::kBackward));
}

absl::StatusOr<Report> Report::Parse(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object())
    return InvalidArgument("report: expected a JSON object, got something else");
  Report report;
  absl::Status status;
  std::string outcome;
  int64_t seed = 0;
  Fields fields(json, "report", &status);
  fields.Read("isthmus_version", &report.isthmus_version);
  fields.Read("seed", &seed);
  fields.Read("status", &outcome);
  fields.Read("steps", &report.steps);
  fields.Read("resumed_from_step", &report.resumed_from_step);
  if (const Json* job = fields.Object("job")) report.job_json = job->dump();
  ParseLoss(fields.Object("loss"), &report.loss, &status);
  ParseWire(fields.Array("wire"), &report.wire, &status);
  ParseWire(fields.Array("wire_eval"), &report.wire_eval, &status);
  ParseTime(fields.Object("time"), &report.time, &status);
  fields.Read("tokens", &report.tokens);
  fields.Read("tokens_per_s", &report.tokens_per_s);
  ParseProcesses(fields.Array("processes"), &report.processes, &status);
  fields.Read("recoveries", &report.recoveries);
  ISTHMUS_RETURN_IF_ERROR(status);
  report.seed = static_cast<uint64_t>(seed);
  ISTHMUS_ASSIGN_OR_RETURN(report.outcome, ParseOutcome(outcome));
  return report;
}

}  // namespace isthmus
