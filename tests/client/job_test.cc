#include "client/job.h"

#include <filesystem>
#include <fstream>

#include "client/job_yaml.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/json.h"

namespace isthmus {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kMinimal[] = "model: m\ndata: {train: t.jsonl}\noutput: out\n";

absl::StatusOr<Job> Parse(const std::string& extra, std::vector<std::string> overrides = {}) {
  return ParseJob(kMinimal + extra, "/jobs", overrides);
}

std::string ErrorOf(const absl::StatusOr<Job>& job) {
  EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument) << job.status();
  return std::string(job.status().message());
}

TEST(JobTest, MinimalJobHasTheDocumentedDefaults) {
  const auto job = Parse("");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->model, "/jobs/m");
  EXPECT_EQ(job->data.train, "/jobs/t.jsonl");
  EXPECT_EQ(job->output, "/jobs/out");
  EXPECT_EQ(job->init, Init::kPretrained);
  EXPECT_EQ(job->dtype, ComputeType::kFp32);
  EXPECT_EQ(job->cluster.workers, 2);
  EXPECT_FALSE(job->cluster.given);
  EXPECT_TRUE(job->data.shuffle);
  EXPECT_FALSE(job->data.pack);
  EXPECT_TRUE(job->data.append_eos);
  EXPECT_EQ(job->split.head_layers, 1);
  EXPECT_EQ(job->split.tail_layers, 1);
  EXPECT_EQ(job->split.labels, LabelsAt::kClient);
  EXPECT_EQ(job->train.method, TrainMethod::kLora);
  EXPECT_EQ(job->train.lora.rank, 8);
  EXPECT_EQ(job->train.lora.alpha, 16);
  EXPECT_EQ(job->train.optimizer.name, OptimizerName::kAdamW);
  EXPECT_EQ(job->train.optimizer.lr, 1e-3);
  EXPECT_EQ(job->train.optimizer.clip_norm, 0);
  EXPECT_EQ(job->train.schedule.name, RateSchedule::kConstant);
  EXPECT_EQ(job->train.steps, std::nullopt);
  EXPECT_EQ(job->train.epochs, 1);
  EXPECT_EQ(job->pipeline.schedule, PipelineSchedule::k1F1B);
  EXPECT_EQ(job->pipeline.stages, 0);
  EXPECT_FALSE(job->codec.given());
  EXPECT_EQ(job->checkpoint.every_steps, 0);
  EXPECT_FALSE(job->link.given());
}

