#include "link/handshake.h"

#include <string>

#include "base/status.h"

namespace isthmus {
namespace {

Bytes Serialise(const google::protobuf::MessageLite& message) {
  Bytes bytes(message.ByteSizeLong());
  message.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

absl::Status Parse(const Frame& frame, FrameKind kind, google::protobuf::MessageLite* message) {
  if (frame.header.kind != kind || frame.header.sequence != 0 ||
      !message->ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size()))) {
    return InvalidArgument("link: expected a ", message->GetTypeName(), ", got a ",
                           Name(frame.header.kind), " frame of ", frame.payload.size(), " bytes");
  }
  return absl::OkStatus();
}

absl::Status CheckVersion(uint32_t version) {
  if (version == kWireVersion) return absl::OkStatus();
  return Unimplemented("wire version: expected ", kWireVersion, ", got ", version);
}

// A peer's words: one line, of bounded length, with a code that is an error.
absl::Status RefusalStatus(const v1::LinkWelcome& welcome) {
  std::string text = welcome.refusal().substr(0, 512);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  const auto code = static_cast<absl::StatusCode>(welcome.refusal_code());
  const bool known = welcome.refusal_code() > 0 &&
                     welcome.refusal_code() <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  return absl::Status(known ? code : absl::StatusCode::kUnknown, text);
}

v1::LinkWelcome Welcome(uint64_t received, const absl::Status& refusal) {
  v1::LinkWelcome welcome;
  welcome.set_wire_version(kWireVersion);
  welcome.set_received(received);
  if (!refusal.ok()) {
    welcome.set_refusal(refusal.message().empty() ? "refused" : std::string(refusal.message()));
    welcome.set_refusal_code(static_cast<int32_t>(refusal.code()));
  }
  return welcome;
}

}  // namespace

SealedFramePtr SealHello(const v1::LinkHello& hello) {
  return SealOwnFrame(FrameKind::kControl, 0, Serialise(hello));
}

absl::StatusOr<v1::LinkHello> ParseHello(const Frame& frame) {
  v1::LinkHello hello;
  ISTHMUS_RETURN_IF_ERROR(Parse(frame, FrameKind::kControl, &hello));
  ISTHMUS_RETURN_IF_ERROR(CheckVersion(hello.wire_version()));
  return hello;
}

SealedFramePtr SealWelcome(uint64_t received, const absl::Status& refusal) {
  return SealOwnFrame(FrameKind::kControl, 0, Serialise(Welcome(received, refusal)));
}

absl::StatusOr<uint64_t> ParseWelcome(const Frame& frame) {
  v1::LinkWelcome welcome;
  ISTHMUS_RETURN_IF_ERROR(Parse(frame, FrameKind::kControl, &welcome));
  // The refusal first: "wrong version" in the peer's words says more.
  if (!welcome.refusal().empty()) return RefusalStatus(welcome);
  ISTHMUS_RETURN_IF_ERROR(CheckVersion(welcome.wire_version()));
  return welcome.received();
}

SealedFramePtr SealGoodbye(const absl::Status& why) {
  return SealOwnFrame(FrameKind::kGoodbye, 0, why.ok() ? Bytes{} : Serialise(Welcome(0, why)));
}

absl::Status ParseGoodbye(const Frame& frame) {
  if (frame.payload.empty()) return absl::OkStatus();
  v1::LinkWelcome welcome;
  ISTHMUS_RETURN_IF_ERROR(Parse(frame, FrameKind::kGoodbye, &welcome));
  return RefusalStatus(welcome);
}

}  // namespace isthmus
