// `./dev bench`: every measurement of one run, side by side, as build/bench/report.json and
// report.md.
//
//   isthmus_report --isthmus PROGRAM --out FOLDER [codec] [link] [train]     without names: all of
//   them
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/status.h"
#include "base/thread.h"
#include "bench/end_to_end.h"
#include "bench/process.h"
#include "bench/table.h"
#include "isthmus/version.h"

namespace isthmus::bench {
namespace {

struct ReportOptions {
  std::string isthmus;
  std::string programs;  // where the other benches lie
  std::string out;
  std::vector<std::string> parts;
  bool Wants(const std::string& part) const {
    return parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end();
  }
};

std::string CpuName() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/cpuinfo");
  if (!text.ok()) return "unknown processor";
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    if (halves.size() == 2 && absl::StartsWith(halves[0], "model name"))
      return std::string(halves[1]);
  }
  return "unknown processor";
}

nlohmann::json Machine() {
  struct utsname names = {};
  ::uname(&names);
  return {{"date", absl::FormatTime("%Y-%m-%d", absl::Now(), absl::UTCTimeZone())},
          {"processor", CpuName()},
          {"cores", std::thread::hardware_concurrency()},
          {"kernel", names.release},
          {"version", kVersion},
          {"revision", kRevision}};
}

absl::Status Append(const ReportOptions& options, nlohmann::json* report, std::string* page) {
  if (options.Wants("codec")) {
    ISTHMUS_ASSIGN_OR_RETURN((*report)["codec"],
                             RunJson({absl::StrCat(options.programs, "/isthmus_codec_bench")}));
    absl::StrAppend(page,
                    "\n## Codecs, one core\n\nfp32 bytes in or out per second, and as a ratio to "
                    "memcpy in the same run.\n\n",
                    MarkdownTable((*report)["codec"]["rows"],
                                  {"codec", "bits_per_element", "encode_gb_per_s",
                                   "decode_gb_per_s", "encode_to_memcpy", "decode_to_memcpy"}));
  }
  if (options.Wants("link")) {
    ISTHMUS_ASSIGN_OR_RETURN((*report)["link"],
                             RunJson({absl::StrCat(options.programs, "/isthmus_link_bench")}));
    absl::StrAppend(page, "\n## Links\n\n",
                    MarkdownTable((*report)["link"]["rows"],
                                  {"what", "message_bytes", "gb_per_s", "cpu_s_per_gb", "share"}));
  }
  if (options.Wants("train")) {
    EndToEndOptions end_to_end;
    end_to_end.isthmus = options.isthmus;
    end_to_end.folder = absl::StrCat(options.out, "/train");
    ISTHMUS_ASSIGN_OR_RETURN((*report)["train"]["rows"], RunEndToEnd(end_to_end));
    absl::StrAppend(page,
                    "\n## Training over shaped links\n\nRandom model of width 512, six blocks over "
                    "client and two workers, 16 "
                    "micro-batches of 64 tokens a step. The bound is the larger of the step time "
                    "on unshaped links and the bytes of "
                    "the busiest host and direction over the rate.\n\n",
                    MarkdownTable((*report)["train"]["rows"],
                                  {"codec", "rate_mbps", "tokens_per_s", "bits_per_element",
                                   "step_s", "compute_s", "transfer_s", "share_of_bound"}));
  }
  return absl::OkStatus();
}

absl::Status Run(const ReportOptions& options) {
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(options.out));
  nlohmann::json report = {{"machine", Machine()}};
  const nlohmann::json& machine = report["machine"];
  std::string page =
      absl::StrCat("# Bench of ", machine["date"].dump(), "\n\n", machine["processor"].dump(), ", ",
                   machine["cores"].dump(), " cores, isthmus ", kVersion, " (", kRevision, ")\n");
  ISTHMUS_RETURN_IF_ERROR(Append(options, &report, &page));
  ISTHMUS_RETURN_IF_ERROR(
      WriteFileAtomic(absl::StrCat(options.out, "/report.json"), report.dump(1) + "\n"));
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(options.out, "/report.md"), page));
  std::fputs(page.c_str(), stdout);
  return absl::OkStatus();
}

absl::StatusOr<ReportOptions> ParseArguments(int argc, char** argv) {
  ReportOptions options;
  const std::string self = argv[0];
  options.programs = self.substr(0, self.find_last_of('/'));
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if ((word == "--isthmus" || word == "--out") && i + 1 < argc) {
      (word == "--out" ? options.out : options.isthmus) = argv[++i];
    } else if (word == "codec" || word == "link" || word == "train") {
      options.parts.push_back(word);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("bench: expected codec, link or train, got ", word));
    }
  }
  if (options.isthmus.empty() || options.out.empty()) {
    return absl::InvalidArgumentError("bench: expected --isthmus PROGRAM --out FOLDER");
  }
  return options;
}

}  // namespace
}  // namespace isthmus::bench

int main(int argc, char** argv) {
  const absl::StatusOr<isthmus::bench::ReportOptions> options =
      isthmus::bench::ParseArguments(argc, argv);
  if (!options.ok()) {
    std::fprintf(stderr, "%s\n", std::string(options.status().message()).c_str());
    return 2;
  }
  const absl::Status status = isthmus::bench::Run(*options);
  if (!status.ok()) std::fprintf(stderr, "bench: %s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