TEST(JobTest, EveryKeyArrives) {
  const auto job = ParseJob(R"(
model: ../m
init: random
dtype: bf16
cluster: {workers: 4}
data:
  train: /abs/t.jsonl
  eval: e.jsonl
  eval_every_steps: 5
  patience: 3
  sequence_length: 128
  pack: true
  shuffle: false
  append_eos: false
split: {head_layers: 2, tail_layers: 3, labels: client}
train:
  method: lora
  lora: {rank: 4, alpha: 8, dropout: 0.1, targets: [q_proj, o_proj], init_from: a}
  optimizer: {name: adamw, lr: 2e-4, betas: [0.8, 0.95], eps: 1e-6, weight_decay: 0.1, clip_norm: 1.0}
  schedule: {name: cosine, warmup_steps: 10}
  recompute: true
  steps: 200
  micro_batch_size: 4
  micro_batches: 2
  seed: 18446744073709551615
pipeline: {schedule: gpipe, stages: 2}
codec: {forward: "int8", backward: "fp16"}
checkpoint: {every_steps: 50, keep: 3}
security: {tls: {ca: ca.pem, cert: c.pem, key: k.pem}}
link: {rate_mbps: 100, delay_ms: 2.5}
output: out/
)",
                            "/jobs");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->model, "/m");
  EXPECT_EQ(job->init, Init::kRandom);
  EXPECT_EQ(job->dtype, ComputeType::kBf16);
  EXPECT_EQ(job->cluster.workers, 4);
  EXPECT_TRUE(job->cluster.given);
  EXPECT_EQ(job->data.train, "/abs/t.jsonl");
  EXPECT_EQ(job->data.patience, 3);
  EXPECT_EQ(job->data.sequence_length, 128);
  EXPECT_TRUE(job->data.pack);
  EXPECT_FALSE(job->data.append_eos);
  EXPECT_EQ(job->split.tail_layers, 3);
  EXPECT_THAT(job->train.lora.targets, ElementsAre("q_proj", "o_proj"));
  EXPECT_EQ(job->train.lora.init_from, "/jobs/a");
  EXPECT_EQ(job->train.optimizer.beta1, 0.8);
  EXPECT_EQ(job->train.optimizer.beta2, 0.95);
  EXPECT_EQ(job->train.schedule.name, RateSchedule::kCosine);
  EXPECT_TRUE(job->train.recompute);
  EXPECT_EQ(job->train.steps, 200);
  EXPECT_EQ(job->train.epochs, std::nullopt);
  EXPECT_EQ(job->train.seed, 18446744073709551615ull);
  EXPECT_EQ(job->pipeline.schedule, PipelineSchedule::kGpipe);
  EXPECT_EQ(job->codec.forward, "int8");
  EXPECT_EQ(job->codec.backward, "fp16");
  EXPECT_EQ(job->checkpoint.keep, 3);
  EXPECT_EQ(job->security.tls.key, "/jobs/k.pem");
  EXPECT_EQ(job->link.delay_ms, 2.5);
  EXPECT_EQ(job->output, "/jobs/out");
}

TEST(JobTest, TheEdgeSectionSaysWhatTheDeviceHolds) {
  const auto job = Parse("edge: {weights: int8, memory_limit: 48MiB, update: auto}\n");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->edge.weights, "int8");
  EXPECT_EQ(job->edge.memory_limit_bytes, int64_t{48} << 20);
  EXPECT_EQ(job->edge.update, UpdateSet::kAuto);
  const auto again = ParseJob(ToYaml(*job), "/jobs");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToJson(*again), ToJson(*job));
  EXPECT_FALSE(ToJson(*Parse("")).contains("edge"));
}

TEST(JobTest, UnknownKeyNamesTheNearest) {
  EXPECT_THAT(ErrorOf(Parse("train: {stepz: 2}\n")),
              AllOf(HasSubstr("train.stepz"), HasSubstr("nearest is train.steps")));
  EXPECT_THAT(ErrorOf(Parse("splt: {}\n")), HasSubstr("nearest is split"));
  EXPECT_THAT(ErrorOf(Parse("train: {optimizer: {learning_rte: 1}}\n")),
              HasSubstr("train.optimizer.learning_rte"));
  EXPECT_THAT(ErrorOf(Parse("split: {seed: 3}\n")), HasSubstr("nearest is train.seed"));
  EXPECT_THAT(ErrorOf(Parse("edge: {memory_limt: 48MiB}\n")),
              HasSubstr("nearest is edge.memory_limit"));
  EXPECT_THAT(ErrorOf(Parse("security: {token: abc}\n")), HasSubstr("security.token"));
}

