#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/thread.h"
#include "coordinator/http_api.h"
#include "coordinator/http_server.h"

namespace isthmus {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

int Dial(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

// Everything until the server closes.
std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, got);
  return text;
}

std::string Send(int port, const std::string& request) {
  const int fd = Dial(port);
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  const std::string text = ReadAll(fd);
  close(fd);
  return text;
}

std::string Get(int port, const std::string& path) {
  return Send(port, "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

std::string Body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

class HttpTest : public ::testing::Test {
 protected:
  void Serve(HttpLimits limits = {}) {
    HttpSources sources;
    sources.version = "1.2.3";
    sources.workers = [this] { return workers_; };
    sources.jobs = [this] { return jobs_; };
    sources.not_ready = [this] { return not_ready_; };
    auto server =
        HttpServer::Listen(&io_, "127.0.0.1:0", "--http", MakeHttpApi(std::move(sources)), limits);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    port_ = server_->port();
    thread_ = Thread("io", [this] { io_.run(); });
  }
  void TearDown() override {
    boost::asio::post(io_, [this] { server_->Close(); });
    thread_.Join();
  }

  std::vector<v1::WorkerRow> workers_;
  std::vector<v1::JobRow> jobs_;
  std::string not_ready_;
  boost::asio::io_context io_;
  std::unique_ptr<HttpServer> server_;
  int port_ = 0;
  Thread thread_;
};

v1::WorkerRow Worker() {
  v1::WorkerRow row;
  row.mutable_info()->set_name("w1");
  row.mutable_info()->set_address("127.0.0.1:7601");
  row.mutable_info()->set_metrics_address("127.0.0.1:9464");
  row.set_state("busy");
  row.set_job_id("job-2");
  row.add_stages(1);
  row.set_memory_bytes(1234);
  row.set_store_bytes(56);
  return row;
}

v1::JobRow Job() {
  v1::JobRow row;
  row.set_id("job-2");
  row.set_name("<script>alert('x')</script>\xff");
  row.set_status("running");
  row.set_step(5);
  row.set_total_steps(20);
  row.set_loss(std::nan(""));
  row.set_wire_bytes(1 << 20);
  return row;
}

TEST_F(HttpTest, HealthAndReadiness) {
  not_ready_ = "gRPC does not answer yet";
  Serve();
  EXPECT_THAT(Get(port_, "/healthz"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("\r\n\r\nok\n")));
  EXPECT_THAT(Get(port_, "/readyz"), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("gRPC does not")));
  boost::asio::post(io_, [this] { not_ready_.clear(); });
  EXPECT_THAT(Get(port_, "/readyz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpTest, JsonOfWorkersAndJobs) {
  workers_ = {Worker()};
  jobs_ = {Job()};
  Serve();
  const json workers = json::parse(Body(Get(port_, "/api/v1/workers")), nullptr, false);
  ASSERT_FALSE(workers.is_discarded());
  ASSERT_EQ(workers["workers"].size(), 1u);
  EXPECT_EQ(workers["workers"][0]["name"], "w1");
  EXPECT_EQ(workers["workers"][0]["state"], "busy");
  EXPECT_EQ(workers["workers"][0]["stages"], json::array({1}));
  EXPECT_EQ(workers["workers"][0]["memory_bytes"], 1234);
  EXPECT_EQ(workers["workers"][0]["store_bytes"], 56);
  EXPECT_EQ(workers["workers"][0]["metrics_address"], "127.0.0.1:9464");
  const json jobs = json::parse(Body(Get(port_, "/api/v1/jobs")), nullptr, false);
  ASSERT_EQ(jobs["jobs"].size(), 1u);
  EXPECT_EQ(jobs["jobs"][0]["id"], "job-2");
  EXPECT_EQ(jobs["jobs"][0]["status"], "running");
  EXPECT_EQ(jobs["jobs"][0]["step"], 5);
  EXPECT_TRUE(jobs["jobs"][0]["loss"].is_null());
  const json job = json::parse(Body(Get(port_, "/api/v1/jobs/job-2")), nullptr, false);
  EXPECT_EQ(job["id"], "job-2");
  const std::string missing = Get(port_, "/api/v1/jobs/job-3");
  EXPECT_THAT(missing, AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("application/json")));
  EXPECT_TRUE(json::parse(Body(missing), nullptr, false).contains("error"));
}

TEST_F(HttpTest, NobodyYetIsAnEmptyList) {
  Serve();
  EXPECT_EQ(json::parse(Body(Get(port_, "/api/v1/workers"))), json({{"workers", json::array()}}));
  EXPECT_EQ(json::parse(Body(Get(port_, "/api/v1/jobs?x=1"))), json({{"jobs", json::array()}}));
}

TEST_F(HttpTest, ThePageEscapesWhatPeersCallThemselves) {
  workers_ = {Worker()};
  jobs_ = {Job()};
  Serve();
  const std::string page = Get(port_, "/");
  EXPECT_THAT(page, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("text/html"), HasSubstr("1.2.3"),
                          HasSubstr("w1"), HasSubstr("5 of 20"), HasSubstr("1.0 MiB")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)"));
  EXPECT_THAT(page, Not(HasSubstr("<script>")));
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy: default-src 'none'"));
}

TEST_F(HttpTest, MetricsCountRequestsByRoute) {
  Serve();
  Get(port_, "/api/v1/jobs/some-stranger's-word");
  Get(port_, "/nowhere");
  const std::string text = Get(port_, "/metrics");
  EXPECT_THAT(text,
              HasSubstr("isthmus_http_requests_total{path=\"/api/v1/jobs/ID\",code=\"404\"}"));
  EXPECT_THAT(text, HasSubstr("isthmus_http_requests_total{path=\"other\",code=\"404\"}"));
  EXPECT_THAT(text, Not(HasSubstr("stranger")));
}

TEST_F(HttpTest, OnlyGetAndHead) {
  Serve();
  const std::string head =
      Send(port_, "HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(head, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 3")));
  EXPECT_EQ(Body(head), "");
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    const std::string answer = Send(
        port_, std::string(method) + " /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: GET, HEAD")));
  }
}

