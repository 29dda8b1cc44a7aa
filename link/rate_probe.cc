#include "link/rate_probe.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <thread>

#include "base/clock.h"
#include "base/status.h"
#include "isthmus/v1/probe.grpc.pb.h"
#include "link/coordinator_channel.h"

namespace isthmus {
namespace {

constexpr int64_t kFirstBytes = 16 << 10;
constexpr int64_t kMostBytes = 2 << 20;
constexpr double kLongEnoughS = 0.080;  // far above the jitter of a call
constexpr std::chrono::seconds kPatience(10);
constexpr int kMostGapMs = 400;

using Exchange = std::function<absl::StatusOr<double>(int64_t up, int64_t down)>;

// Mbit/s of one direction, by the largest message that was sent.
absl::StatusOr<double> RateOf(const std::function<absl::StatusOr<double>(int64_t)>& send,
                              double round_trip_s) {
  for (int64_t bytes = kFirstBytes;; bytes *= 4) {
    ISTHMUS_ASSIGN_OR_RETURN(const double seconds, send(std::min(bytes, kMostBytes)));
    const double moving_s = std::max(seconds - round_trip_s, 1e-6);
    if (moving_s >= kLongEnoughS || bytes >= kMostBytes)
      return static_cast<double>(std::min(bytes, kMostBytes)) * 8e-6 / moving_s;
  }
}

class Prober {
 public:
  explicit Prober(const std::shared_ptr<grpc::Channel>& channel)
      : channel_(channel), stub_(v1::Probe::NewStub(channel)) {}

  grpc::Status Echo(int64_t up, int64_t down, double* seconds) {
    v1::EchoRequest request;
    request.mutable_padding()->assign(static_cast<size_t>(up), '\0');
    request.set_reply_bytes(static_cast<uint32_t>(down));
    v1::EchoResponse response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const int64_t start_us = NowUs();
    const grpc::Status status = stub_->Echo(&context, request, &response);
    *seconds = static_cast<double>(NowUs() - start_us) * 1e-6;
    return status;
  }

  // The first answer.
  grpc::Status Connect(int64_t wait_us) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(wait_us);
    for (Backoff backoff;;) {
      double seconds = 0.0;
      const grpc::Status status = Echo(0, 0, &seconds);
      const auto now = std::chrono::steady_clock::now();
      if (status.error_code() != grpc::StatusCode::UNAVAILABLE || now >= until) return status;
      AwaitConnection(channel_.get(),
                      std::min(until, now + std::chrono::microseconds(backoff.NextUs())),
                      [] { return false; });
    }
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Probe::Stub> stub_;
};

}  // namespace

absl::StatusOr<LinkRate> MeasureLinkRate(const Exchange& exchange) {
  LinkRate rate;
  ISTHMUS_ASSIGN_OR_RETURN(rate.round_trip_s, exchange(0, 0));
  for (int again = 0; again < 2; ++again) {
    ISTHMUS_ASSIGN_OR_RETURN(const double seconds, exchange(0, 0));
    rate.round_trip_s = std::min(rate.round_trip_s, seconds);
  }
  ISTHMUS_ASSIGN_OR_RETURN(
      rate.up_mbps, RateOf([&](int64_t bytes) { return exchange(bytes, 0); }, rate.round_trip_s));
  ISTHMUS_ASSIGN_OR_RETURN(
      rate.down_mbps, RateOf([&](int64_t bytes) { return exchange(0, bytes); }, rate.round_trip_s));
  return rate;
}

absl::StatusOr<LinkRate> MeasureLinkRate(const std::string& coordinator, const TlsFiles& tls,
                                         int64_t wait_us, int rounds) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                           ControlChannel(coordinator, tls));
  Prober prober(channel);
  const grpc::Status connected = prober.Connect(wait_us);
  if (connected.error_code() == grpc::StatusCode::UNIMPLEMENTED)
    return Unimplemented("coordinator: expected one that answers probes, got an older one (",
                         coordinator, ")");
  if (!connected.ok()) return FromCoordinator(connected, coordinator);
  const auto exchange = [&](int64_t up, int64_t down) -> absl::StatusOr<double> {
    double seconds = 0.0;
    const grpc::Status status = prober.Echo(up, down, &seconds);
    if (!status.ok()) return FromCoordinator(status, coordinator);
    return seconds;
  };
  ISTHMUS_ASSIGN_OR_RETURN(LinkRate best, MeasureLinkRate(exchange));
  std::minstd_rand random(std::random_device{}());
  for (int again = 1; again < rounds; ++again) {
    std::this_thread::sleep_for(
        std::chrono::milliseconds(std::uniform_int_distribution<>(0, kMostGapMs)(random)));
    ISTHMUS_ASSIGN_OR_RETURN(const LinkRate rate, MeasureLinkRate(exchange));
    best.up_mbps = std::max(best.up_mbps, rate.up_mbps);
    best.down_mbps = std::max(best.down_mbps, rate.down_mbps);
    best.round_trip_s = std::min(best.round_trip_s, rate.round_trip_s);
  }
  return best;
}

}  // namespace isthmus
