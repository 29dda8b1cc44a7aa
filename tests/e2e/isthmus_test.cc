// The built program as a user starts it: what a run leaves behind, stopping and going on, clusters
// of separate processes with and without TLS, and what wrong input is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "nlohmann/json.hpp"
#include "tests/e2e/child.h"
#include "tests/e2e/free_port.h"
#include "tests/e2e/program_fixture.h"

namespace isthmus::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(IsthmusTest, ARunLeavesWhatItPromisesAndIsNotOverwritten) {
  const std::string job = Job("int8", 4);
  ASSERT_EQ(Start({"train", job, "--quiet"})->Wait(), 0);
  const nlohmann::json report = nlohmann::json::parse(FileText(Run("report.json")), nullptr, false);
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report.value("status", ""), "completed");
  EXPECT_EQ(report.value("steps", 0), 4);
  EXPECT_EQ(StepsDone(), 4);
  EXPECT_TRUE(fs::exists(Run("adapter/adapter_model.safetensors")));
  EXPECT_TRUE(fs::exists(Run("adapter/adapter_config.json")));
  EXPECT_TRUE(fs::exists(Run("checkpoints/step-000004")));
  Words names;
  for (const auto& entry : fs::directory_iterator(folder_ + "/run")) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, Contains(StartsWith("events.out.tfevents.")));

  const std::string steps = FileText(Run("steps.jsonl"));
  auto again = Start({"train", job, "--quiet"});
  EXPECT_EQ(again->Wait(), 2);
  ExpectOneError(*again, "--resume");
  EXPECT_EQ(Start({"train", job, "--quiet", "--resume"})->Wait(), 0);  // completed already
  EXPECT_EQ(FileText(Run("steps.jsonl")), steps);
}

struct MemoryCase {
  const char* method;
  int layers;
  double least_planned_bytes;  // at every worker, so that the bound bounds something
};

class MemoryTest : public IsthmusTest, public ::testing::WithParamInterface<MemoryCase> {
 protected:
  void MakeModelAndData() {
    fs::create_directory(folder_ + "/model");
    std::ofstream(folder_ + "/model/config.json")
        << R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 768,
        "intermediate_size": 2048, "num_attention_heads": 12, "num_key_value_heads": 12,
        "vocab_size": 512, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false,
        "num_hidden_layers": )"
        << GetParam().layers << "}";
    std::ofstream data(folder_ + "/train.jsonl");
    for (int i = 0; i < 32; ++i) {
      data << R"({"input_ids": [)";
      for (int k = 0; k < 64; ++k) data << (k > 0 ? "," : "") << (i * 37 + k * 11) % 512;
      data << "]}\n";
    }
  }
  void ExpectPeaksAsPlanned(const nlohmann::json& planned) {
    const nlohmann::json report =
        nlohmann::json::parse(FileText(Run("report.json")), nullptr, false);
    ASSERT_EQ(planned["parties"].size(), 3u);
    ASSERT_EQ(report["processes"].size(), 3u);
    for (size_t party = 0; party < 3; ++party) {
      const auto bytes = planned["parties"][party]["predicted_memory_bytes"].get<double>();
      if (party > 0) {
        EXPECT_GT(bytes, GetParam().least_planned_bytes);
      }
      EXPECT_LE(report["processes"][party]["peak_rss_bytes"].get<double>(), 1.3 * bytes) << party;
    }
  }
};

