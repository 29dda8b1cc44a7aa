#include "cli/cluster_rows.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/output.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

Json List(const google::protobuf::RepeatedField<uint32_t>& numbers) {
  Json list = Json::array();
  for (const uint32_t number : numbers) list.push_back(number);
  return list;
}

Json List(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  Json list = Json::array();
  for (const std::string& text : texts) list.push_back(text);
  return list;
}

}  // namespace

Json ToJson(const v1::ListWorkersResponse& response) {
  Json rows = Json::array();
  for (const v1::WorkerRow& row : response.workers()) {
    const v1::WorkerInfo& info = row.info();
    rows.push_back(
        {{"name", info.name()},
         {"address", info.address()},
         {"state", row.state()},
         {"job", row.job_id()},
         {"stages", List(row.stages())},
         {"memory_bytes", row.memory_bytes()},
         {"memory_limit_bytes", info.memory_limit_bytes()},
         {"store_bytes", row.store_bytes()},
         {"device", info.device()},
         {"engine", info.engine()},
         {"threads", info.threads()},
         {"version", info.version()},
         {"last_heartbeat_age_s", static_cast<double>(row.last_heartbeat_age_us()) * 1e-6}});
  }
  return rows;
}

Json ToJson(const v1::ListJobsResponse& response) {
  Json rows = Json::array();
  for (const v1::JobRow& row : response.jobs()) {
    rows.push_back({{"id", row.id()},
                    {"name", row.name()},
                    {"status", row.status()},
                    {"step", row.step()},
                    {"total_steps", row.total_steps()},
                    {"loss", row.loss()},
                    {"tokens_per_s", row.tokens_per_s()},
                    {"wire_bytes", row.wire_bytes()},
                    {"workers", List(row.workers())},
                    {"message", row.message()},
                    {"submitted_unix_s", static_cast<double>(row.submitted_unix_us()) * 1e-6},
                    {"ended_unix_s", static_cast<double>(row.ended_unix_us()) * 1e-6}});
  }
  return rows;
}

std::string TableOf(const v1::ListWorkersResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"worker", "state", "job", "stages", "memory MB", "store MB", "address"}};
  for (const v1::WorkerRow& row : response.workers()) {
    rows.push_back({row.info().name(), row.state(), row.job_id(), absl::StrJoin(row.stages(), ","),
                    absl::StrFormat("%.0f", static_cast<double>(row.memory_bytes()) * 1e-6),
                    absl::StrFormat("%.0f", static_cast<double>(row.store_bytes()) * 1e-6),
                    row.info().address()});
  }
  return Table(rows);
}

std::string TableOf(const v1::ListJobsResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"job", "name", "status", "step", "loss", "tokens/s", "wire MB", "message"}};
  for (const v1::JobRow& row : response.jobs()) {
    rows.push_back(
        {row.id(), row.name(), row.status(), absl::StrCat(row.step(), "/", row.total_steps()),
         absl::StrFormat("%.4f", row.loss()), absl::StrFormat("%.0f", row.tokens_per_s()),
         absl::StrFormat("%.2f", static_cast<double>(row.wire_bytes()) * 1e-6), row.message()});
  }
  return Table(rows);
}

}  // namespace isthmus
