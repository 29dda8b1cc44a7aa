#include "coordinator/rows_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace

nlohmann::ordered_json JsonOf(const v1::WorkerRow& row) {
  const v1::WorkerInfo& info = row.info();
  Json json;
  json["name"] = info.name();
  json["state"] = row.state();
  json["job"] = row.job_id().empty() ? Json(nullptr) : Json(row.job_id());
  json["stages"] = Json::array();
  for (uint32_t stage : row.stages()) json["stages"].push_back(stage);
  json["memory_bytes"] = row.memory_bytes();
  json["store_bytes"] = row.store_bytes();
  json["memory_limit_bytes"] = info.memory_limit_bytes();
  json["address"] = info.address();
  json["metrics_address"] = info.metrics_address();
  json["device"] = info.device();
  json["engine"] = info.engine();
  json["threads"] = info.threads();
  json["flops"] = Number(info.flops());
  json["rate_mbps"] = Number(info.rate_mbps());
  json["version"] = info.version();
  json["heartbeat_age_s"] = static_cast<double>(row.last_heartbeat_age_us()) * 1e-6;
  return json;
}

nlohmann::ordered_json JsonOf(const v1::JobRow& row) {
  Json json;
  json["id"] = row.id();
  json["name"] = row.name();
  json["status"] = row.status();
  json["step"] = row.step();
  json["total_steps"] = row.total_steps();
  json["loss"] = row.step() > 0 ? Number(row.loss()) : Json(nullptr);
  json["tokens_per_s"] = Number(row.tokens_per_s());
  json["wire_bytes"] = row.wire_bytes();
  json["message"] = row.message();
  json["workers"] = Json::array();
  for (const std::string& worker : row.workers()) json["workers"].push_back(worker);
  json["submitted_unix_s"] = static_cast<double>(row.submitted_unix_us()) * 1e-6;
  json["ended_unix_s"] = row.ended_unix_us() > 0
                             ? Json(static_cast<double>(row.ended_unix_us()) * 1e-6)
                             : Json(nullptr);
  return json;
}

}  // namespace isthmus
