#include "link/grpc_link.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <cstdlib>

#include "base/process.h"
#include "link/grpc_stream.h"
#include "link/handshake.h"
#include "tests/link/grpc_pair.h"
#include "tests/link/link_contract.h"
#include "tests/link/tcp_relay.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

class GrpcCarried : public CarriedPair {
 public:
  GrpcCarried(const LinkOptions& a, const LinkOptions& b) {
    GrpcOptions serve, dial;
    dial.link = a;
    serve.link = b;
    server_ = *LinkServer::Listen("127.0.0.1:0", serve, AcceptAll, opened_.Callback());
    relay_ = std::make_unique<TcpRelay>(server_->port());
    auto dialed = DialLink(LoopbackAddress(relay_->port()), TestIdentity(), dial);
    EXPECT_TRUE(dialed.ok()) << dialed.status();
    first = *std::move(dialed);
    second = opened_.Wait();
  }
  ~GrpcCarried() override {
    first.reset();
    second.reset();
  }
  void Cut() override { relay_->Cut(); }
  void Silence() override { relay_->Silence(); }
  void LoseForGood() override { relay_->LoseForGood(); }
  TcpRelay* relay() { return relay_.get(); }

 private:
  OpenedLinks opened_;
  std::unique_ptr<LinkServer> server_;
  std::unique_ptr<TcpRelay> relay_;
};

INSTANTIATE_TEST_SUITE_P(Grpc, LinkContract,
                         ::testing::Values(CarrierFactory([](const LinkOptions& a,
                                                             const LinkOptions& b) {
                           return std::make_unique<GrpcCarried>(a, b);
                         })),
                         [](const auto&) { return "Grpc"; });

// The socket breaks after so many bytes: in handshakes, headers, payloads, acks.
TEST(GrpcLinkTest, ExactlyOnceWhereverTheSocketBreaks) {
  Recorder at_first, at_second;
  GrpcCarried pair(TestOptions(), TestOptions());
  pair.first->Start(&at_first);
  pair.second->Start(&at_second);
  uint32_t sent = 0;
  for (int64_t after :
       {0, 1, 9, 40, 100, 150, 300, 500, 800, 1300, 2100, 3400, 5500, 8900, 14400, 23300}) {
    const int64_t reconnects = pair.first->stats().reconnects;
    pair.relay()->CutAfter(after);
    for (int i = 0; i < 10; ++i, ++sent) {
      ASSERT_TRUE(pair.first->Send(Numbered(sent, 3000)).ok());
      ASSERT_TRUE(pair.second->Send(Numbered(sent, 700)).ok());
    }
    ASSERT_TRUE(at_second.WaitFrames(sent));
    ASSERT_TRUE(at_first.WaitFrames(sent));
    EXPECT_GT(pair.first->stats().reconnects, reconnects) << after;
  }
  ExpectInOrder(&at_second, sent);
  ExpectInOrder(&at_first, sent);
}

// 80 MB for a reader that takes nothing: a window waits at each end, and the process has no more.
TEST(GrpcLinkTest, ASlowReaderBoundsBothSides) {
  constexpr int64_t kWindow = 2 << 20;
  constexpr int64_t kPayload = 400'000;
  constexpr uint32_t kFrames = 200;
  LinkOptions options = TestOptions();
  options.window_bytes = kWindow;
  Recorder at_second;
  GrpcCarried pair(options, options);
  at_second.Hold(true);
  pair.second->Start(&at_second);
  const int64_t resident = CurrentResidentBytes();
  Thread sender("sender", [&] {
    for (uint32_t i = 0; i < kFrames; ++i)
      ASSERT_TRUE(pair.first->Send(Numbered(i, kPayload)).ok());
  });
  while (pair.first->stats().queued_bytes < kWindow - kPayload) std::this_thread::yield();
  std::this_thread::sleep_for(
      std::chrono::milliseconds(100));  // time for anything unbounded to grow
  EXPECT_LE(pair.first->stats().sent_frames, kWindow / kPayload + 1);
  EXPECT_LE(pair.first->stats().peak_queued_bytes, kWindow);
  EXPECT_LE(pair.second->stats().received_bytes, kWindow + 2 * kPayload);
  // The frame in the listener, one in Send, gRPC's buffers; a sanitizer's shadow is a few times
  // that.
  EXPECT_LE(CurrentResidentBytes() - resident, 40'000'000);
  at_second.Hold(false);
  ExpectInOrder(&at_second, kFrames);
}

