// isthmus-edge: what it needs, what it weighs, what it refuses, and a run under a memory limit.
#include <elf.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kModel = std::string(ISTHMUS_SOURCE_DIR) + "/examples/stories260K";

// Enough of an ELF file: its segments and the libraries it names.
class Program {
 public:
  Program() : bytes_(*ReadFile(ISTHMUS_EDGE_PROGRAM)) {
    const auto header = At<Elf64_Ehdr>(0);
    for (int i = 0; i < header.e_phnum; ++i)
      segments_.push_back(At<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr)));
  }

  // What is loaded: a stripped file is a few kilobytes larger.
  uint64_t LoadedBytes() const {
    uint64_t total = 0;
    for (const Elf64_Phdr& segment : segments_)
      total += segment.p_type == PT_LOAD ? segment.p_filesz : 0;
    return total;
  }

  std::vector<std::string> NeededLibraries() const {
    std::vector<uint64_t> names;
    uint64_t strings = 0;
    for (const Elf64_Phdr& segment : segments_) {
      if (segment.p_type != PT_DYNAMIC) continue;
      for (uint64_t at = segment.p_offset;; at += sizeof(Elf64_Dyn)) {
        const auto entry = At<Elf64_Dyn>(at);
        if (entry.d_tag == DT_NULL) break;
        if (entry.d_tag == DT_NEEDED) names.push_back(entry.d_un.d_val);
        if (entry.d_tag == DT_STRTAB) strings = OffsetOf(entry.d_un.d_ptr);
      }
    }
    std::vector<std::string> libraries;
    for (uint64_t name : names) libraries.emplace_back(bytes_.c_str() + strings + name);
    return libraries;
  }

 private:
  template <typename T>
  T At(uint64_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(value));
    return value;
  }
  uint64_t OffsetOf(uint64_t address) const {
    for (const Elf64_Phdr& segment : segments_) {
      if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
          address < segment.p_vaddr + segment.p_filesz)
        return address - segment.p_vaddr + segment.p_offset;
    }
    return 0;
  }

  const std::string bytes_;
  std::vector<Elf64_Phdr> segments_;
};