TEST(JobTest, WrongTypeOrRangeNamesTheKey) {
  for (const auto& [key, text] : std::vector<std::pair<std::string, std::string>>{
           {"train.steps", "train: {steps: many}"},
           {"train.steps", "train: {steps: 0}"},
           {"train.steps", "train: {steps: 1.5}"},
           {"train.optimizer.lr", "train: {optimizer: {lr: -1}}"},
           {"train.optimizer.lr", "train: {optimizer: {lr: .nan}}"},
           {"train.optimizer.betas", "train: {optimizer: {betas: [0.9]}}"},
           {"train.optimizer.betas", "train: {optimizer: {betas: [0.9, 1.0]}}"},
           {"edge.memory_limit", "edge: {memory_limit: much}"},
           {"edge.memory_limit", "edge: {memory_limit: -3MiB}"},
           {"edge.memory_limit", "edge: {memory_limit: 1.5}"},
           {"edge.update", "edge: {update: some}"},
           {"edge.weights", "edge: {weights: [int8]}"},
           {"train.optimizer.name", "train: {optimizer: {name: lion}}"},
           {"train.optimizer.momentum", "train: {optimizer: {momentum: 0.9}}"},
           {"train.estimator", "train: {estimator: guess}"},
           {"train.spsa.eps", "train: {spsa: {eps: 0}}"},
           {"train.spsa.probes", "train: {spsa: {probes: 0}}"},
           {"train.optimizer.name", "train: {estimator: spsa}"},
           {"train.optimizer.momentum",
            "train: {estimator: spsa, optimizer: {name: sgd, momentum: 0.9}}"},
           {"train.optimizer.clip_norm",
            "train: {estimator: spsa, optimizer: {name: sgd, clip_norm: 1}}"},
           {"train.recompute", "train: {estimator: spsa, recompute: true, optimizer: {name: sgd}}"},
           {"codec.backward",
            "train: {estimator: spsa, optimizer: {name: sgd}}\n"
            "codec: {forward: int8, backward: int8}"},
           {"train.lora.dropout",
            "train: {estimator: spsa, lora: {dropout: 0.1}, optimizer: {name: sgd}}"},
           {"train.lora.dropout", "train: {lora: {dropout: 1}}"},
           {"train.lora.rank", "train: {lora: {rank: 0}}"},
           {"train.lora.targets", "train: {lora: {targets: q_proj}}"},
           {"train.lora.targets", "train: {lora: {targets: [q_proj, q_proj]}}"},
           {"train.seed", "train: {seed: -1}"},
           {"train", "train: 5"},
           {"train.recompute", "train: {recompute: 1}"},
           {"split.head_layers", "split: {head_layers: -1}"},
           {"split.labels", "split: {labels: both}"},
           {"split.tail_layers", "split: {labels: server, tail_layers: 1}"},
           {"checkpoint.keep", "checkpoint: {keep: 0}"},
           {"pipeline.stages", "pipeline: {stages: some}"},
           {"pipeline.stages", "cluster: {workers: 1}\npipeline: {stages: 2}"},
           {"pipeline.schedule", "pipeline: {schedule: zigzag}"},
           {"link.rate_mbps", "link: {rate_mbps: -5}"},
           {"security.tls", "security: {tls: {cert: c.pem}}"},
           {"dtype", "dtype: fp64"}}) {
    EXPECT_THAT(ErrorOf(Parse(text)), HasSubstr(key + ": expected")) << text;
  }
}

TEST(JobTest, RequiredKeysAreNamed) {
  EXPECT_THAT(ErrorOf(ParseJob("data: {train: t}\noutput: o", "/")), HasSubstr("model"));
  EXPECT_THAT(ErrorOf(ParseJob("model: m\ndata: {train: t}", "/")), HasSubstr("output"));
  EXPECT_THAT(ErrorOf(ParseJob("", "/")), HasSubstr("got nothing"));
  EXPECT_THAT(ErrorOf(ParseJob("- a\n- b", "/")), HasSubstr("got a list"));
}

// A program may bring its own data; a job file must name them.
TEST(JobTest, AFileNamesItsData) {
  EXPECT_TRUE(ParseJob("model: m\noutput: o", "/").ok());
  const std::string path = testing::TempDir() + "/job-without-data.yaml";
  std::ofstream(path) << "model: m\noutput: o";
  EXPECT_THAT(ErrorOf(ReadJob(path)),
              AllOf(HasSubstr("data.train: expected a path"), HasSubstr(path)));
}

