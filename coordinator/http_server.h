// A small HTTP/1.1 server on Boost.Beast: GET and HEAD, bounded requests, bounded time, bounded
// connections.
//
// Threads: everything runs on the thread of `io`.
#ifndef ISTHMUS_COORDINATOR_HTTP_SERVER_H_
#define ISTHMUS_COORDINATOR_HTTP_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/asio.h"

namespace isthmus {

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::string body;
};

// What is served for a path ("/api/v1/jobs"; the query is cut off).
using HttpHandler = std::function<HttpResponse(const std::string& path)>;

struct HttpLimits {
  int max_connections = 64;     // one more is closed at once
  int max_header_bytes = 8192;  // a request has no body
  int timeout_ms = 10'000;      // of one request, and of an idle connection
};

class HttpServer {
 public:
  // Listens at `address` (HOST:PORT, port 0 = any). kInvalidArgument naming `flag` when it is
  // malformed, taken or not ours.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Listen(boost::asio::io_context* io,
                                                            const std::string& address,
                                                            const std::string& flag,
                                                            HttpHandler handler,
                                                            HttpLimits limits = {});
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
  virtual void Close() = 0;  // on io: stops accepting and ends every connection
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_HTTP_SERVER_H_
