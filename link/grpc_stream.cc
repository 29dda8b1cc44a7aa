#include "link/grpc_stream.h"

#include <grpcpp/support/slice.h>

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "link/handshake.h"

namespace isthmus {

grpc::ByteBuffer ToByteBuffer(const SealedFramePtr& frame) {
  grpc::Slice slices[2] = {grpc::Slice(frame->head, FrameHeader::kBytes), grpc::Slice()};
  if (frame->payload.empty()) return grpc::ByteBuffer(slices, 1);
  // gRPC reads the bytes and never writes them.
  void* const bytes = const_cast<uint8_t*>(frame->payload.data());
  slices[1] = grpc::Slice(
      bytes, frame->payload.size(), [](void* held) { delete static_cast<SealedFramePtr*>(held); },
      new SealedFramePtr(frame));
  return grpc::ByteBuffer(slices, 2);
}

absl::StatusOr<Frame> FromByteBuffer(const grpc::ByteBuffer& buffer, int64_t max_payload_bytes) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok())
    return InvalidArgument("frame: expected bytes, got a message that cannot be read");
  std::vector<absl::Span<const uint8_t>> pieces;
  pieces.reserve(slices.size());
  for (const grpc::Slice& slice : slices) pieces.emplace_back(slice.begin(), slice.size());
  return ParseFrame(pieces, max_payload_bytes);
}

bool GrpcStream::Enter(bool write) {
  MutexLock lock(&mutex_);
  if (given_up_) return false;
  if (write) {
    ISTHMUS_CHECK(!writing_);
    writing_ = true;
  }
  ++calls_;
  return true;
}

void GrpcStream::Leave() {
  {
    MutexLock lock(&mutex_);
    --calls_;
    if (!given_up_ || finished_ || writing_ || calls_ > 0) return;
    finished_ = true;
  }
  WireFinish();
}

void GrpcStream::Write(SealedFramePtr frame) {
  if (!Enter(true)) return;
  out_ = ToByteBuffer(frame);
  WireWrite(&out_);
  Leave();
}

void GrpcStream::ReadNext() {
  if (!Enter(false)) return;
  WireRead(&in_);
  Leave();
}

void GrpcStream::Cut() {
  {
    MutexLock lock(&mutex_);
    if (finished_) return;
    given_up_ = true;
    ++calls_;
  }
  WireCancel();
  Leave();
}

void GrpcStream::CutUnlessAttached() {
  if (link() == nullptr) Cut();
}

void GrpcStream::FinishAfterWrite() {
  {
    MutexLock lock(&mutex_);
    if (given_up_) return;
    given_up_ = true;
    ++calls_;
  }
  Leave();
}

std::shared_ptr<ReliableLink> GrpcStream::link() const {
  MutexLock lock(&mutex_);
  return link_;
}

void GrpcStream::AttachTo(std::shared_ptr<ReliableLink> link, uint64_t peer_received) {
  {
    MutexLock lock(&mutex_);
    link_ = link;
  }
  link->Attach(shared_from_this(), peer_received);
}

void GrpcStream::ReadDone(bool ok) {
  if (!ok) return Cut();
  const auto attached = link();
  absl::StatusOr<Frame> frame =
      FromByteBuffer(in_, attached != nullptr ? max_payload_bytes_ : kMaxHandshakeBytes);
  in_.Clear();
  if (attached != nullptr) {
    attached->OnMessage(this, std::move(frame));
  } else {
    OnFirstMessage(std::move(frame));
  }
}

void GrpcStream::WriteDone(bool ok) {
  out_.Clear();
  std::shared_ptr<ReliableLink> attached;
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    ++calls_;  // keeps the stream unfinished while the next write may start
    attached = link_;
  }
  if (!ok) {
    Cut();
  } else if (attached != nullptr) {
    attached->OnWritten(this);
  } else {
    OnFirstWritten();
  }
  Leave();
}

}  // namespace isthmus