// The plan counts weights, trained state, what is in flight and 250 MB of process; a block is of
// 28 MB, and of 113 MB with gradient and AdamW's moments. Checkpoints, the result and going on from
// a checkpoint pass all of it through the client.
TEST_P(MemoryTest, NoProcessNeedsMuchMoreThanPlanned) {
  MakeModelAndData();
  const std::string job = folder_ + "/job.yaml";
  std::ofstream(job) << "model: model\ninit: random\ndata: {train: train.jsonl}\n"
                     << "split: {head_layers: 1, tail_layers: 1}\n"
                     << "train: {method: " << GetParam().method
                     << ", steps: 3, micro_batch_size: 4, micro_batches: 4}\n"
                     << "checkpoint: {every_steps: 1, keep: 1}\ncodec: int8\noutput: run\n";
  auto plan = Start({"plan", job, "--json"});
  ASSERT_EQ(plan->Wait(), 0) << plan->Error();
  const nlohmann::json planned = nlohmann::json::parse(plan->Out(), nullptr, false);
  ASSERT_EQ(Start({"train", job, "--quiet", "--set", "train.steps=2"})->Wait(), 0);
  ExpectPeaksAsPlanned(planned);
  ASSERT_EQ(Start({"train", job, "--quiet", "--resume"})->Wait(), 0);
  ExpectPeaksAsPlanned(planned);
}

INSTANTIATE_TEST_SUITE_P(Methods, MemoryTest,
                         ::testing::Values(MemoryCase{"lora", 10, 3.7e8},
                                           MemoryCase{"full", 6, 5.5e8}),
                         [](const auto& info) { return info.param.method; });

class ResumeTest : public IsthmusTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(ResumeTest, AnInterruptedRunGoesOnToTheSameLosses) {
  constexpr int kSteps = 40;
  ASSERT_EQ(Start({"train", Job(GetParam(), kSteps), "--quiet"})->Wait(), 0);
  const Words undisturbed = Losses();
  ASSERT_EQ(undisturbed.size(), static_cast<size_t>(kSteps));
  fs::remove_all(folder_ + "/run");

  // Shaped, so that it does not end before it is interrupted; losses do not depend on links.
  const std::string job = Job(GetParam(), kSteps, "link: {rate_mbps: 5}\n");
  auto interrupted = Start({"train", job, "--quiet"});
  ASSERT_TRUE(Eventually([&] { return StepsDone() >= 5; })) << interrupted->Error();
  interrupted->Signal(SIGINT);
  EXPECT_EQ(interrupted->Wait(), 130) << interrupted->Error();
  ASSERT_LT(StepsDone(), kSteps);
  auto resumed = Start({"train", job, "--quiet", "--resume"});
  ASSERT_EQ(resumed->Wait(), 0) << resumed->Error();
  EXPECT_EQ(Losses(), undisturbed);
}

INSTANTIATE_TEST_SUITE_P(Codecs, ResumeTest, ::testing::Values("none", "aqsgd(bits=4)"));

nlohmann::json ReportIn(const std::string& file) {
  return nlohmann::json::parse(FileText(file), nullptr, false);
}

// Slow links make the codec coarser by 1 dB after every four steps until it is at its floor, -4 dB.
TEST_F(IsthmusTest, AutoGoesOnAdaptingWhereItsCheckpointLeftOff) {
  const std::string job = Job("auto", 10, "link: {rate_mbps: 5, delay_ms: 40}\n");
  ASSERT_EQ(Start({"train", job, "--quiet"})->Wait(), 0);
  const nlohmann::json before = ReportIn(Run("report.json"))["codec_auto"];
  ASSERT_EQ(before.size(), 2u) << before;
  EXPECT_EQ(before[1]["offset_db"], -2.0);
  auto resumed = Start({"train", job, "--quiet", "--resume", "--set", "train.steps=16"});
  ASSERT_EQ(resumed->Wait(), 0) << resumed->Error();
  const nlohmann::json after = ReportIn(Run("report.json"))["codec_auto"];
  ASSERT_EQ(after.size(), 3u) << after;
  EXPECT_EQ(after[0], before[0]);
  EXPECT_EQ(after[1], before[1]);
  EXPECT_EQ(after[2]["offset_db"], -3.0);
  EXPECT_EQ(after[2]["step"], 14);
}