TEST(GrpcLinkTest, TheServerLearnsWhoDials) {
  OpenedLinks opened;
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, opened.Callback());
  const auto dialed = DialLink(LoopbackAddress(server->port()), TestIdentity(), {});
  ASSERT_TRUE(dialed.ok());
  LinkIdentity identity;
  const auto link = opened.Wait(&identity);
  EXPECT_EQ(identity.job_id, "job-1");
  EXPECT_EQ(identity.token, "secret");
  EXPECT_EQ(identity.generation, 3u);
  EXPECT_EQ(identity.from_party, 0u);
  EXPECT_EQ(identity.to_party, 1u);
  EXPECT_THAT(link->peer(), HasSubstr("party 0 at 127.0.0.1:"));
  EXPECT_EQ((*dialed)->peer(), "party 1 at " + LoopbackAddress(server->port()));
}

TEST(GrpcLinkTest, ARefusalComesWithItsWords) {
  OpenedLinks opened;
  const auto check = [](const LinkIdentity& identity) {
    return identity.token == "right"
               ? absl::OkStatus()
               : absl::PermissionDeniedError("token: expected that of job-1, got another");
  };
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, check, opened.Callback());
  const auto dialed = DialLink(LoopbackAddress(server->port()), TestIdentity(), {});
  EXPECT_EQ(dialed.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(dialed.status().message()),
              HasSubstr("expected that of job-1, got another"));
  EXPECT_EQ(opened.count(), 0u);
}

TEST(GrpcLinkTest, ATakenPortIsAnError) {
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, OpenedLinks().Callback());
  const auto second =
      LinkServer::Listen(LoopbackAddress(server->port()), {}, AcceptAll, OpenedLinks().Callback());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(LoopbackAddress(server->port())));
}

TEST(GrpcLinkTest, NobodyThere) {
  int port = 0;
  {
    const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, OpenedLinks().Callback());
    port = server->port();
  }
  GrpcOptions options;
  options.link.reconnect_us = 200'000;
  const auto dialed = DialLink(LoopbackAddress(port), TestIdentity(), options);
  EXPECT_EQ(dialed.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(dialed.status().message()), HasSubstr(LoopbackAddress(port)));
}

TEST(GrpcLinkTest, TheEnvironmentsProxyDoesNotMatter) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  setenv("https_proxy", "http://127.0.0.1:1", 1);
  OpenedLinks opened;
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, opened.Callback());
  GrpcOptions options;
  options.link.reconnect_us = kTestWaitUs;
  const auto dialed = DialLink(LoopbackAddress(server->port()), TestIdentity(), options);
  EXPECT_TRUE(dialed.ok()) << dialed.status();
  // And one that was asked for is used: there is none at that port.
  options.proxy = "127.0.0.1:1";
  options.link.reconnect_us = 200'000;
  EXPECT_EQ(DialLink(LoopbackAddress(server->port()), TestIdentity(), options).status().code(),
            absl::StatusCode::kUnavailable);
  unsetenv("http_proxy");
  unsetenv("https_proxy");
}

TEST(GrpcLinkTest, ANewLinkOfTheSamePartyReplacesTheOld) {
  OpenedLinks opened;
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, opened.Callback());
  Recorder old_peer, recorder;
  const auto old_dialed = *DialLink(LoopbackAddress(server->port()), TestIdentity(), {});
  const auto old_accepted = opened.Wait();
  old_accepted->Start(&old_peer);
  const auto dialed = *DialLink(LoopbackAddress(server->port()), TestIdentity(), {});
  const auto accepted = opened.Wait();
  ASSERT_NE(accepted, nullptr);
  EXPECT_EQ(old_peer.WaitClosed()->code(), absl::StatusCode::kUnavailable);
  accepted->Start(&recorder);
  ASSERT_TRUE(dialed->Send(Numbered(0, 5)).ok());
  ExpectInOrder(&recorder, 1);
}

TEST(GrpcLinkTest, AServerThatLostItsStateRefusesTheRest) {
  GrpcOptions options;
  options.link = TestOptions();
  OpenedLinks opened;
  auto server = *LinkServer::Listen("127.0.0.1:0", options, AcceptAll, opened.Callback());
  const int port = server->port();
  TcpRelay relay(port);
  Recorder recorder;
  const auto dialed = *DialLink(LoopbackAddress(relay.port()), TestIdentity(), options);
  dialed->Start(&recorder);
  opened.Wait().reset();  // the other side forgets the link
  const absl::Status closed = *recorder.WaitClosed();
  EXPECT_EQ(closed.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(closed.message()), HasSubstr("expected a link to resume"));
}

