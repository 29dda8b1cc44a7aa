#include "cli/cluster_rows.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/output.h"
#include "coordinator/rows_json.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

template <typename Rows>
Json ListOf(const Rows& rows) {
  Json list = Json::array();
  for (const auto& row : rows) list.push_back(JsonOf(row));
  return list;
}

}  // namespace

Json ToJson(const v1::ListWorkersResponse& response) { return ListOf(response.workers()); }

Json ToJson(const v1::ListJobsResponse& response) { return ListOf(response.jobs()); }

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
