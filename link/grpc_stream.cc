#include "link/grpc_stream.h"

#include <grpcpp/support/slice.h>

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "link/handshake.h"

namespace isthmus {

grpc::ByteBuffer ToByteBuffer(const SealedFramePtr& frame) {
  grpc::Slice slices[2] = {grpc::Slice(frame->head(), FrameHeader::kBytes), grpc::Slice()};
  if (frame->payload().empty()) return grpc::ByteBuffer(slices, 1);
  // gRPC reads the bytes and never writes them.
  void* const bytes = const_cast<uint8_t*>(frame->payload().data());
  slices[1] = grpc::Slice(
      bytes, frame->payload().size(), [](void* held) { delete static_cast<SealedFramePtr*>(held); },
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

bool GrpcStream::EnterWrite() {
  MutexLock lock(&mutex_);
  if (given_up_) return false;
  ISTHMUS_CHECK(!writing_);
  writing_ = true;
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
  if (!EnterWrite()) return;
  out_ = ToByteBuffer(frame);
  WireWrite(&out_);
  Leave();
}

void GrpcStream::ReadNext() {
  {
    MutexLock lock(&mutex_);
    wanted_ = true;
  }
  StepReading();
}

// Starts a read when there is room for its message, and hands over the oldest message when the link
// wants one. Handing over may come back here through ReadNext; handling_ keeps the order.
void GrpcStream::StepReading() {
  while (true) {
    grpc::ByteBuffer message;
    bool read = false, handle = false, cut = false;
    {
      MutexLock lock(&mutex_);
      handle = wanted_ && !handling_ && !ahead_.empty();
      if (handle) {
        message.Swap(&ahead_.front());
        ahead_.pop_front();
        wanted_ = false;
        handling_ = true;
      }
      // A handshake is not read ahead of: what follows it may depend on it.
      const bool room = ahead_.size() < kReadAhead && (wanted_ || link_ != nullptr);
      read = room && !reading_ && !ended_ && !given_up_;
      if (read) {
        reading_ = true;
        ++calls_;
      }
      cut = ended_ && !handling_ && ahead_.empty();
    }
    if (read) {
      WireRead(&in_);
      Leave();
    }
    if (cut) Cut();
    if (!handle) return;
    Handle(message);
    MutexLock lock(&mutex_);
    handling_ = false;
  }
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

void GrpcStream::Handle(const grpc::ByteBuffer& message) {
  const auto attached = link();
  absl::StatusOr<Frame> frame =
      FromByteBuffer(message, attached != nullptr ? max_payload_bytes_ : kMaxHandshakeBytes);
  if (attached != nullptr) {
    attached->OnMessage(this, std::move(frame));
  } else {
    OnFirstMessage(std::move(frame));
  }
}

void GrpcStream::ReadDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    ended_ = !ok;
    if (ok) {
      ahead_.emplace_back();
      ahead_.back().Swap(&in_);
    }
  }
  StepReading();  // what was read before the end is handed over before the end
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
