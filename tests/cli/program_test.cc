// The real program: exit statuses, one line on standard error, what it prints.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kExamples = std::string(ISTHMUS_SOURCE_DIR) + "/examples";
const std::string kModel = kExamples + "/stories260K";

class ProgramTest : public ::testing::Test {
 protected:
  ProgramTest() {
    std::string pattern = (fs::temp_directory_path() / "program-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~ProgramTest() override { fs::remove_all(folder_); }

  struct Result {
    int status = -1;
    std::string out, err;
  };
  // `command` is shell text after the program's name.
  Result Run(const std::string& command) {
    const std::string line = std::string("'") + ISTHMUS_PROGRAM + "' " + command + " >'" + folder_ +
                             "/out' 2>'" + folder_ + "/err'";
    Result result;
    const int status = std::system(line.c_str());
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.out = *ReadFile(folder_ + "/out");
    result.err = *ReadFile(folder_ + "/err");
    return result;
  }
  void ExpectRefused(const std::string& command, const std::string& needle, int status = 2) {
    const Result result = Run(command);
    EXPECT_EQ(result.status, status) << command << ": " << result.err;
    EXPECT_THAT(result.err, StartsWith("isthmus: ")) << command;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr(needle)) << command;
    EXPECT_EQ(result.out, "") << command;
  }
  std::string File(const std::string& name, const std::string& text) {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }

  std::string folder_;
};

TEST_F(ProgramTest, UsageErrors) {
  ExpectRefused("", "command");
  ExpectRefused("fly", "fly");
  ExpectRefused("evaal", "eval");
  ExpectRefused("eval --modl x", "--model");
  ExpectRefused("eval", "--model");
  ExpectRefused("codec bnch", "bench");
  ExpectRefused("codec bench --input none.npy", "none.npy");
  ExpectRefused("train", "JOB.yaml");
  ExpectRefused("train a b", "b");
}

// A cluster with TLS on its links may be scraped from another machine; one without needs
// --insecure.
TEST_F(ProgramTest, MetricsBeyondThisMachine) {
  const std::string worker = "worker --coordinator=127.0.0.1:1 --metrics=0.0.0.0:0";
  ExpectRefused(worker, "--metrics: expected a loopback address");
  const std::string files = " --tls-ca=none.pem --tls-cert=none.pem --tls-key=none.key";
  const Result result = Run(worker + files);
  EXPECT_EQ(result.status, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("none.pem"));
}

TEST_F(ProgramTest, AProxyHasAPort) {
  ExpectRefused("workers --coordinator=127.0.0.1:1 --proxy=nobody", "--proxy: expected HOST:PORT");
}

TEST_F(ProgramTest, HelpShowsOnlyWhatExists) {
  const Result help = Run("--help");
  EXPECT_EQ(help.status, 0);
  for (const char* word :
       {"demo", "coordinator", "worker", "train", "eval", "generate", "tokenize", "plan", "merge",
        "status", "jobs", "workers", "stop", "codec", "kernel", "quantize", "inspect", "version"}) {
    EXPECT_THAT(help.out, HasSubstr(word));
    EXPECT_EQ(Run(std::string(word) + " --help").status, 0) << word;
  }
}

TEST_F(ProgramTest, APackedFolderIsForTheOnDeviceEngine) {
  const std::string data = File("d.txt", "Once upon a time there was a cat.");
  const std::string packed = folder_ + "/packed";
  const Result made = Run("quantize --model " + kModel + " --out " + packed + " --format int8");
  ASSERT_EQ(made.status, 0) << made.err;
  const std::string eval = "eval --quiet --model " + packed + " --data " + data;
  ExpectRefused(eval, "--engine edge");
  EXPECT_EQ(Run(eval + " --engine edge").status, 0);
}

TEST_F(ProgramTest, Version) { EXPECT_THAT(Run("version").out, StartsWith("isthmus ")); }

TEST_F(ProgramTest, Tokenize) {
  const std::string text = File("in", "{\"text\": \"Once upon a time\"}\n\n{\"text\": \"\"}\n");
  const Result result = Run("tokenize --json --model " + kModel + " <" + text);
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "{\"ids\":[1,403,407,261,378]}\n{\"ids\":[1]}\n");
  ExpectRefused("tokenize --json --model " + kModel + " <" + File("bad", "[]\n"), "line 1");
  ExpectRefused("tokenize --json --model " + folder_ + "/none </dev/null", "none");
}

