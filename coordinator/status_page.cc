#include "coordinator/status_page.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace isthmus {
namespace {

// Newest first; the API has the rest.
constexpr size_t kShownJobs = 50;

constexpr char kHead[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="3"><meta name="color-scheme" content="light dark"><title>Isthmus</title><style>
:root{--paper:#fff;--ink:#1b1f24;--soft:#667;--line:#d8dde3;--bar:#2f6fde;--good:#1a7f47;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e9ed;--soft:#98a2ad;--line:#2d333b;--bar:#5b92f0;--good:#5cc58a;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;background:var(--paper);color:var(--ink)}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}small,.soft{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}td.text{white-space:normal}
progress{width:8rem;accent-color:var(--bar)}.completed,.ready{color:var(--good)}.failed{color:var(--bad)}
</style></head><body>
)";

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string Bytes(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= int64_t{1} << 30) return absl::StrFormat("%.2f GiB", value / (1 << 30));
  if (bytes >= 1 << 20) return absl::StrFormat("%.1f MiB", value / (1 << 20));
  if (bytes >= 1 << 10) return absl::StrFormat("%.1f KiB", value / (1 << 10));
  return absl::StrCat(bytes, " B");
}

std::string Cell(const std::string& html, const char* kind = "") {
  return absl::StrCat("<td", *kind != 0 ? absl::StrCat(" class=\"", kind, "\"") : "", ">", html,
                      "</td>");
}

void AppendWorkers(const std::vector<v1::WorkerRow>& workers, std::string* page) {
  absl::StrAppend(page, "<h2>Workers</h2>\n");
  if (workers.empty()) {
    absl::StrAppend(page, "<p class=\"soft\">None has joined.</p>\n");
    return;
  }
  absl::StrAppend(page,
                  "<div class=\"wide\"><table><tr><th>name<th>state<th>job<th>stages<th>address"
                  "<th>engine<th class=\"number\">memory<th class=\"number\">codec state"
                  "<th class=\"number\">heard</tr>\n");
  for (const v1::WorkerRow& row : workers) {
    const v1::WorkerInfo& info = row.info();
    absl::StrAppend(
        page, "<tr>", Cell(Escape(info.name())), Cell(Escape(row.state()), row.state().c_str()),
        Cell(Escape(row.job_id())), Cell(absl::StrJoin(row.stages(), ", ")),
        Cell(Escape(info.address())),
        Cell(Escape(absl::StrCat(info.engine(), " on ", info.device()))),
        Cell(Bytes(row.memory_bytes()), "number"), Cell(Bytes(row.store_bytes()), "number"),
        Cell(absl::StrFormat("%.1f s ago", static_cast<double>(row.last_heartbeat_age_us()) * 1e-6),
             "number"),
        "</tr>\n");
  }
  absl::StrAppend(page, "</table></div>\n");
}

std::string ProgressOf(const v1::JobRow& row) {
  if (row.total_steps() <= 0) return absl::StrCat("step ", row.step());
  return absl::StrCat("<progress max=\"", row.total_steps(), "\" value=\"",
                      std::clamp<int64_t>(row.step(), 0, row.total_steps()), "\"></progress> ",
                      row.step(), " of ", row.total_steps());
}

void AppendJobs(const std::vector<v1::JobRow>& jobs, std::string* page) {
  absl::StrAppend(page, "<h2>Jobs</h2>\n");
  if (jobs.empty()) {
    absl::StrAppend(page, "<p class=\"soft\">None was submitted.</p>\n");
    return;
  }
  absl::StrAppend(page,
                  "<div class=\"wide\"><table><tr><th>id<th>name<th>status<th>progress"
                  "<th class=\"number\">loss<th class=\"number\">tokens/s"
                  "<th class=\"number\">on the wire<th>workers<th>message</tr>\n");
  const size_t shown = std::min(kShownJobs, jobs.size());
  for (auto row = jobs.rbegin(); row != jobs.rbegin() + shown; ++row) {
    const bool stepped = row->step() > 0 && std::isfinite(row->loss());
    absl::StrAppend(page, "<tr>", Cell(Escape(row->id())), Cell(Escape(row->name())),
                    Cell(Escape(row->status()), row->status().c_str()), Cell(ProgressOf(*row)),
                    Cell(stepped ? absl::StrFormat("%.4f", row->loss()) : "", "number"),
                    Cell(absl::StrFormat("%.0f", row->tokens_per_s()), "number"),
                    Cell(Bytes(row->wire_bytes()), "number"),
                    Cell(Escape(absl::StrJoin(row->workers(), ", "))),
                    Cell(Escape(row->message()), "text"), "</tr>\n");
  }
  absl::StrAppend(page, "</table></div>\n");
}

}  // namespace

std::string StatusPage(const std::vector<v1::WorkerRow>& workers,
                       const std::vector<v1::JobRow>& jobs, const std::string& version) {
  std::string page = kHead;
  absl::StrAppend(&page, "<h1>Isthmus <small>", Escape(version), "</small></h1>\n");
  AppendWorkers(workers, &page);
  AppendJobs(jobs, &page);
  absl::StrAppend(&page,
                  "<p><small>JSON: /api/v1/workers, /api/v1/jobs, /api/v1/jobs/ID. Metrics: "
                  "/metrics. Reloads every 3 s.</small></p>\n</body></html>\n");
  return page;
}

}  // namespace isthmus
