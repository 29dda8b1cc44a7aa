// One gRPC stream as a Connection: the part that the dialling and the accepting side share.
//
// gRPC's rules, kept in this one place: at most one write and one read are outstanding; nothing is
// started after the stream was given up (Finish, or the last hold removed); the object lives until
// OnDone; no gRPC call is made with a lock held.
#ifndef ISTHMUS_LINK_GRPC_STREAM_H_
#define ISTHMUS_LINK_GRPC_STREAM_H_

#include <grpcpp/support/byte_buffer.h>

#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "link/reliable_link.h"

namespace isthmus {

// References the payload; the frame lives as long as gRPC needs it.
grpc::ByteBuffer ToByteBuffer(const SealedFramePtr& frame);
absl::StatusOr<Frame> FromByteBuffer(const grpc::ByteBuffer& buffer, int64_t max_payload_bytes);

class GrpcStream : public Connection, public std::enable_shared_from_this<GrpcStream> {
 public:
  void Write(SealedFramePtr frame) override;
  void ReadNext() override;
  void Cut() override;
  // Cuts unless the handshake is through.
  void CutUnlessAttached();

 protected:
  explicit GrpcStream(int64_t max_payload_bytes) : max_payload_bytes_(max_payload_bytes) {}

  // What the side's reactor does. Called without a lock, never after WireFinish.
  virtual void WireWrite(const grpc::ByteBuffer* message) = 0;
  virtual void WireRead(grpc::ByteBuffer* message) = 0;
  virtual void WireCancel() = 0;
  virtual void WireFinish() = 0;  // OnDone may come from now on
  // The handshake.
  virtual void OnFirstMessage(absl::StatusOr<Frame> frame) = 0;
  virtual void OnFirstWritten() = 0;

  // The stream is bound to its call and may be given up from now on.
  void Begun() { Leave(); }
  // The reactor's reactions.
  void ReadDone(bool ok);
  void WriteDone(bool ok);
  // Hands this stream to `link`; messages go there from now on.
  void AttachTo(std::shared_ptr<ReliableLink> link, uint64_t peer_received);
  // Ends the stream once what is being written is out, without cutting it.
  void FinishAfterWrite();
  std::shared_ptr<ReliableLink> link() const;

 private:
  bool EnterWrite();  // false when the stream is given up
  void Leave();
  void StepReading();
  void Handle(const grpc::ByteBuffer& message);

  const int64_t max_payload_bytes_;
  grpc::ByteBuffer out_;  // of the write in progress
  grpc::ByteBuffer in_;   // of the read in progress

  // One message is read ahead while another is checked and copied, so the transport's flow control
  // does not wait for us.
  static constexpr size_t kReadAhead = 1;

  mutable Mutex mutex_;
  std::shared_ptr<ReliableLink> link_ ISTHMUS_GUARDED_BY(mutex_);
  int calls_ ISTHMUS_GUARDED_BY(mutex_) = 1;  // into gRPC, running now; one is Begun's
  bool writing_ ISTHMUS_GUARDED_BY(mutex_) = false;
  std::deque<grpc::ByteBuffer> ahead_ ISTHMUS_GUARDED_BY(mutex_);  // read, not yet handled
  bool wanted_ ISTHMUS_GUARDED_BY(mutex_) = false;                 // ReadNext waits for its answer
  bool reading_ ISTHMUS_GUARDED_BY(mutex_) = false;                // gRPC has in_
  bool handling_ ISTHMUS_GUARDED_BY(mutex_) = false;  // a message is on its way to the link
  bool ended_ ISTHMUS_GUARDED_BY(mutex_) = false;     // no further message will come
  bool given_up_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool finished_ ISTHMUS_GUARDED_BY(mutex_) = false;
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_GRPC_STREAM_H_