TEST_F(ProgramTest, EvalPrintsOneDocument) {
  const std::string data =
      File("d.jsonl", "{\"text\": \"Once upon a time there was a cat.\"}\n{\"input_ids\": [1]}\n");
  const Result result =
      Run("eval --json --model " + kModel + " --data " + data + " --cut-after 1,3 --codec int8");
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const Json json = Json::parse(result.out);
  EXPECT_GT(json["loss"].get<double>(), 0.0);
  EXPECT_EQ(json["documents"].size(), 2u);
  EXPECT_TRUE(json["documents"][1]["loss"].is_null());
  EXPECT_EQ(json["documents"][1]["tokens"], 0);
  EXPECT_EQ(json["cuts"][1]["after"], 3);
  EXPECT_EQ(json["cuts"][1]["codec"], "int8");
}

TEST_F(ProgramTest, EvalRefusals) {
  const std::string data = File("d.jsonl", "{\"text\": \"Once\"}\n");
  const std::string base = "eval --json --model " + kModel + " --data " + data;
  ExpectRefused(base + " --cut-after 9 --codec none", "--cut-after");
  ExpectRefused(base + " --cut-after 1", "--codec");
  ExpectRefused(base + " --cut-after 1 --codec zip9", "zip9");
  ExpectRefused(base + " --sequence-length 513", "--sequence-length");
  ExpectRefused(base + " --sequence-length 0", "--sequence-length");
  ExpectRefused(base + " --adapter " + folder_ + "/none", "none");
  ExpectRefused("eval --model " + kModel + " --data " + folder_ + "/none", "none");
  ExpectRefused("eval --model " + kModel + " --data " + File("empty", ""), "empty");
  ExpectRefused(
      "eval --model " + kModel + " --data " + File("e.jsonl", "{\"input_ids\": [1, 99999]}\n"),
      "99999");
}

TEST_F(ProgramTest, GenerateStreamsWhatJsonSays) {
  const std::string base =
      "generate --model " + kModel + " --prompt 'Once upon a time' --max-new-tokens 12";
  const Result text = Run(base), json = Run(base + " --json");
  ASSERT_EQ(text.status, 0) << text.err;
  ASSERT_EQ(json.status, 0) << json.err;
  const Json document = Json::parse(json.out);
  EXPECT_EQ(document["ids"].size(), document["prompt_ids"].size() + 12);
  EXPECT_EQ(document["text"].get<std::string>() + "\n", text.out);
  EXPECT_EQ(Run(base + " --temperature 1 --seed 5").out,
            Run(base + " --temperature 1 --seed 5").out);
  EXPECT_NE(Run(base + " --temperature 1 --seed 5").out,
            Run(base + " --temperature 1 --seed 6").out);
}

TEST_F(ProgramTest, GenerateStopsAtTheContext) {
  const Result result =
      Run("generate --ignore-eos --json --model " + kModel + " --prompt Once --max-new-tokens 600");
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("context of 512"));
  EXPECT_EQ(Json::parse(result.out)["ids"].size(), 513u);
}

TEST_F(ProgramTest, CodecListParses) {
  const Json json = Json::parse(Run("codec list --json").out);
  EXPECT_GE(json["codecs"].size(), 17u);
  for (const Json& row : json["codecs"]) {
    EXPECT_FALSE(row["composition"].get<std::string>().empty());
    EXPECT_GE(row["state_bytes"].get<int64_t>(), 0);
  }
  EXPECT_GE(json["parts"].size(), 20u);
  EXPECT_THAT(Run("codec list").out, HasSubstr("TAH-Quant, arXiv 2506.01352"));
}