TEST(JobTest, KeysThatOnlyMakeSenseTogether) {
  EXPECT_THAT(ErrorOf(Parse("train: {steps: 1, epochs: 1}")), HasSubstr("got both"));
  EXPECT_THAT(ErrorOf(ParseJob("model: m\noutput: o\ndata: {train: t, eval_every_steps: 3}", "/")),
              HasSubstr("data.eval"));
  EXPECT_THAT(ErrorOf(ParseJob("model: m\noutput: o\ndata: {train: t, eval: e, patience: 3}", "/")),
              HasSubstr("data.eval_every_steps"));
  const auto sgd = Parse("train: {optimizer: {name: sgd, lr: 0.1, momentum: 0.9}}");
  ASSERT_TRUE(sgd.ok()) << sgd.status();
  EXPECT_EQ(sgd->train.optimizer.momentum, 0.9);
  const auto server = Parse("split: {labels: server}");
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(server->split.tail_layers, 0);
  EXPECT_TRUE(Parse("split: {labels: server, tail_layers: 0}").ok());
}

TEST(JobTest, YamlMistakesAreOneLine) {
  for (const char* text : {"train: [", "a: b: c", "model: *x", "\t- x", "model: m\nmodel: n",
                           "? [a]\n: b", "---\na: 1\n---\nb: 2\n", "]", "a: 1\n}"}) {
    const std::string error = ErrorOf(ParseJob(text, "/"));
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(JobTest, AliasesDoNotUnfoldWithoutBound) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string below = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) text += below + ",";
    text += "]\n";
  }
  EXPECT_THAT(ErrorOf(ParseJob(text, "/")), HasSubstr("nodes"));
}

TEST(JobTest, OverridesAreYamlAndWin) {
  const auto job = Parse("train: {epochs: 3, optimizer: {lr: 1}}\n",
                         {"train.steps=5", "train.optimizer.lr=1e-4", "data.eval=e.jsonl",
                          "train.lora.targets=[q_proj, v_proj]", "codec=none", "dtype=bf16"});
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->train.steps, 5);
  EXPECT_EQ(job->train.epochs, std::nullopt);
  EXPECT_EQ(job->train.optimizer.lr, 1e-4);
  EXPECT_EQ(job->data.eval, "/jobs/e.jsonl");
  EXPECT_EQ(job->codec.backward, "none");
  EXPECT_EQ(job->dtype, ComputeType::kBf16);
  EXPECT_THAT(ErrorOf(Parse("", {"train.stepz=5"})), HasSubstr("train.steps"));
  EXPECT_THAT(ErrorOf(Parse("", {"train.steps"})), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(ErrorOf(Parse("", {"=5"})), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(ErrorOf(Parse("", {"model.x=5"})), HasSubstr("model.x"));
  EXPECT_THAT(ErrorOf(Parse("", {"train.steps=["})), HasSubstr("train.steps"));
}

TEST(JobTest, ScalarCodecStandsForBothDirections) {
  const auto job = Parse("codec: \"aqsgd(bits=4)\"");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->codec.forward, "aqsgd(bits=4)");
  EXPECT_EQ(job->codec.backward, "int8");
  EXPECT_EQ(Parse("codec: fp16")->codec.backward, "fp16");
  EXPECT_EQ(Parse("codec: {forward: \"aqsgd(bits=2)\"}")->codec.backward, "int4");
  EXPECT_THAT(ErrorOf(Parse("codec: zip9")), AllOf(HasSubstr("codec"), HasSubstr("zip9")));
  EXPECT_THAT(ErrorOf(Parse("codec: {forward: none, backward: \"aqsgd(bits=77)\"}")),
              AllOf(HasSubstr("codec.backward"), HasSubstr("bits")));
  EXPECT_THAT(ErrorOf(Parse("codec: {forward: none, backward: \"aqsgd(bits=4)\"}")),
              HasSubstr("codec.backward"));
  EXPECT_THAT(ErrorOf(Parse("codec: {backward: none}")), HasSubstr("codec.forward"));
  EXPECT_THAT(ErrorOf(Parse("codec: 8")), HasSubstr("codec"));
}

