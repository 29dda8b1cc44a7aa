// The gRPC carrier: raw frames in generic ByteBuffer messages over one bidirectional stream per
// peer pair and job.
#ifndef ISTHMUS_LINK_GRPC_LINK_H_
#define ISTHMUS_LINK_GRPC_LINK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "link/link.h"
#include "link/shaper.h"
#include "link/tls.h"

namespace isthmus {

// Who opens a link for what. A link that is accepted is known by (job, from_party).
struct LinkIdentity {
  std::string job_id;
  std::string token;
  uint32_t generation = 0;
  uint32_t from_party = 0;
  uint32_t to_party = 0;
};

struct GrpcOptions {
  LinkOptions link;
  TlsFiles tls;                    // empty: plain text
  std::shared_ptr<Shaper> shaper;  // null: unshaped
  std::string proxy;  // HTTP proxy of this link; empty: the process's (grpc_environment.h), if any
};

// Opens a link; returns after the peer's welcome. kUnavailable after options.link.reconnect_us
// without one; what the peer refused comes with its own code and words. A broken stream is dialled
// again by the link itself.
absl::StatusOr<std::unique_ptr<Link>> DialLink(const std::string& address,
                                               const LinkIdentity& identity,
                                               const GrpcOptions& options);

// Accepts links. The standard health service and reflection run on the same port.
class LinkServer {
 public:
  // Called on a gRPC thread for a new link (not for a reconnect); must not block. A status refuses
  // it with those words. The link's listener must be set (Start) soon; frames wait until then.
  using Accept = std::function<absl::Status(const LinkIdentity&)>;
  using Opened = std::function<void(const LinkIdentity&, std::unique_ptr<Link>)>;

  // `address` HOST:PORT, port 0 = any. kInvalidArgument when the port is taken or the address is
  // not ours.
  static absl::StatusOr<std::unique_ptr<LinkServer>> Listen(const std::string& address,
                                                            const GrpcOptions& options,
                                                            Accept accept, Opened opened);
  virtual ~LinkServer() = default;
  virtual int port() const = 0;
  virtual void Shutdown() = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_LINK_GRPC_LINK_H_
