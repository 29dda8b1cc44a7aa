// What gRPC's own tools ask any server: the health checking protocol and server reflection, in the
// bytes of their published messages, since Debian ships no generated code for them.
#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/coordinator.h"

namespace isthmus {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A text of up to 127 bytes as field `number` of a protobuf message.
std::string TextField(int number, const std::string& text) {
  return absl::StrCat(std::string(1, static_cast<char>(number << 3 | 2)),
                      std::string(1, static_cast<char>(text.size())), text);
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

class StandardServicesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CoordinatorOptions options;
    options.listen = "127.0.0.1:0";
    options.http = "127.0.0.1:0";
    options.version = "test";
    auto started = Coordinator::Start(options,
                                      [](const v1::PlanRequest&, absl::Span<const v1::WorkerInfo>,
                                         const std::string&) -> absl::StatusOr<v1::Plan> {
                                        return absl::UnavailableError("no job is planned here");
                                      });
    ASSERT_TRUE(started.ok()) << started.status();
    coordinator_ = *std::move(started);
    grpc::ChannelArguments direct;
    direct.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", coordinator_->grpc_port()),
                                         grpc::InsecureChannelCredentials(), direct);
  }

  // Sends one message to `method` and reads one answer into *answer.
  grpc::Status Ask(const std::string& method, const std::string& message, std::string* answer) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    grpc::CompletionQueue queue;
    const auto done = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    grpc::GenericStub stub(channel_);
    const auto call = stub.PrepareCall(&context, method, &queue);
    call->StartCall(nullptr);
    done();
    const grpc::Slice slice(message);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
    done();
    grpc::ByteBuffer buffer;
    call->Read(&buffer, nullptr);
    if (done()) *answer = BytesOf(buffer);
    grpc::Status status;
    call->Finish(&status, nullptr);
    done();
    return status;
  }

  std::unique_ptr<Coordinator> coordinator_;
  std::shared_ptr<grpc::Channel> channel_;
};

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";

// HealthCheckRequest {service = 1}; HealthCheckResponse {status = 1}, where 1 is SERVING.
TEST_F(StandardServicesTest, HealthOfTheServerAndOfControl) {
  for (const std::string service : {"", "isthmus.v1.Control"}) {
    std::string answer;
    const grpc::Status status = Ask(kCheck, TextField(1, service), &answer);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(answer, "\x08\x01") << service;
  }
  std::string answer;
  EXPECT_EQ(Ask(kCheck, TextField(1, "isthmus.v1.Nobody"), &answer).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

// ServerReflectionRequest {list_services = 7, file_containing_symbol = 4}.
TEST_F(StandardServicesTest, ReflectionListsAndDescribesTheServices) {
  constexpr char kInfo[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  std::string answer;
  grpc::Status status = Ask(kInfo, TextField(7, "*"), &answer);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(answer, AllOf(HasSubstr("isthmus.v1.Control"), HasSubstr("grpc.health.v1.Health")));
  status = Ask(kInfo, TextField(4, "isthmus.v1.Control"), &answer);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(answer, AllOf(HasSubstr("isthmus/v1/control.proto"), HasSubstr("WorkerInfo")));
}

}  // namespace
}  // namespace isthmus