// So small a rate moves no loss: the first evaluation is the best, the next two are not better.
TEST_F(IsthmusTest, PatienceEndsARunThatIsThenDone) {
  const std::string job = Job("none", 8);
  std::ofstream(folder_ + "/eval.txt") << "What say you to this? I say no more than truth.";
  const auto train = [&](Words more) {
    more.insert(more.begin(),
                {"train", job, "--quiet", "--set", "data.eval=" + folder_ + "/eval.txt", "--set",
                 "data.eval_every_steps=1", "--set", "data.patience=2", "--set",
                 "train.optimizer.lr=1e-30"});
    auto child = Start(more);
    EXPECT_EQ(child->Wait(), 0) << child->Error();
  };
  train({});
  const std::string report = FileText(Run("report.json"));
  EXPECT_EQ(ReportIn(Run("report.json"))["status"], "completed");
  EXPECT_EQ(StepsDone(), 3);
  EXPECT_EQ(ReportIn(Run("checkpoints/best/manifest.json"))["step"], 1);
  train({"--resume"});
  EXPECT_EQ(FileText(Run("report.json")), report);
  train({"--resume", "--set", "train.steps=9"});
  EXPECT_EQ(StepsDone(), 4);
}

TEST_F(ClusterTest, MutualTlsFromFiles) {
  const std::string certificates = folder_ + "/certificates";
  Child make(ISTHMUS_SOURCE_DIR "/deploy/certificates/make.sh",
             {certificates, "127.0.0.1", "client"}, folder_);
  ASSERT_EQ(make.Wait(), 0) << make.Error();
  const auto security = [&](const std::string& name) {
    return Words{"--tls-ca",   certificates + "/ca.pem",
                 "--tls-cert", certificates + "/" + name + ".pem",
                 "--tls-key",  certificates + "/" + name + ".key"};
  };
  StartCoordinator("0.0.0.0", security("127.0.0.1"));
  auto first = StartWorker("first", security("127.0.0.1"));
  auto second = StartWorker("second", security("127.0.0.1"));
  auto client = Train(Job("int4", 3, "pipeline: {stages: 2}\n"), security("client"));
  EXPECT_EQ(client->Wait(), 0) << client->Error();
  EXPECT_EQ(StepsDone(), 3);

  auto stranger = Start({"status", "--coordinator", Coordinator()});
  EXPECT_EQ(stranger->Wait(), 3) << stranger->Out();
  ExpectOneError(*stranger, "");
}

// Two epochs, so that stores are read as well as written.
TEST_F(ClusterTest, AStoreInAFileIsTheOneInMemory) {
  const auto job = [this](const std::string& store) {
    return Job("aqsgd(bits=4,store=" + store + ")", 12);
  };
  std::ofstream(folder_ + "/short.txt") << std::string(300, 'a') << " What say you to this?";
  // A block for each worker: where there is a choice, measured speeds decide the cut.
  const Words data = {"--overwrite", "--set", "data.train=" + folder_ + "/short.txt", "--set",
                      "split.head_layers=2"};
  const auto embedded = [&](const std::string& store) {
    Words words = {"train", job(store), "--quiet"};
    words.insert(words.end(), data.begin(), data.end());
    auto client = Start(words);
    EXPECT_EQ(client->Wait(), 0) << client->Error();
    return Losses();
  };
  const Words expected = embedded("ram");
  ASSERT_EQ(expected.size(), 12u);
  EXPECT_FALSE(fs::exists(Run("state")));
  EXPECT_EQ(embedded("mmap"), expected);
  EXPECT_TRUE(fs::exists(Run("state/w0")));

  // A worker with a folder of its own, and one that keeps nothing.
  StartCoordinator("127.0.0.1", {});
  auto kept = StartWorker("kept", {"--state", folder_ + "/kept"});
  auto bare = StartWorker("bare", {});
  Words two = data;
  two.insert(two.end(), {"--set", "pipeline.stages=2"});
  auto client = Train(job("mmap"), two);
  EXPECT_EQ(client->Wait(), 0) << client->Error();
  EXPECT_EQ(Losses(), expected);
}

