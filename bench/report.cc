// `./dev bench`: every measurement of one run, side by side, as JSON and as a page of tables.
//
//   isthmus_report --isthmus PROGRAM --out FOLDER [codec] [link] [train] [edge]
//                  [--codec SPEC]… [--rate MBPS]… [--steps N]
//
// Without names: all of them, as FOLDER/report.json and report.md; with names only these, as
// codec.json, codec_link.json, … The options make the training matrix smaller.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "bench/edge_rows.h"
#include "bench/end_to_end.h"
#include "bench/machine.h"
#include "bench/process.h"
#include "bench/table.h"

namespace isthmus::bench {
namespace {

constexpr const char* kParts[] = {"codec", "link", "train", "edge"};

struct ReportOptions {
  std::string programs;  // where the other benches lie
  std::string out;
  std::vector<std::string> parts;
  EndToEndOptions train;
  bool Wants(const std::string& part) const {
    return parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end();
  }
  std::string Name() const { return parts.empty() ? "report" : absl::StrJoin(parts, "_"); }
};

absl::Status AppendCodec(const ReportOptions& options, nlohmann::json* report, std::string* page) {
  ISTHMUS_ASSIGN_OR_RETURN((*report)["codec"],
                           RunJson({absl::StrCat(options.programs, "/isthmus_codec_bench")}));
  const nlohmann::json& codec = (*report)["codec"];
  absl::StrAppend(
      page,
      "\n## Codecs\n\nfp32 bytes in or out per second, and as a share of "
      "memcpy in the same turn (median here: ",
      absl::StrFormat("%.1f", codec.value("memcpy_gb_per_s", 0.0)),
      " GB/s copied). A frame is 32 MiB; aqsgd is timed on later visits of a "
      "sample, amaq after its gates have learned, ecq with row ids on rows that their slots "
      "explain.\n\n",
      MarkdownTable(codec["rows"], {"codec", "direction", "row_ids", "threads", "bits_per_element",
                                    "encode_gb_per_s", "decode_gb_per_s", "encode_share_of_memcpy",
                                    "decode_share_of_memcpy"}));
  return absl::OkStatus();
}

absl::Status AppendLink(const ReportOptions& options, nlohmann::json* report, std::string* page) {
  ISTHMUS_ASSIGN_OR_RETURN((*report)["link"],
                           RunJson({absl::StrCat(options.programs, "/isthmus_link_bench")}));
  const nlohmann::json& link = (*report)["link"];
  absl::StrAppend(
      page,
      "\n## Links on loopback\n\nA link beside a bare gRPC stream of generic messages of the same "
      "size, which looks at no byte (bare) or copies each message into one buffer "
      "(bare_copying). link_share: the link's GB/s over the other's; link_cpu_ratio: its CPU "
      "seconds per GB over the other's.\n\n",
      MarkdownTable(link["rows"],
                    {"message_bytes", "link.gb_per_s", "link.cpu_s_per_gb", "bare.gb_per_s",
                     "bare.cpu_s_per_gb", "bare.link_share", "bare.link_cpu_ratio",
                     "bare_copying.link_share", "bare_copying.link_cpu_ratio"}),
      "\n## Links at a shaped rate\n\nShare of the rate that payload and framing fill.\n\n",
      MarkdownTable(link["shaped"], {"rate_mbps", "message_bytes", "share"}));
  return absl::OkStatus();
}

absl::Status AppendTrain(const ReportOptions& options, nlohmann::json* report, std::string* page) {
  ISTHMUS_ASSIGN_OR_RETURN((*report)["train"]["rows"], RunEndToEnd(options.train));
  absl::StrAppend(
      page,
      "\n## Training over shaped links\n\nRandom model of width 512, four blocks over client and "
      "two workers, 16 micro-batches of 64 tokens a step. The bound is the larger of compute_s, "
      "the step time of the same Plan on unshaped links, and transfer_s, the bytes of the busiest "
      "host and direction over the rate.\n\n",
      MarkdownTable(
          (*report)["train"]["rows"],
          {"codec", "codec_backward", "rate_mbps", "tokens_per_s", "bits_per_element", "step_s",
           "compute_s", "transfer_s", "share_of_bound", "predicted_over_mean"}));
  return absl::OkStatus();
}

absl::Status AppendEdge(const ReportOptions& options, nlohmann::json* report, std::string* page) {
  ISTHMUS_ASSIGN_OR_RETURN((*report)["edge"], RunEdgeSteps(options.programs));
  absl::StrAppend(
      page,
      "\n## A device's training step\n\nLoRA on a client's part of a 12-layer decoder of width 768 "
      "(embedding, first block, last block, head over 8192 ids; 4 samples of 128 tokens, two "
      "threads), a process each, engines in turn.\n\n",
      MarkdownTable((*report)["edge"], {"engine", "weights", "step_s", "step_over_torch",
                                        "peak_rss_bytes", "rss_over_torch"}));
  return absl::OkStatus();
}

absl::Status Run(const ReportOptions& options) {
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(options.out));
  nlohmann::json report = {{"machine", Machine()}};
  std::string page = absl::StrCat("# Bench of ", MachineLine(report["machine"]), "\n");
  if (options.Wants("codec")) ISTHMUS_RETURN_IF_ERROR(AppendCodec(options, &report, &page));
  if (options.Wants("link")) ISTHMUS_RETURN_IF_ERROR(AppendLink(options, &report, &page));
  if (options.Wants("train")) ISTHMUS_RETURN_IF_ERROR(AppendTrain(options, &report, &page));
  if (options.Wants("edge")) ISTHMUS_RETURN_IF_ERROR(AppendEdge(options, &report, &page));
  const std::string path = absl::StrCat(options.out, "/", options.Name());
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(path + ".json", report.dump(1) + "\n"));
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(path + ".md", page));
  std::fputs(page.c_str(), stdout);
  return absl::OkStatus();
}

