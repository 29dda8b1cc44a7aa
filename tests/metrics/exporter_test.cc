#include "metrics/exporter/exporter.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "coordinator/metrics_exporter.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

std::string HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string text;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char buffer[4096];
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, got);
  }
  close(fd);
  return text;
}

int CountSamples(const std::string& exposition) {
  int count = 0;
  for (absl::string_view line : absl::StrSplit(exposition, '\n')) {
    if (absl::StartsWith(line, "isthmus_")) ++count;
  }
  return count;
}

TEST(Exporter, AFreshWorkerAlreadyShowsItsZeros) {
  Metrics metrics;
  metrics.DeclareRole("worker", "0.1.0");
  const std::string text = RenderMetrics(metrics);
  EXPECT_GE(CountSamples(text), 8) << text;
  EXPECT_THAT(text, HasSubstr("isthmus_build_info{version=\"0.1.0\",revision=\""));
  EXPECT_THAT(text, HasSubstr("isthmus_link_sent_bytes_total 0"));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes "));
}

TEST(Exporter, LabelsAndHelpAreThere) {
  Metrics metrics;
  metrics.Get(kWireBytesTotal, {"1", "backward", "worker", "job-7"}).Add(12345);
  const std::string text = RenderMetrics(metrics);
  EXPECT_THAT(text, HasSubstr("# TYPE isthmus_wire_bytes_total counter\n"));
  EXPECT_THAT(text, HasSubstr("isthmus_wire_bytes_total{edge=\"1\",direction=\"backward\",role="
                              "\"worker\",job=\"job-7\"} 12345"));
}

TEST(Exporter, ServesOverHttp) {
  Metrics metrics;
  metrics.DeclareRole("worker", "0.1.0");
  auto exporter = MetricsExporter::Start("127.0.0.1:0", "--metrics", &metrics);
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  ASSERT_GT((*exporter)->port(), 0);
  const std::string answer = HttpGet((*exporter)->port(), "/metrics");
  EXPECT_THAT(answer, HasSubstr("200 OK"));
  EXPECT_THAT(answer, HasSubstr("isthmus_link_reconnects_total 0"));
}

TEST(Exporter, ATakenPortNamesTheFlag) {
  Metrics metrics;
  auto first = MetricsExporter::Start("127.0.0.1:0", "--metrics", &metrics);
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = MetricsExporter::Start(address, "--metrics", &metrics);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--metrics: expected a free"));
}

TEST(Exporter, MalformedAddressesAreRefused) {
  Metrics metrics;
  for (const char* address : {"", "9464", ":9464", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000",
                              "no-such-host:1", "127.0.0.1:9464s"}) {
    EXPECT_EQ(MetricsExporter::Start(address, "--metrics", &metrics).status().code(),
              absl::StatusCode::kInvalidArgument)
        << address;
  }
}

// Every metric of the table, with series, as promtool sees it; and what the endpoint itself adds.
TEST(Exporter, PassesPromtool) {
  if (std::system("command -v promtool > /dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  }
  Metrics metrics;
  for (const char* role : {"worker", "client", "coordinator"}) {
    metrics.DeclareRole(role, "0.1.0");
  }
  const LabelValues edge = {"0", "forward", "worker", "job-1"};
  metrics.Get(kWireBytesTotal, edge).Add(1);
  metrics.Get(kWireElementsTotal, edge).Add(1);
  metrics.Get(kFramesTotal, edge).Add(1);
  metrics.Get(kKeyFramesTotal, edge).Add(1);
  metrics.Get(kBitsPerElement, edge).Set(4.5);
  metrics.Get(kPayloadBits, edge).Set(4.25);
  metrics.Get(kStepsTotal, {"worker", "job-1"}).Add(1);
  metrics.Get(kTokensTotal, {"client", "job-1"}).Add(1);
  metrics.Get(kLoss, {"job-1"}).Set(1.5);
  metrics.Get(kStageBusySecondsTotal, {"compute", "0", "worker", "job-1"}).Add(0.5);
  metrics.Get(kCodecQualityDb, {"job-1"}).Set(-1.0);
  metrics.Get(kStepSeconds, {"worker"}).Observe(0.5);
  metrics.Replace(kWorkers, {{{"ready"}, 2}});
  metrics.Replace(kJobs, {{{"queued"}, 2}});
  metrics.Replace(kHeartbeatAgeSeconds, {{{"w1"}, 0.2}});
  metrics.Get(kHttpRequestsTotal, {"/", "200"}).Add(1);
  EXPECT_EQ(metrics.Snapshot().size(), AllMetrics().size());
  auto exporter = MetricsExporter::Start("127.0.0.1:0", "--metrics", &metrics);
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  const std::string answer = HttpGet((*exporter)->port(), "/metrics");
  const size_t body = answer.find("\r\n\r\n");
  ASSERT_NE(body, std::string::npos);
  const std::string path = ::testing::TempDir() + "/metrics_" + std::to_string(getpid()) + ".txt";
  std::ofstream(path) << answer.substr(body + 4);
  EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace isthmus