// Without --state nothing is kept: a checkpoint is still written, and a resumed run starts its
// stores anew.
TEST_F(ClusterTest, AWorkerWithoutAStateFolderKeepsNoCodecState) {
  const bool had_codecs = fs::exists("/codecs");
  StartCoordinator("127.0.0.1", {});
  auto worker = StartWorker("bare", {});
  const std::string job = Job("aqsgd(bits=4)", 100);
  auto client = Train(job, {});
  ASSERT_TRUE(Eventually([&] { return StepsDone() >= 5 || !client->Running(); }));
  client->Signal(SIGINT);
  EXPECT_EQ(client->Wait(), 130) << client->Error();
  auto resumed = Start({"train", job, "--resume", "--coordinator", Coordinator()});
  EXPECT_EQ(resumed->Wait(), 0) << resumed->Error();
  EXPECT_THAT(resumed->Out() + resumed->Error(), HasSubstr("bare kept none: it had no --state"));
  EXPECT_EQ(StepsDone(), 100);
  EXPECT_EQ(fs::exists("/codecs"), had_codecs);
}

TEST_F(ClusterTest, AWorkerIsListedWithWhereItsMetricsAre) {
  StartCoordinator("127.0.0.1", {});
  const std::string metrics = std::to_string(FreePort());
  const auto worker = [&](const std::string& name, const std::string& metrics_address) {
    return Start({"worker", "--coordinator", Coordinator(), "--listen", "127.0.0.1:0", "--insecure",
                  "--name", name, "--metrics", metrics_address});
  };
  const auto first = worker("a", "0.0.0.0:" + metrics), second = worker("b", "off");
  nlohmann::json rows;
  ASSERT_TRUE(Eventually([&] {
    auto question = Start({"workers", "--json", "--coordinator", Coordinator()});
    if (question->Wait() != 0) return false;
    rows = nlohmann::json::parse(question->Out(), nullptr, false)["workers"];
    return rows.size() == 2;
  }));
  EXPECT_EQ(rows[0]["metrics_address"], "127.0.0.1:" + metrics);
  EXPECT_EQ(rows[1]["metrics_address"], "");
  // The keys are those of /api/v1/workers.
  for (const char* key : {"flops", "rate_mbps", "heartbeat_age_s"})
    EXPECT_TRUE(rows[0][key].is_number()) << key;
  EXPECT_TRUE(rows[0]["job"].is_null());
}

TEST_F(ClusterTest, ATakenPortNamesItsFlag) {
  StartCoordinator("127.0.0.1", {});
  auto second = Start({"coordinator", "--listen", Coordinator(), "--http", "127.0.0.1:0"});
  // Whichever of the two came first has the port.
  ASSERT_TRUE(Eventually([&] { return !second->Running() || !coordinator_->Running(); }));
  Child& loser = second->Running() ? *coordinator_ : *second;
  EXPECT_EQ(loser.Wait(), 2);
  ExpectOneError(loser, "--listen");
}

struct WrongInput {
  const char* name;
  Words arguments;
  const char* about;
};

class WrongInputTest : public IsthmusTest, public ::testing::WithParamInterface<WrongInput> {};

TEST_P(WrongInputTest, IsOneLineAndStatusTwo) {
  auto child = Start(GetParam().arguments);
  EXPECT_EQ(child->Wait(), 2);
  ExpectOneError(*child, GetParam().about);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, WrongInputTest,
    ::testing::Values(
        WrongInput{"UnknownCommand", {"trian"}, "train"},
        WrongInput{"UnknownFlag", {"train", "job.yaml", "--resme"}, "--resume"},
        WrongInput{"NoJobFile", {"train", "nowhere/job.yaml"}, "nowhere/job.yaml"},
        WrongInput{"OpenAddress", {"coordinator", "--listen", "0.0.0.0:0"}, "--insecure"},
        WrongInput{"BadAddress", {"coordinator", "--listen", "127.0.0.1:99999"}, "--listen"},
        WrongInput{"NoModel", {"eval", "--model", "nowhere", "--data", "x.txt"}, "nowhere"},
        WrongInput{"NoCoordinator", {"worker"}, "--coordinator"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace isthmus::e2e