class EdgeProgramTest : public ::testing::Test {
 protected:
  EdgeProgramTest() {
    std::string pattern = (fs::temp_directory_path() / "edge-program-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~EdgeProgramTest() override { fs::remove_all(folder_); }

  struct Result {
    int status = -1;
    std::string out, err;
  };
  Result Run(const std::string& command) {
    const std::string line = absl::StrCat("'", ISTHMUS_EDGE_PROGRAM, "' ", command, " >'", folder_,
                                          "/out' 2>'", folder_, "/err'");
    Result result;
    const int status = std::system(line.c_str());
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.out = *ReadFile(folder_ + "/out");
    result.err = *ReadFile(folder_ + "/err");
    return result;
  }
  // A job of two blocks at the client.
  std::string Job(const std::string& edge, const std::string& model = kModel) {
    const std::string path = folder_ + "/job.yaml";
    const std::string text = absl::StrCat(
        "model: ", model, "\ndata: {train: ", folder_,
        "/text.txt, sequence_length: 64}\ntrain: {steps: 3, micro_batch_size: 2, micro_batches: 2, "
        "optimizer: {name: adamw8bit}}\ncodec: int8\n",
        edge, "output: ", folder_, "/out-run\n");
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    std::string words;
    for (int i = 0; i < 200; ++i)
      absl::StrAppend(&words, "Once upon a time there was a cat number ", i, ". It ran.\n\n");
    EXPECT_TRUE(WriteFileAtomic(folder_ + "/text.txt", words).ok());
    return "'" + path + "'";
  }

  // The folder that `quantize` makes.
  std::string Packed(const std::string& format) {
    const std::string out = absl::StrCat(folder_, "/", format);
    const Result made =
        Run(absl::StrCat("quantize --model ", kModel, " --out ", out, " --format ", format));
    EXPECT_EQ(made.status, 0) << made.err;
    return out;
  }
  std::string Eval(const std::string& model) {
    return absl::StrCat("eval --quiet --json --sequence-length 64 --data ", folder_,
                        "/text.txt --model ", model);
  }
  void ExpectRefused(const std::string& command, const std::string& needle) {
    const Result result = Run(command);
    EXPECT_EQ(result.status, 2) << command << ": " << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr(needle)) << command;
  }

  std::string folder_;
};

TEST_F(EdgeProgramTest, NeedsNoLibTorch) {
  const std::vector<std::string> libraries = Program().NeededLibraries();
  EXPECT_GE(libraries.size(), 5u);
  const std::string all = absl::StrJoin(libraries, " ");
  for (const char* foreign : {"torch", "c10", "blas", "mkl", "gomp"})
    EXPECT_THAT(all, Not(HasSubstr(foreign)));
}

TEST_F(EdgeProgramTest, WeighsAtMostTwelveMegabytes) {
  EXPECT_LE(Program().LoadedBytes(), 12u << 20);
}

TEST_F(EdgeProgramTest, WhatItLacksIsRefusedAndNotInItsHelp) {
  for (const char* command : {"train", "worker", "eval", "generate"}) {
    const Result help = Run(absl::StrCat(command, " --help"));
    EXPECT_EQ(help.status, 0);
    EXPECT_THAT(help.out, Not(HasSubstr("torch")));
    EXPECT_THAT(help.out, Not(HasSubstr("cuda")));
  }
  const Result torch = Run("worker --coordinator 127.0.0.1:1 --engine torch");
  EXPECT_EQ(torch.status, 2);
  EXPECT_THAT(torch.err, HasSubstr("--engine"));
  Job("");  // writes the text
  const Result format =
      Run(absl::StrCat("eval --model ", ISTHMUS_SOURCE_DIR, "/examples/stories260K --data ",
                       folder_, "/text.txt --weights int3"));
  EXPECT_EQ(format.status, 2) << format.err;
  EXPECT_THAT(format.err, HasSubstr("int8"));
}

TEST_F(EdgeProgramTest, QuantizesByACalibrationText) {
  Job("");  // writes the text
  const std::string command =
      absl::StrCat("quantize --quiet --model ", kModel, " --format int4g64");
  const std::string text = absl::StrCat(" --calibration ", folder_, "/text.txt");
  const Result made = Run(absl::StrCat(command, text, " --calibration-positions 256 --json --out ",
                                       folder_, "/calibrated"));
  ASSERT_EQ(made.status, 0) << made.err;
  const Json report = Json::parse(made.out);
  EXPECT_LE(report["calibration_positions"], 256);
  EXPECT_EQ(report["matrices"].size(), 5u * 7u);
  for (const Json& matrix : report["matrices"])
    EXPECT_LE(matrix["calibrated_error"], matrix["nearest_error"]) << matrix;
  EXPECT_EQ(Run(Eval(folder_ + "/calibrated")).status, 0);

  ExpectRefused(absl::StrCat(command, " --json --out ", folder_, "/plain"), "--calibration FILE");
  ExpectRefused(
      absl::StrCat("quantize --model ", kModel, text, " --format bf16 --out ", folder_, "/wide"),
      "8 or 4 bits");
  ExpectRefused(
      absl::StrCat(command, " --calibration ", folder_, "/none.txt --out ", folder_, "/none"),
      "none.txt");
}

// What is planned may be off by 15 %; the process beside it takes 20 MB: program, gRPC, threads. (A
// plan of less than 15 MB does not show it: Debian's shared libraries are 19 MB of pages alone.)
TEST_F(EdgeProgramTest, TrainsWithinItsPlan) {
  const std::string job = Job("edge: {weights: int8, memory_limit: 48MiB, update: auto}\n");
  for (const char* codec : {"none", "aqsgd(bits=4)", "ecq(db=20)"}) {
    const std::string flags = absl::StrCat(
        " --set train.micro_batch_size=16 --set train.micro_batches=6 --set "
        "data.sequence_length=256 --set 'codec=",
        codec, "' ", job);
    const Result plan = Run("plan --json" + flags);
    ASSERT_EQ(plan.status, 0) << plan.err;
    const Json planned = Json::parse(plan.out);
    EXPECT_GT(planned.at("client_engine_bytes"), 1e5);
    EXPECT_LE(planned.at("client_engine_bytes"), 48.0 * (1 << 20));
    const Result run = Run("train --quiet --overwrite --json" + flags);
    ASSERT_EQ(run.status, 0) << run.err;
    const Json report = Json::parse(run.out);
    EXPECT_EQ(report.at("status"), "completed");
    EXPECT_EQ(report.at("job").at("edge").at("weights"), "int8");
    EXPECT_LE(report.at("processes").at(0).at("peak_rss_bytes").get<double>(),
              1.15 * planned.at("client_planned_bytes").get<double>() + 20e6)
        << codec << " " << planned;
  }
}

// Probes over the split pipeline: nothing goes backward, and how many workers there are and where
// the run was interrupted does not show in a bit of the adapter.
TEST_F(EdgeProgramTest, TrainsByProbes) {
  const std::string job = Job("");
  const auto train = [&](const std::string& name, const std::string& more) {
    const std::string out = absl::StrCat(folder_, "/", name);
    const Result run = Run(absl::StrCat(
        "train --quiet --json ", job, " --set train.estimator=spsa --set train.spsa.probes=2",
        " --set train.optimizer='{name: sgd, lr: 1e-3}' --set codec=none --set output=", out, " ",
        more));
    EXPECT_EQ(run.status, 0) << run.err;
    return std::pair(run.status == 0 ? Json::parse(run.out) : Json(),
                     *ReadFile(out + "/adapter/adapter_model.safetensors"));
  };
  const auto [report, adapter] = train("one", "--set cluster.workers=1");
  EXPECT_EQ(report.at("job").at("train").at("spsa").at("probes"), 2);
  ASSERT_FALSE(report.at("wire").empty());
  for (const Json& row : report.at("wire")) {
    EXPECT_EQ(row.at("direction"), "forward");
    EXPECT_GT(row.at("payload_bytes").get<int64_t>(), 0);
  }
  EXPECT_EQ(train("two", "--set cluster.workers=2").second, adapter);
  EXPECT_NE(train("parts", "--set train.steps=2").second, adapter);
  EXPECT_EQ(train("parts", "--resume").second, adapter);
}

TEST_F(EdgeProgramTest, ProbesTakeLessMemoryThanGradients) {
  const std::string job = Job("edge: {weights: int8}\n");
  const auto planned = [&](const std::string& more) {
    const Result plan = Run(absl::StrCat("plan --json ", job, " ", more));
    EXPECT_EQ(plan.status, 0) << plan.err;
    return Json::parse(plan.out).at("client_planned_bytes").get<int64_t>();
  };
  EXPECT_LT(planned("--set train.estimator=spsa --set train.optimizer='{name: sgd}'"),
            planned("--set train.optimizer='{name: sgd}'") * 8 / 10);
}

TEST_F(EdgeProgramTest, ALimitThatIsTooSmallIsSaid) {
  const Result plan = Run("plan " + Job("edge: {weights: int8, memory_limit: 100KiB}\n"));
  EXPECT_NE(plan.status, 0);
  EXPECT_THAT(plan.err, HasSubstr("edge.memory_limit: expected at least"));
}

TEST_F(EdgeProgramTest, APackedFolderComputesWhatPackingAtTheStartDoes) {
  Job("");  // writes the text
  std::vector<std::string> losses = {Run(Eval(kModel)).out};
  for (const std::string format : {"int8", "int4g64"}) {
    const std::string packed = Packed(format);
    const Result plain = Run(absl::StrCat(Eval(kModel), " --weights ", format));
    const Result mapped = Run(Eval(packed));
    ASSERT_EQ(plain.status, 0) << plain.err;
    ASSERT_EQ(mapped.status, 0) << mapped.err;
    EXPECT_EQ(mapped.out, plain.out) << format;
    EXPECT_THAT(losses, Not(::testing::Contains(mapped.out))) << format;
    losses.push_back(mapped.out);
    const std::string text = "generate --prompt 'Once upon' --max-new-tokens 16 --model ";
    const Result story = Run(absl::StrCat(text, packed));
    EXPECT_EQ(story.status, 0) << story.err;
    EXPECT_EQ(story.out, Run(absl::StrCat(text, kModel, " --weights ", format)).out) << format;
  }
}

TEST_F(EdgeProgramTest, GeneratesFromALowBitCache) {
  const std::string text =
      absl::StrCat("generate --ignore-eos --prompt 'ROMEO:' --max-new-tokens 48 --model ", kModel);
  const Result plain = Run(text);
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_EQ(Run(text + " --kv-cache fp32").out, plain.out);
  EXPECT_NE(Run(text + " --kv-cache int8").out, "");
  const Result four = Run(text + " --kv-cache int4");
  EXPECT_EQ(four.status, 0) << four.err;
  EXPECT_NE(four.out, plain.out);
  const Result three = Run(text + " --kv-cache int3");
  EXPECT_EQ(three.status, 2);
  EXPECT_THAT(three.err, HasSubstr("expected one of fp32, int8, int4"));
}

TEST_F(EdgeProgramTest, APackedFolderTrainsAdapters) {
  const std::string packed = Packed("int4g64");
  const std::string job = Job("edge: {memory_limit: 16MiB}\n", packed);
  const Result plan = Run("plan --json " + job);
  ASSERT_EQ(plan.status, 0) << plan.err;
  const Result unpacked = Run("plan --json " + Job("edge: {memory_limit: 16MiB}\n"));
  EXPECT_LT(Json::parse(plan.out).at("client_planned_bytes"),
            Json::parse(unpacked.out).at("client_planned_bytes"));
  const Result run = Run("train --quiet --json " + Job("", packed));
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(Json::parse(run.out).at("status"), "completed");
  const Result tuned = Run(absl::StrCat(Eval(packed), " --adapter ", folder_, "/out-run/adapter"));
  ASSERT_EQ(tuned.status, 0) << tuned.err;
  EXPECT_NE(tuned.out, Run(Eval(packed)).out);
  ExpectRefused("train --overwrite --set train.method=full " + job, "train.method: expected lora");
}

TEST_F(EdgeProgramTest, WhatAPackedFolderIsNotIsSaidInOneLine) {
  Job("");  // writes the text
  const std::string packed = Packed("int4g64");
  ExpectRefused(absl::StrCat(Eval(packed), " --weights int8"), "expected int4g64");
  ExpectRefused("inspect " + packed, "--engine edge");
  const std::string file = packed + "/packed.safetensors";
  fs::resize_file(file, fs::file_size(file) - 64);
  ExpectRefused(Eval(packed), "packed.safetensors");
}

}  // namespace
}  // namespace isthmus
