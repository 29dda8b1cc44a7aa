// The services of compose.yml as plain processes of this machine: the same commands, with mutual
// TLS, on folders and ports of the test's own. What only containers show is ./dev compose-test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/e2e/child.h"
#include "tests/e2e/free_port.h"

namespace isthmus::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ComposeProcesses : public ::testing::Test {
 protected:
  ComposeProcesses() {
    std::string pattern = (fs::temp_directory_path() / "isthmus-cluster-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    services_ = YAML::LoadFile((kRoot / "deploy/compose.yml").string())["services"];
  }
  ~ComposeProcesses() override {
    running_.clear();
    fs::remove_all(folder_);
  }

  // The command of a service with this machine's folders, ports and names in the place of the
  // container's. Addresses that it listens on stay 0.0.0.0.
  std::vector<std::string> Command(const std::string& service) {
    std::vector<std::string> words = services_[service]["command"].as<std::vector<std::string>>();
    for (std::string& word : words) {
      Replace("/usr/local/share/isthmus", kRoot.string(), &word);
      Replace("=/certificates", "=" + folder_ + "/certificates", &word);
      Replace("=/state", "=" + folder_ + "/state-" + service, &word);
      for (const std::string port : {":7600", ":7601", ":7680", ":9464"}) {
        if (word.size() < port.size() || word.substr(word.size() - port.size()) != port) continue;
        const size_t host = word.rfind('=') + 1;
        const std::string name = word.substr(host, word.size() - port.size() - host);
        const bool own = name == "0.0.0.0";
        word = word.substr(0, host) + (own ? name : "127.0.0.1") + ":" +
               std::to_string(Port((own ? service : name) + port));
      }
    }
    return words;
  }

  Child* Start(const std::string& service, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = Command(service);
    words.insert(words.end(), more.begin(), more.end());
    running_[service] = std::make_unique<Child>(ISTHMUS_PROGRAM, words, folder_);
    return running_[service].get();
  }

  // What a service answers to GET on the port that it has in its container.
  std::string Get(const std::string& service_port, const std::string& path) {
    Child curl("/bin/bash",
               {"-c", "exec 3<>/dev/tcp/127.0.0.1/" + std::to_string(Port(service_port)) +
                          " && printf 'GET " + path +
                          " HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && cat <&3"},
               folder_);
    curl.Wait();
    return curl.Out();
  }

  std::string folder_;
  std::map<std::string, std::unique_ptr<Child>> running_;

 private:
  static void Replace(const std::string& what, const std::string& by, std::string* in) {
    if (const size_t at = in->find(what); at != std::string::npos) in->replace(at, what.size(), by);
  }
  int Port(const std::string& service_port) {
    const auto [it, fresh] = ports_.try_emplace(service_port, 0);
    if (fresh) it->second = FreePort();
    return it->second;
  }

  const fs::path kRoot = ISTHMUS_SOURCE_DIR;
  YAML::Node services_;
  std::map<std::string, int> ports_;
};

TEST_F(ComposeProcesses, TrainOverMutualTlsAndAreScraped) {
  if (!fs::exists("/usr/bin/openssl")) GTEST_SKIP() << "no openssl to make certificates";
  Child certificates(std::string(ISTHMUS_SOURCE_DIR) + "/deploy/certificates/make.sh",
                     {folder_ + "/certificates", "coordinator", "worker-1", "worker-2", "client"},
                     folder_);
  ASSERT_EQ(certificates.Wait(), 0) << certificates.Error();
  Child* coordinator = Start("coordinator");
  for (const char* worker : {"worker-1", "worker-2"}) Start(worker);
  ASSERT_TRUE(Eventually([&] {  // depends_on
    const std::string workers = Get("coordinator:7680", "/api/v1/workers");
    return workers.find("worker-1") != std::string::npos &&
           workers.find("worker-2") != std::string::npos;
  })) << running_["worker-1"]->Error();
  Child* client = Start("client", {"--set", "output=" + folder_ + "/run", "--set", "train.steps=40",
                                   "--set", "data.eval=null"});
  std::map<std::string, std::string> scraped;
  ASSERT_TRUE(Eventually([&] {
    for (const std::string target : {"worker-1:9464", "worker-2:9464", "client:9464"})
      if (const std::string text = Get(target, "/metrics");
          text.find("isthmus_wire_bytes_total{") != std::string::npos)
        scraped[target] = text;
    return scraped.size() == 3 || !client->Running();
  }));
  EXPECT_EQ(client->Wait(), 0) << client->Error();
  for (const char* target : {"worker-1:9464", "worker-2:9464", "client:9464"})
    EXPECT_EQ(scraped.count(target), 1u) << target << " showed no bytes while it trained";
  EXPECT_THAT(Get("coordinator:7680", "/readyz"), HasSubstr("200"));
  EXPECT_THAT(Get("coordinator:7680", "/metrics"), HasSubstr("isthmus_build_info"));
  const auto report = nlohmann::json::parse(FileText(folder_ + "/run/report.json"), nullptr, false);
  EXPECT_EQ(report.value("status", ""), "completed") << client->Error();
  for (auto& [service, child] : running_) {
    if (child.get() == client) continue;
    EXPECT_TRUE(child->Running()) << service << ": " << child->Error();
    child->Signal(SIGTERM);
  }
  EXPECT_EQ(coordinator->Wait(), 0) << coordinator->Error();
}

}  // namespace
}  // namespace isthmus::e2e
