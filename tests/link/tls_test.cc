#include "link/tls.h"

#include <gmock/gmock.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/link/certificates.h"
#include "tests/link/grpc_pair.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

class TlsTest : public ::testing::Test {
 protected:
  // Whether a dialler with `client` and a server with `server` talk. The time is for slow machines.
  bool Talk(const TlsFiles& server, const TlsFiles& client) {
    const absl::Status talked = Exchange(server, client, kTestWaitUs);
    EXPECT_TRUE(talked.ok()) << talked;
    return talked.ok();
  }
  // A dialler tries again until its time is over, whatever the reason.
  bool Refused(const TlsFiles& server, const TlsFiles& client) {
    return absl::IsUnavailable(Exchange(server, client, 1'500'000));
  }
  absl::Status Exchange(const TlsFiles& server, const TlsFiles& client, int64_t wait_us) {
    OpenedLinks opened;
    GrpcOptions serve, dial;
    serve.tls = server;
    dial.tls = client;
    dial.link.reconnect_us = wait_us;
    auto listening = LinkServer::Listen("127.0.0.1:0", serve, AcceptAll, opened.Callback());
    if (!listening.ok()) return listening.status();
    auto dialed = DialLink(LoopbackAddress((*listening)->port()), TestIdentity(), dial);
    if (!dialed.ok()) return dialed.status();
    EXPECT_EQ((*dialed)->tls(), client.enabled());
    Recorder recorder;
    const std::unique_ptr<Link> accepted = opened.Wait();
    accepted->Start(&recorder);
    for (uint32_t i = 0; i < 20; ++i) EXPECT_TRUE((*dialed)->Send(Numbered(i, 50'000)).ok());
    ExpectInOrder(&recorder, 20);
    return (*dialed)->Close(kTestWaitUs);
  }
  static TlsFiles WithCa(TlsFiles files, const std::string& ca) {
    files.ca = ca;
    return files;
  }

  TestAuthority authority_, stranger_;
};

TEST_F(TlsTest, ServerCertificate) {
  EXPECT_TRUE(Talk(authority_.Issue("server"), {authority_.ca(), "", ""}));
}

TEST_F(TlsTest, ClientCertificatesAreAskedForWhenTheServerHasACa) {
  const TlsFiles server = WithCa(authority_.Issue("server"), authority_.ca());
  EXPECT_TRUE(Talk(server, WithCa(authority_.Issue("client"), authority_.ca())));
  EXPECT_TRUE(Refused(server, {authority_.ca(), "", ""}));
  EXPECT_TRUE(Refused(server, WithCa(stranger_.Issue("client"), authority_.ca())));
}

TEST_F(TlsTest, AnotherCaIsRefused) {
  EXPECT_TRUE(Refused(authority_.Issue("server"), {stranger_.ca(), "", ""}));
}

TEST_F(TlsTest, PlainTextAndTlsDoNotMix) {
  EXPECT_TRUE(Refused(authority_.Issue("server"), {}));
  EXPECT_TRUE(Refused({}, {authority_.ca(), "", ""}));
}

TEST_F(TlsTest, WrongFilesAreNamed) {
  TlsFiles files = authority_.Issue("one");
  const TlsFiles other = authority_.Issue("two");
  files.key = other.key;
  EXPECT_THAT(std::string(ServerCredentials(files).status().message()), HasSubstr("two.key"));
  files.key = files.cert;
  EXPECT_EQ(ServerCredentials(files).status().code(), absl::StatusCode::kInvalidArgument);
  const std::string rubbish = authority_.directory() + "/rubbish.pem";
  ASSERT_TRUE(
      WriteFileAtomic(rubbish, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
          .ok());
  EXPECT_THAT(std::string(ChannelCredentials({rubbish, "", ""}).status().message()),
              HasSubstr("rubbish.pem"));
  EXPECT_EQ(ChannelCredentials({"/no/such/file", "", ""}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ServerCredentials({authority_.ca(), "", ""}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ServerCredentials({"", other.cert, ""}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ChannelCredentials({"", other.cert, other.key}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(AddressSecurityTest, OnlyLoopbackMayBePlain) {
  const TlsFiles none;
  for (const char* address : {"127.0.0.1:7600", "127.8.9.1:1", "localhost:7600", "[::1]:7600",
                              "::1", "unix:/run/isthmus.sock", "127.0.0.1"}) {
    EXPECT_TRUE(CheckAddressSecurity(address, none, false, "--listen").ok()) << address;
  }
  for (const char* address : {"0.0.0.0:7600", "[::]:7600", "10.0.0.1:7600", "example.org:7600",
                              "127.evil.example:1", "localhost.evil:1", "[::1.evil]:1", ""}) {
    const absl::Status status = CheckAddressSecurity(address, none, false, "--listen");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--listen"));
    EXPECT_TRUE(CheckAddressSecurity(address, none, true, "--listen").ok());
    EXPECT_TRUE(CheckAddressSecurity(address, {"ca.pem", "", ""}, false, "--listen").ok());
  }
}

}  // namespace
}  // namespace isthmus
