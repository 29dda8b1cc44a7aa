#include "kernels/bench_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace isthmus {

std::string KernelBenchJson(const KernelBenchReport& report) {
  std::string json = absl::StrFormat(
      "{\"target\":\"%s\",\"peaks\":{\"vnni_gop_per_s\":%.6g,\"fma_gflop_per_s\":%.6g,"
      "\"read_gb_per_s\":%.6g,\"memcpy_gb_per_s\":%.6g},\"rows\":[",
      report.target, report.int_peak_gops, report.fma_peak_gflops, report.read_gb_per_s,
      report.memcpy_gb_per_s);
  const char* separator = "";
  for (const KernelBenchRow& row : report.rows) {
    absl::StrAppendFormat(
        &json,
        "%s{\"kernel\":\"%s\",\"out\":%d,\"in\":%d,\"tokens\":%d,\"threads\":%d,"
        "\"gop_per_s\":%.6g,\"gb_per_s\":%.6g,\"share_of_limit\":%.4g,\"onednn_gop_per_s\":",
        separator, row.kernel, row.out, row.in, row.tokens, row.threads, row.gop_per_s,
        row.gb_per_s, row.share_of_limit);
    if (row.reference_gop_per_s > 0.0) {
      absl::StrAppendFormat(&json, "%.6g}", row.reference_gop_per_s);
    } else {
      absl::StrAppend(&json, "null}");
    }
    separator = ",";
  }
  return absl::StrCat(json, "]}");
}

std::string KernelBenchTable(const KernelBenchReport& report) {
  std::string table = absl::StrFormat(
      "%s: int8 peak %.0f GOP/s, FMA peak %.0f GFLOP/s, read %.1f GB/s, memcpy %.1f GB/s\n\n"
      "| kernel | out x in | tokens | GOP/s | weights GB/s | of the limit | oneDNN GOP/s |\n"
      "|---|---|---|---|---|---|---|\n",
      report.target, report.int_peak_gops, report.fma_peak_gflops, report.read_gb_per_s,
      report.memcpy_gb_per_s);
  for (const KernelBenchRow& row : report.rows) {
    absl::StrAppendFormat(
        &table, "| %s | %d x %d | %d | %.1f | %.2f | %.0f %% | %s |\n", row.kernel, row.out, row.in,
        row.tokens, row.gop_per_s, row.gb_per_s, 100.0 * row.share_of_limit,
        row.reference_gop_per_s > 0.0 ? absl::StrFormat("%.0f", row.reference_gop_per_s) : "");
  }
  return table;
}

}  // namespace isthmus
