// What deploy/ promises without an engine to run it: the dashboards ask for series that exist,
// Prometheus scrapes services that exist, flags of the services are the program's. `./dev
// compose-test` runs the rest for real.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;

const fs::path kRoot = ISTHMUS_SOURCE_DIR;

std::string Text(const fs::path& path) {
  const absl::StatusOr<std::string> text = ReadFile(path.string());
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

std::set<std::string> Matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    found.insert((*it)[1]);
  }
  return found;
}

std::set<std::string> SeriesOfTable() {
  return Matches(Text(kRoot / "metrics/metrics.def"), "\"((?:isthmus|process)_[a-z_]+)\"");
}

// Every PromQL expression of a dashboard.
std::vector<std::string> Expressions(const nlohmann::json& dashboard) {
  std::vector<std::string> expressions;
  for (const nlohmann::json& panel : dashboard.value("panels", nlohmann::json::array())) {
    for (const nlohmann::json& target : panel.value("targets", nlohmann::json::array())) {
      expressions.push_back(target.value("expr", ""));
    }
  }
  return expressions;
}

TEST(DeployTest, DashboardsAskForSeriesThatExist) {
  const std::set<std::string> series = SeriesOfTable();
  ASSERT_THAT(series, Contains("isthmus_wire_bytes_total"));
  int dashboards = 0;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(kRoot / "deploy/grafana/dashboards")) {
    ++dashboards;
    const nlohmann::json dashboard = nlohmann::json::parse(Text(entry.path()), nullptr, false);
    ASSERT_TRUE(dashboard.is_object()) << entry.path();
    const std::vector<std::string> expressions = Expressions(dashboard);
    EXPECT_THAT(expressions, Not(IsEmpty()));
    for (const std::string& expression : expressions) {
      const std::set<std::string> named =
          Matches(expression, "\\b((?:isthmus|process)_[a-z_]+?)(?:_bucket)?\\b");
      EXPECT_THAT(named, Not(IsEmpty())) << expression;
      for (const std::string& name : named) EXPECT_THAT(series, Contains(name)) << expression;
    }
  }
  EXPECT_GT(dashboards, 0);
}

TEST(DeployTest, PrometheusScrapesServicesOfTheCluster) {
  const YAML::Node compose = YAML::Load(Text(kRoot / "deploy/compose.yml"));
  const YAML::Node prometheus = YAML::Load(Text(kRoot / "deploy/prometheus/prometheus.yml"));
  std::set<std::string> scraped;
  for (const YAML::Node& job : prometheus["scrape_configs"]) {
    for (const YAML::Node& target : job["static_configs"][0]["targets"]) {
      const std::string address = target.as<std::string>();
      const std::string service = address.substr(0, address.find(':'));
      scraped.insert(service);
      EXPECT_TRUE(compose["services"][service].IsDefined()) << address;
    }
  }
  EXPECT_EQ(scraped, (std::set<std::string>{"coordinator", "worker-1", "worker-2", "client"}));
}

// The probe reads one variable; image and services must mean that one.
TEST(DeployTest, HealthChecksAskWhereTheProbeLooks) {
  const std::string probe = Text(kRoot / "deploy/healthcheck");
  const std::set<std::string> asked = Matches(probe, "\\$\\{([A-Z_]+):\\?\\}");
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_THAT(Matches(Text(kRoot / "deploy/Dockerfile"), "ENV ([A-Z_]*HEALTH[A-Z_]*)="),
              ::testing::Eq(asked));
  const YAML::Node compose = YAML::Load(Text(kRoot / "deploy/compose.yml"));
  for (const std::string service : {"coordinator", "worker-1", "client"})
    EXPECT_TRUE(compose["services"][service]["environment"][*asked.begin()].IsDefined()) << service;
}

TEST(DeployTest, EveryConnectionOfTheClusterIsMutualTls) {
  const YAML::Node compose = YAML::Load(Text(kRoot / "deploy/compose.yml"));
  for (const std::string service : {"coordinator", "worker-1", "worker-2", "client"}) {
    const std::vector<std::string> command =
        compose["services"][service]["command"].as<std::vector<std::string>>();
    EXPECT_THAT(command, Contains("--tls-ca=/certificates/ca.pem")) << service;
    EXPECT_THAT(command, Contains("--tls-cert=/certificates/" + service + ".pem"));
    EXPECT_THAT(command, Contains("--tls-key=/certificates/" + service + ".key"));
    EXPECT_THAT(command, Not(Contains("--insecure")));
  }
}

}  // namespace
}  // namespace isthmus
