// PeerLinks: one party's links, by peer, as an Outlet; what comes in goes to one Inbox.
//
// Threads: Add from link threads, Send and Await from the stage thread, CloseAll and the destructor
// from the session's owner.
#ifndef ISTHMUS_PIPELINE_PEER_LINKS_H_
#define ISTHMUS_PIPELINE_PEER_LINKS_H_

#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "isthmus/v1/packet.pb.h"
#include "link/inbox.h"
#include "link/link.h"
#include "pipeline/stage_runner.h"

namespace isthmus {

class PeerLinks : public Outlet {
 public:
  // `inbox` outlives it.
  explicit PeerLinks(Inbox* inbox) : inbox_(inbox) {}

  // Starts the link; its frames arrive in the inbox as `party`'s. A second link of a party is
  // refused (kInvalidArgument).
  absl::Status Add(uint32_t party, std::unique_ptr<Link> link);
  // Waits until `party` has a link: kDeadlineExceeded, or the inbox's failure.
  absl::Status Await(uint32_t party, int64_t deadline_us);

  absl::Status Send(uint32_t party, Frame frame) override;
  bool tls(uint32_t party) const override;
  std::vector<ResentRow> TakeResent() override;

  // One message of packet.proto in a kControl frame.
  absl::Status SendPacket(uint32_t party, const v1::Packet& packet);

  // Flushes and closes in good order, each within `timeout_us`.
  void CloseAll(int64_t timeout_us);
  LinkStats TotalStats() const;

 private:
  struct Peer {
    std::unique_ptr<InboxFeed> feed;  // outlives the link
    std::unique_ptr<Link> link;
  };
  Link* Find(uint32_t party) const;

  Inbox* const inbox_;
  mutable Mutex mutex_;
  CondVar added_;
  std::map<uint32_t, Peer> peers_ ISTHMUS_GUARDED_BY(mutex_);
};

// kInvalidArgument for bytes that are no packet.
absl::StatusOr<v1::Packet> ParsePacket(const Frame& frame);
// A Failure packet as the status it carries, with the peer's name in front.
absl::Status FailureStatus(const v1::Failure& failure, absl::string_view peer);

// An edge's use as it travels in StepDone, EvalDone and StateEnd.
v1::EdgeUse EdgeUseToProto(const StageRunner::EdgeReport& report);
StageRunner::EdgeReport EdgeUseFromProto(const v1::EdgeUse& proto);

}  // namespace isthmus

#endif  // ISTHMUS_PIPELINE_PEER_LINKS_H_