TEST_F(HttpTest, BadRequestsAreRefused) {
  Serve();
  EXPECT_THAT(Send(port_, "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Send(port_, "GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x')),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(Send(port_, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(Get(port_, "/../etc/passwd"), StartsWith("HTTP/1.1 404"));
}

TEST_F(HttpTest, AConnectionServesManyRequests) {
  Serve();
  const std::string one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string answer =
      Send(port_, one + one + "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  size_t count = 0;
  for (size_t at = 0; (at = answer.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 3u);
}

TEST_F(HttpTest, ASlowPeerIsClosed) {
  HttpLimits limits;
  limits.timeout_ms = 100;
  Serve(limits);
  const int fd = Dial(port_);
  EXPECT_EQ(send(fd, "GET / ", 6, MSG_NOSIGNAL), 6);
  EXPECT_EQ(ReadAll(fd), "");  // returns only because the server closed
  close(fd);
  EXPECT_THAT(Get(port_, "/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpTest, ThereAreNoMoreConnectionsThanTheLimit) {
  HttpLimits limits;
  limits.max_connections = 2;
  Serve(limits);
  const std::string keep = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  int held[2];
  for (int& fd : held) {
    fd = Dial(port_);
    EXPECT_GT(send(fd, keep.data(), keep.size(), MSG_NOSIGNAL), 0);
    char byte;
    EXPECT_EQ(read(fd, &byte, 1), 1);  // it is being served
  }
  const int third = Dial(port_);
  EXPECT_EQ(ReadAll(third), "");
  close(third);
  for (int fd : held) close(fd);
}

TEST(HttpListen, AddressesThatCannotBe) {
  boost::asio::io_context io;
  for (const char* address :
       {"", "7680", "127.0.0.1:x", "127.0.0.1:99999", "no-host:1", "8.8.8.8:1"}) {
    const auto server = HttpServer::Listen(&io, address, "--http",
                                           [](const std::string&) { return HttpResponse(); });
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(server.status().message()), StartsWith("--http: expected"));
  }
  EXPECT_TRUE(HttpServer::Listen(&io, "[::1]:0", "--http", [](const std::string&) {
                return HttpResponse();
              }).ok());
}

}  // namespace
}  // namespace isthmus
