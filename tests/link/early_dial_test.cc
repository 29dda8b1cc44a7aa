// Workers and clients that dial before the coordinator listens. The coordinator is another process:
// gRPC's server threads would drive this one's connections too.
#include <fcntl.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "absl/strings/numbers.h"
#include "isthmus/v1/control.grpc.pb.h"
#include "link/coordinator_client.h"
#include "tests/e2e/free_port.h"
#include "tests/link/certificates.h"
#include "tests/link/grpc_pair.h"

namespace isthmus {
namespace {

constexpr const char* kPort = "ISTHMUS_TEST_EARLY_PORT";
constexpr const char* kDelayMs = "ISTHMUS_TEST_EARLY_DELAY_MS";
constexpr const char* kTls[3] = {"ISTHMUS_TEST_EARLY_CA", "ISTHMUS_TEST_EARLY_CERT",
                                 "ISTHMUS_TEST_EARLY_KEY"};

// As much of a coordinator as a worker's join needs.
class WelcomingControl final : public v1::Control::Service {
  grpc::Status Work(grpc::ServerContext*,
                    grpc::ServerReaderWriter<v1::WorkerCommand, v1::WorkerEvent>* stream) override {
    v1::WorkerEvent event;
    if (!stream->Read(&event) || !event.has_hello()) return grpc::Status::CANCELLED;
    v1::WorkerCommand welcome;
    welcome.mutable_welcome()->set_heartbeat_us(100'000);
    stream->Write(welcome);
    while (stream->Read(&event)) {
    }
    return grpc::Status::OK;
  }
};

// The coordinator's process: this program again, told by its environment. Ends by a signal.
TEST(EarlyDialCoordinator, Listens) {
  int delay_ms = 0;
  if (std::getenv(kPort) == nullptr) GTEST_SKIP() << "started by EarlyDial only";
  ASSERT_TRUE(absl::SimpleAtoi(std::getenv(kDelayMs), &delay_ms));
  std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
  TlsFiles tls{std::getenv(kTls[0]), std::getenv(kTls[1]), std::getenv(kTls[2])};
  WelcomingControl control;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", std::getenv(kPort)), *ServerCredentials(tls),
                           &port);
  builder.RegisterService(&control);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  server->Wait();
}

class LateCoordinator {
 public:
  LateCoordinator(int port, int delay_ms, const TlsFiles& tls) {
    std::vector<std::string> variables = {
        absl::StrCat(kPort, "=", port), absl::StrCat(kDelayMs, "=", delay_ms),
        absl::StrCat(kTls[0], "=", tls.ca), absl::StrCat(kTls[1], "=", tls.cert),
        absl::StrCat(kTls[2], "=", tls.key)};
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    std::string program = "/proc/self/exe", filter = "--gtest_filter=EarlyDialCoordinator.Listens";
    char* arguments[] = {program.data(), filter.data(), nullptr};
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (posix_spawn(&pid_, program.c_str(), &quiet, nullptr, arguments, environment.data()) != 0)
      pid_ = -1;
    posix_spawn_file_actions_destroy(&quiet);
  }
  ~LateCoordinator() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  bool started() const { return pid_ > 0; }

 private:
  pid_t pid_ = -1;
};

class EarlyDial : public testing::TestWithParam<bool> {};

TEST_P(EarlyDial, FindsACoordinatorThatListensLater) {
  TestAuthority authority;
  TlsFiles server_tls, client_tls;
  if (GetParam()) {
    server_tls = authority.Issue("server");
    client_tls = authority.Issue("client");
    server_tls.ca = client_tls.ca = authority.ca();
  }
  for (const int delay_ms : {300, 1300}) {
    const int port = e2e::FreePort();
    ASSERT_GT(port, 0);
    const LateCoordinator coordinator(port, delay_ms, server_tls);
    ASSERT_TRUE(coordinator.started());
    WorkerControl::Callbacks callbacks;
    callbacks.prepare = [](const v1::PrepareJob&) {};
    callbacks.stop = [](const v1::StopWork&) {};
    callbacks.heartbeat = [] { return v1::Heartbeat(); };
    const auto joined = WorkerControl::Join(LoopbackAddress(port), client_tls, v1::WorkerInfo(),
                                            callbacks, kTestWaitUs);
    EXPECT_TRUE(joined.ok()) << joined.status() << " (" << delay_ms << " ms late)";
  }
}

INSTANTIATE_TEST_SUITE_P(Security, EarlyDial, testing::Bool(),
                         [](const auto& info) { return info.param ? "MutualTls" : "PlainText"; });

}  // namespace
}  // namespace isthmus