TEST_F(ProgramTest, CodecBenchReadsAFile) {
  const std::string path = folder_ + "/x.npy";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 32, 64), }";
  header.resize(117, ' ');
  header += '\n';
  std::string bytes = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(118) + '\0' + header;
  for (int i = 0; i < 3 * 32 * 64; ++i) {
    const float v = static_cast<float>(i * 2654435761u % 1000) / 100.0f - 5.0f;
    bytes.append(reinterpret_cast<const char*>(&v), sizeof(v));
  }
  std::ofstream(path, std::ios::binary) << bytes;
  const Result result =
      Run("codec bench --json --codec int8 --codec 'tah(bits=4)' --codec none --input " + path);
  ASSERT_EQ(result.status, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_GT(json["memcpy_gb_per_s"].get<double>(), 0.0);
  ASSERT_EQ(json["rows"].size(), 3u);
  EXPECT_EQ(json["rows"][0]["codec_full"], "int(bits=8,group=token,sym)");
  EXPECT_EQ(json["rows"][0]["elements"], 3 * 32 * 64);
  EXPECT_EQ(json["rows"][0]["bits_per_element"], 8.25);
  EXPECT_GT(json["rows"][0]["snr_db"].get<double>(), 40.0);
  EXPECT_FALSE(json["rows"][0].contains("bits_above_rd"));
  EXPECT_TRUE(json["rows"][2]["snr_db"].is_null());
  std::ofstream(path, std::ios::binary) << bytes.substr(0, bytes.size() - 1);
  ExpectRefused("codec bench --input " + path, "values");
  std::ofstream(path, std::ios::binary) << "no array";
  ExpectRefused("codec bench --input " + path, "npy");
  ExpectRefused("codec bench --codec zip9", "zip9");
}

TEST_F(ProgramTest, DumpedEdgesAreBenched) {
  const std::string dump = folder_ + "/dump";
  const std::string train = "train " + kExamples + "/demo.yaml --quiet --set train.steps=2 --set " +
                            "data.eval=null --set codec=none --set link.rate_mbps=0 --overwrite " +
                            "--set output=" + folder_ + "/run --dump-edges ";
  Result result = Run(train + dump + " --dump-steps 1");
  ASSERT_EQ(result.status, 0) << result.err;
  ExpectRefused(train + dump, "--dump-edges");  // it is not empty now
  ExpectRefused("worker --coordinator 127.0.0.1:1 --dump-steps 2", "--dump-edges");

  result = Run("codec bench --json --codec none --codec 'aqsgd(bits=4)' --input " + dump);
  ASSERT_EQ(result.status, 0) << result.err;
  const Json rows = Json::parse(result.out)["rows"];
  ASSERT_EQ(rows.size(), 9u);  // three edges, both directions; aqsgd codes no gradients
  EXPECT_EQ(rows[0]["source"], "edge 0 forward");
  EXPECT_EQ(rows[2]["source"], "edge 0 backward");
  for (const Json& row : rows) EXPECT_EQ(row["elements"], rows[0]["elements"]);
  EXPECT_EQ(rows[0]["bits_per_element"], 32.0);
  EXPECT_THAT(Run("inspect " + dump).out, HasSubstr("edge 2 backward"));

  std::string index = *ReadFile(dump + "/index.jsonl");
  File("dump/index.jsonl", index + "{\"file\":\"../x.npy\"}\n");
  ExpectRefused("codec bench --input " + dump, "index.jsonl");
  index.replace(index.find("\"samples\":["), 11, "\"samples\":[1,");
  File("dump/index.jsonl", index);
  ExpectRefused("codec bench --input " + dump, "index.jsonl:1");
}

TEST_F(ProgramTest, GenerationRefusesCodecsForSequences) {
  ExpectRefused(
      "generate --model " + kModel + " --prompt Once --cut-after 1 --codec 'stamp(bits=4)'",
      "single tokens");
}

TEST_F(ProgramTest, InspectShowsAModel) {
  const Result result = Run("inspect " + kModel);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("260032 parameters"));
  ExpectRefused("inspect " + folder_ + "/none", "none");
}

TEST_F(ProgramTest, PlanRunsNothing) {
  const Result result =
      Run("plan --json --set output=" + folder_ + "/out-run " + kExamples + "/demo.yaml");
  ASSERT_EQ(result.status, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["stages"].size(), 4u);
  EXPECT_EQ(json["edges"].size(), 3u);
  EXPECT_GT(json["predicted_step_s"].get<double>(), 0.0);
  EXPECT_FALSE(fs::exists(folder_ + "/out-run"));
}

TEST_F(ProgramTest, RefusedJobLeavesNothing) {
  const std::string out = folder_ + "/refused";
  const std::string base = "train " + kExamples + "/demo.yaml --quiet --set output=" + out;
  ExpectRefused(base + " --set split.head_layers=40", "head_layers");
  ExpectRefused(base + " --set train.stepz=2", "steps");
  ExpectRefused(base + " --resume --overwrite", "--resume");
  ExpectRefused(base + " --coordinator 8.8.8.8:1", "--coordinator");
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(ProgramTest, NobodyAtTheCoordinatorsPort) {
  ExpectRefused("jobs --coordinator 127.0.0.1:1", "127.0.0.1:1", 3);
}

}  // namespace
}  // namespace isthmus