absl::StatusOr<int> Whole(const std::string& option, const std::string& text) {
  int value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < 1 || value > 1000000) {
    return absl::InvalidArgumentError(
        absl::StrCat("bench: ", option, ": expected a whole number above 0, got ", text));
  }
  return value;
}

// Each time the option is given one value joins the list.
struct Lists {
  std::vector<std::string> codecs;
  std::vector<int> rates_mbps;
};

absl::Status SetOption(const std::string& option, const std::string& value, ReportOptions* options,
                       Lists* lists) {
  if (option == "--isthmus") {
    options->train.isthmus = value;
  } else if (option == "--out") {
    options->out = value;
  } else if (option == "--codec") {
    lists->codecs.push_back(value);
  } else if (option == "--rate") {
    ISTHMUS_ASSIGN_OR_RETURN(const int rate, Whole(option, value));
    lists->rates_mbps.push_back(rate);
  } else if (option == "--steps") {
    ISTHMUS_ASSIGN_OR_RETURN(options->train.steps, Whole(option, value));
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("bench: expected --codec, --rate or --steps, got ", option));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReportOptions> ParseArguments(int argc, char** argv) {
  ReportOptions options;
  Lists lists;
  const std::string self = argv[0];
  options.programs = self.substr(0, self.find_last_of('/'));
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (std::find(std::begin(kParts), std::end(kParts), word) != std::end(kParts)) {
      options.parts.push_back(word);
    } else if (absl::StartsWith(word, "--") && i + 1 < argc) {
      ISTHMUS_RETURN_IF_ERROR(SetOption(word, argv[++i], &options, &lists));
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "bench: expected codec, link, train, edge or an option and its value, got ", word));
    }
  }
  if (options.train.isthmus.empty() || options.out.empty()) {
    return absl::InvalidArgumentError("bench: expected --isthmus PROGRAM --out FOLDER");
  }
  options.train.folder = absl::StrCat(options.out, "/train");
  if (!lists.codecs.empty()) options.train.codecs = lists.codecs;
  if (!lists.rates_mbps.empty()) options.train.rates_mbps = lists.rates_mbps;
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
