#include "coordinator/metrics_exporter.h"

#include <utility>

#include "base/status.h"
#include "base/thread.h"
#include "coordinator/http_server.h"
#include "metrics/exporter/exporter.h"

namespace isthmus {
namespace {

class HttpExporter : public MetricsExporter {
 public:
  explicit HttpExporter(Metrics* metrics)
      : metrics_(metrics), work_(boost::asio::make_work_guard(io_)) {}
  ~HttpExporter() override {
    if (server_ != nullptr) boost::asio::post(io_, [this] { server_->Close(); });
    work_.reset();
    thread_.Join();
  }

  absl::Status Listen(const std::string& address, const std::string& flag) {
    const auto answer = [this](const std::string& path) {
      if (path == "/metrics")
        return HttpResponse{200, kExpositionContentType, RenderMetrics(*metrics_)};
      return HttpResponse{404, "text/plain", "metrics are at /metrics\n"};
    };
    ISTHMUS_ASSIGN_OR_RETURN(server_, HttpServer::Listen(&io_, address, flag, answer));
    port_ = server_->port();
    thread_ = Thread("metrics", [this] { io_.run(); });
    return absl::OkStatus();
  }
  int port() const override { return port_; }

 private:
  Metrics* const metrics_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<HttpServer> server_;
  int port_ = 0;
  Thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(const std::string& address,
                                                                        const std::string& flag,
                                                                        Metrics* metrics) {
  auto exporter = std::make_unique<HttpExporter>(metrics);
  ISTHMUS_RETURN_IF_ERROR(exporter->Listen(address, flag));
  return exporter;
}

}  // namespace isthmus
