#include "coordinator/http_api.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/rows_json.h"
#include "coordinator/status_page.h"
#include "metrics/exporter/exporter.h"
#include "metrics/metrics.h"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kJson[] = "application/json";
constexpr char kText[] = "text/plain; charset=utf-8";
constexpr absl::string_view kJobPrefix = "/api/v1/jobs/";

// Names come from peers: bytes that are not UTF-8 are replaced, never thrown about.
std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

HttpResponse NotFoundJson(const std::string& what) {
  return {404, kJson, Dump(Json{{"error", what}})};
}

HttpResponse OneJob(const HttpSources& sources, const std::string& id) {
  for (const v1::JobRow& row : sources.jobs()) {
    if (row.id() == id) return {200, kJson, JobJson(row)};
  }
  return NotFoundJson(absl::StrCat("expected the id of a job, got \"", id, "\""));
}

// The response and the route's name for the counter, which must not hold what a stranger typed.
std::pair<HttpResponse, std::string> Route(const HttpSources& sources, const std::string& path) {
  if (path == "/") {
    return {{200, "text/html; charset=utf-8",
             StatusPage(sources.workers(), sources.jobs(), sources.version)},
            path};
  }
  if (path == "/healthz") return {{200, kText, "ok\n"}, path};
  if (path == "/readyz") {
    const std::string reason = sources.not_ready();
    if (reason.empty()) return {{200, kText, "ok\n"}, path};
    return {{503, kText, reason + "\n"}, path};
  }
  if (path == "/metrics") {
    return {{200, kExpositionContentType, RenderMetrics(Metrics::Global())}, path};
  }
  if (path == "/api/v1/workers") return {{200, kJson, WorkersJson(sources.workers())}, path};
  if (path == "/api/v1/jobs") return {{200, kJson, JobsJson(sources.jobs())}, path};
  if (absl::StartsWith(path, kJobPrefix)) {
    return {OneJob(sources, path.substr(kJobPrefix.size())), absl::StrCat(kJobPrefix, "ID")};
  }
  if (absl::StartsWith(path, "/api/")) {
    return {NotFoundJson(absl::StrCat("expected a path of the API, got \"", path, "\"")), "other"};
  }
  return {{404, kText, "not found\n"}, "other"};
}

}  // namespace

std::string WorkersJson(absl::Span<const v1::WorkerRow> workers) {
  Json rows = Json::array();
  for (const v1::WorkerRow& row : workers) rows.push_back(JsonOf(row));
  return Dump(Json{{"workers", std::move(rows)}});
}

std::string JobsJson(absl::Span<const v1::JobRow> jobs) {
  Json rows = Json::array();
  for (const v1::JobRow& row : jobs) rows.push_back(JsonOf(row));
  return Dump(Json{{"jobs", std::move(rows)}});
}

std::string JobJson(const v1::JobRow& job) { return Dump(JsonOf(job)); }

HttpHandler MakeHttpApi(HttpSources sources) {
  return [sources = std::move(sources)](const std::string& path) {
    auto [response, route] = Route(sources, path);
    Metrics::Global().Get(kHttpRequestsTotal, {route, absl::StrCat(response.status)}).Add(1);
    return response;
  };
}

}  // namespace isthmus