TEST(GrpcLinkTest, ShutdownEndsItsLinks) {
  OpenedLinks opened;
  auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, opened.Callback());
  Recorder recorder;
  const auto dialed = *DialLink(LoopbackAddress(server->port()), TestIdentity(), {});
  const auto accepted = opened.Wait();
  accepted->Start(&recorder);
  server->Shutdown();
  EXPECT_EQ(recorder.WaitClosed()->code(), absl::StatusCode::kUnavailable);
  server.reset();
  EXPECT_EQ(accepted->Send(Numbered(0, 1)).code(), absl::StatusCode::kUnavailable);
}

// A stream that speaks raw bytes, as another program would.
class RawStream : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  RawStream(int port, const Bytes& message)
      : channel_(grpc::CreateChannel(LoopbackAddress(port), grpc::InsecureChannelCredentials())),
        stub_(channel_) {
    const grpc::Slice slice(message.data(), message.size());
    out_ = grpc::ByteBuffer(&slice, 1);
    stub_.PrepareBidiStreamingCall(&context_, "/isthmus.v1.DataLink/Open", {}, this);
    StartWrite(&out_);
    StartRead(&in_);
    StartCall();
  }
  // The first answer, or the status the stream ended with.
  absl::StatusOr<Frame> Wait() {
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    if (in_.Valid()) return FromByteBuffer(in_, 1 << 20);
    return absl::UnavailableError(status_.error_message());
  }
  void OnDone(const grpc::Status& status) override {
    MutexLock lock(&mutex_);
    status_ = status;
    done_ = true;
    changed_.SignalAll();
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer out_, in_;
  Mutex mutex_;
  CondVar changed_;
  bool done_ = false;
  grpc::Status status_;
};

Bytes WithVersion(const SealedFramePtr& frame, uint16_t version) {
  Bytes bytes(frame->head(), frame->head() + FrameHeader::kBytes);
  bytes.insert(bytes.end(), frame->payload().begin(), frame->payload().end());
  std::memcpy(bytes.data() + 4, &version, 2);
  return bytes;
}

TEST(GrpcLinkTest, AnotherWireVersionIsRefusedNamingBoth) {
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, OpenedLinks().Callback());
  v1::LinkHello hello;
  hello.set_wire_version(kWireVersion);
  RawStream header(server->port(), WithVersion(SealHello(hello), 7));
  const auto answer = header.Wait();
  ASSERT_TRUE(answer.ok()) << answer.status();
  const absl::Status refusal = ParseWelcome(*answer).status();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(refusal.message()), HasSubstr("expected 2, got 7"));

  hello.set_wire_version(8);
  RawStream field(server->port(), WithVersion(SealHello(hello), kWireVersion));
  const auto second = field.Wait();
  ASSERT_TRUE(second.ok());
  EXPECT_THAT(std::string(ParseWelcome(*second).status().message()),
              HasSubstr("expected 2, got 8"));
}

TEST(GrpcLinkTest, RubbishInsteadOfAHelloIsRefused) {
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, OpenedLinks().Callback());
  for (size_t bytes : {0u, 1u, 47u, 48u, 500u}) {
    RawStream stream(server->port(), Bytes(bytes, 0x5a));
    const auto answer = stream.Wait();
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(ParseWelcome(*answer).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(GrpcLinkTest, ManyLinksOnOneServer) {
  OpenedLinks opened;
  const auto server = *LinkServer::Listen("127.0.0.1:0", {}, AcceptAll, opened.Callback());
  std::vector<std::unique_ptr<Link>> dialed, accepted;
  std::vector<Recorder> recorders(8);
  for (uint32_t i = 0; i < 8; ++i) {
    LinkIdentity identity = TestIdentity();
    identity.from_party = i;
    dialed.push_back(*DialLink(LoopbackAddress(server->port()), identity, {}));
    accepted.push_back(opened.Wait());
    accepted.back()->Start(&recorders[i]);
  }
  for (uint32_t n = 0; n < 50; ++n) {
    for (auto& link : dialed) ASSERT_TRUE(link->Send(Numbered(n, 2000)).ok());
  }
  for (Recorder& recorder : recorders) ExpectInOrder(&recorder, 50);
  accepted.clear();
}

}  // namespace
}  // namespace isthmus
