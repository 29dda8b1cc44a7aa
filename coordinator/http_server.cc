#include "coordinator/http_server.h"

#include <chrono>
#include <optional>
#include <set>
#include <utility>

#include "coordinator/asio.h"
// Beast after the wrapper, which makes Asio compile.
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "metrics/metrics.h"

namespace isthmus {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using boost::asio::ip::tcp;

class Session;

class BeastServer final : public HttpServer {
 public:
  BeastServer(boost::asio::io_context* io, HttpHandler handler, HttpLimits limits)
      : acceptor_(*io), retry_(*io), handler_(std::move(handler)), limits_(limits) {}

  absl::Status Bind(const tcp::endpoint& endpoint);
  int port() const override { return port_; }
  void Close() override;

  HttpResponse Answer(http::verb method, const std::string& target);
  const HttpLimits& limits() const { return limits_; }
  void Forget(Session* session) { sessions_.erase(session); }

 private:
  void Accept();
  void AcceptLater();

  tcp::acceptor acceptor_;
  boost::asio::steady_timer retry_;
  const HttpHandler handler_;
  const HttpLimits limits_;
  int port_ = 0;
  std::set<Session*> sessions_;
};

// One connection; kept alive by its pending operation.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, BeastServer* server) : stream_(std::move(socket)), server_(server) {}
  ~Session() {
    if (server_ != nullptr) server_->Forget(this);
  }

  void Read() {
    parser_.emplace();
    parser_->header_limit(server_->limits().max_header_bytes);
    parser_->body_limit(0);
    stream_.expires_after(std::chrono::milliseconds(server_->limits().timeout_ms));
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](beast::error_code error, size_t) { self->OnRead(error); });
  }

  void Abandon() {
    server_ = nullptr;
    stream_.cancel();
    beast::error_code ignored;
    stream_.socket().close(ignored);
  }

 private:
  void OnRead(const beast::error_code& error) {
    if (server_ == nullptr || error == http::error::end_of_stream) return;
    if (error == http::error::header_limit)
      return Refuse(http::status::request_header_fields_too_large);
    if (error == http::error::body_limit) return Refuse(http::status::payload_too_large);
    if (error.category() == http::make_error_code(http::error::bad_method).category()) {
      return Refuse(http::status::bad_request);
    }
    if (error) return;  // the peer is gone or was too slow
    const auto& request = parser_->get();
    const HttpResponse answer = server_->Answer(request.method(), std::string(request.target()));
    Write(answer, request.version(), request.keep_alive(), request.method() == http::verb::head);
  }

  void Refuse(http::status status) {
    HttpResponse answer;
    answer.status = static_cast<int>(status);
    answer.content_type = "text/plain; charset=utf-8";
    answer.body = std::string(http::obsolete_reason(status)) + "\n";
    Write(answer, 11, false, false);
  }

  void Write(const HttpResponse& answer, unsigned version, bool keep_alive, bool head) {
    response_ = {};
    response_.version(version);
    response_.result(static_cast<unsigned>(answer.status));
    response_.set(http::field::server, "isthmus");
    response_.set(http::field::content_type, answer.content_type);
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    // Pages carry their own style and nothing else: no script runs, nothing is fetched from
    // anywhere.
    response_.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    if (answer.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.keep_alive(keep_alive);
    response_.content_length(answer.body.size());
    if (!head) response_.body() = answer.body;
    stream_.expires_after(std::chrono::milliseconds(server_->limits().timeout_ms));
    http::async_write(stream_, response_,
                      [self = shared_from_this(), keep_alive](beast::error_code error, size_t) {
                        if (self->server_ == nullptr || error) return;
                        if (keep_alive) return self->Read();
                        beast::error_code ignored;
                        self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
                      });
  }

  beast::tcp_stream stream_;
  BeastServer* server_;  // null once it was closed
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
};

absl::Status BeastServer::Bind(const tcp::endpoint& endpoint) {
  beast::error_code error;
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(boost::asio::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) return absl::InvalidArgumentError(error.message());
  port_ = acceptor_.local_endpoint().port();
  Accept();
  return absl::OkStatus();
}

void BeastServer::Accept() {
  acceptor_.async_accept([this](beast::error_code error, tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (error) return AcceptLater();
    if (sessions_.size() < static_cast<size_t>(limits_.max_connections)) {
      auto session = std::make_shared<Session>(std::move(socket), this);
      sessions_.insert(session.get());
      session->Read();
    }
    Accept();
  });
}

// No descriptor left, say: the connection waits in the kernel's queue and trying at once would
// spin.
void BeastServer::AcceptLater() {
  retry_.expires_after(std::chrono::milliseconds(100));
  retry_.async_wait([this](const beast::error_code& error) {
    if (!error) Accept();
  });
}

void BeastServer::Close() {
  beast::error_code ignored;
  retry_.cancel();
  acceptor_.close(ignored);
  for (Session* session : sessions_) session->Abandon();
  sessions_.clear();
}

HttpResponse BeastServer::Answer(http::verb method, const std::string& target) {
  if (method != http::verb::get && method != http::verb::head) {
    return {405, "text/plain; charset=utf-8", "expected GET or HEAD\n"};
  }
  return handler_(target.substr(0, target.find('?')));
}

absl::StatusOr<tcp::endpoint> ParseEndpoint(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return absl::InvalidArgumentError("expected HOST:PORT");
  }
  std::string host = address.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  beast::error_code error;
  const auto ip = boost::asio::ip::make_address(host, error);
  if (error) return absl::InvalidArgumentError("expected a numeric address and a port");
  return tcp::endpoint(ip, static_cast<uint16_t>(port));
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Listen(boost::asio::io_context* io,
                                                               const std::string& address,
                                                               const std::string& flag,
                                                               HttpHandler handler,
                                                               HttpLimits limits) {
  const absl::StatusOr<tcp::endpoint> endpoint = ParseEndpoint(address);
  if (!endpoint.ok()) {
    return InvalidArgument(flag, ": ", endpoint.status().message(), ", got \"", address, "\"");
  }
  auto server = std::make_unique<BeastServer>(io, std::move(handler), limits);
  if (const absl::Status bound = server->Bind(*endpoint); !bound.ok()) {
    return InvalidArgument(flag, ": expected a free address of this host, got ", address, " (",
                           bound.message(), ")");
  }
  return server;
}

}  // namespace isthmus