TEST(JobTest, ResolvedJobIsAJobFile) {
  for (const char* extra :
       {"", "train: {steps: 7, method: full, optimizer: {name: sgd, lr: 0.3, momentum: 0.5}}\n",
        "codec: {forward: int8, backward: fp16}\npipeline: {stages: 1}\nlink: {rate_mbps: 20}\n"
        "split: {labels: server}\nsecurity: {tls: {ca: ca.pem}}\n",
        "train: {lora: {targets: [\"1\", yes, \"true\"]}, optimizer: {lr: 0.1234567890123}}\n"}) {
    const auto job = Parse(extra);
    ASSERT_TRUE(job.ok()) << job.status();
    const std::string json = DumpJson(ToJson(*job));
    const auto from_json = ParseJob(json, "/elsewhere");
    ASSERT_TRUE(from_json.ok()) << from_json.status() << json;
    EXPECT_EQ(DumpJson(ToJson(*from_json)), json);
    const auto from_yaml = ParseJob(ToYaml(*job), "/elsewhere");
    ASSERT_TRUE(from_yaml.ok()) << from_yaml.status() << ToYaml(*job);
    EXPECT_EQ(DumpJson(ToJson(*from_yaml)), json);
  }
}

TEST(JobTest, OnlyLengthAndCheckpointsMayChangeOnResume) {
  const auto run = Parse("codec: none\ntrain: {steps: 10, seed: 3}\n");
  ASSERT_TRUE(run.ok()) << run.status();
  const auto resume = [&](const std::string& extra) {
    const auto now = Parse(extra);
    EXPECT_TRUE(now.ok()) << now.status();
    return CheckResumable(*run, *now);
  };
  EXPECT_TRUE(resume("codec: none\ntrain: {steps: 10, seed: 3}\n").ok());
  EXPECT_TRUE(resume("codec: none\ntrain: {steps: 20, seed: 3}\ncheckpoint: {keep: 9}\n").ok());
  EXPECT_TRUE(resume("codec: none\ntrain: {epochs: 2, seed: 3}\n").ok());
  EXPECT_TRUE(resume("train: {seed: 3}\n").ok());  // codec left open: the earlier one is taken over
  EXPECT_THAT(std::string(resume("codec: none\n").message()), HasSubstr("train.seed"));
  EXPECT_THAT(std::string(resume("codec: int8\ntrain: {seed: 3}\n").message()),
              HasSubstr("codec.forward"));
  EXPECT_THAT(std::string(resume("train: {seed: 3, optimizer: {lr: 1}}\n").message()),
              HasSubstr("train.optimizer.lr"));
  EXPECT_THAT(std::string(resume("train: {seed: 3, lora: {rank: 2}}\n").message()),
              HasSubstr("train.lora.rank"));
}

TEST(JobTest, ReadJobNamesTheFile) {
  EXPECT_EQ(ReadJob("/nowhere/job.yaml").status().code(), absl::StatusCode::kNotFound);
  const std::string path = testing::TempDir() + "job_test_bad.yaml";
  std::ofstream(path) << "modl: x\n";
  EXPECT_THAT(ErrorOf(ReadJob(path)), AllOf(HasSubstr("modl"), HasSubstr(path)));
  std::ofstream(path) << kMinimal;
  const auto job = ReadJob(path);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->model, (std::filesystem::path(path).parent_path() / "m").string());
  std::filesystem::remove(path);
}

TEST(YamlToJsonTest, ScalarsAreTypedByTheirForm) {
  const auto value =
      YamlToJson("[1, -2, 1.5, 1e-3, .5, \"1\", '2', true, ~, 1f1b, 127.0.0.1, 1-2, +, 0x10, '']");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(DumpJson(*value),
            R"([1,-2,1.5,0.001,0.5,"1","2",true,null,"1f1b","127.0.0.1","1-2","+","0x10",""])");
}

}  // namespace
}  // namespace isthmus
