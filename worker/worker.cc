#include "worker/worker.h"

#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/status.h"
#include "link/coordinator_client.h"
#include "link/grpc_link.h"
#include "link/rate_probe.h"
#include "pipeline/plan.h"
#include "worker/session.h"

namespace isthmus {
namespace {

// Sessions by job, and the doors through which links and commands come in.
class SessionTable {
 public:
  SessionTable(SessionOptions options, Session::Ended ended)
      : options_(std::move(options)), ended_(std::move(ended)) {}

  absl::Status Prepare(const v1::PrepareJob& prepare) {
    ISTHMUS_RETURN_IF_ERROR(CheckPlan(prepare.plan()));
    if (prepare.party() == kClientParty ||
        prepare.party() >= static_cast<uint32_t>(prepare.plan().parties_size()) ||
        StagesOfParty(prepare.plan(), prepare.party()).empty())
      return InvalidArgument("plan: expected a party with a stage, got ", prepare.party());
    Sweep();
    SessionOptions options = options_;
    if (prepare.plan().link_rate_mbps() > 0 || prepare.plan().link_delay_ms() > 0)
      options.grpc.shaper = shaper_;
    auto session = std::make_unique<Session>(prepare.plan(), prepare.party(), prepare.token(),
                                             std::move(options), ended_);
    MutexLock lock(&mutex_);
    auto& slot = sessions_[prepare.plan().job_id()];
    if (slot != nullptr)
      return InvalidArgument("job ", prepare.plan().job_id(),
                             ": expected a new one, got it a second time");
    slot = std::move(session);
    slot->Start();
    return absl::OkStatus();
  }

  absl::Status Check(const LinkIdentity& identity) {
    MutexLock lock(&mutex_);
    const auto it = sessions_.find(identity.job_id);
    if (it == sessions_.end() || it->second->over())
      return Unavailable("job ", identity.job_id, " is not here");
    const Session& session = *it->second;
    if (session.token() != identity.token)
      return absl::PermissionDeniedError("link: the token is not this job's");
    if (session.plan().generation() != identity.generation)
      return absl::AbortedError(absl::StrCat("link: expected generation ",
                                             session.plan().generation(), ", got ",
                                             identity.generation));
    if (session.party() != identity.to_party)
      return InvalidArgument("link: expected party ", session.party(), ", got ", identity.to_party);
    return absl::OkStatus();
  }

  void Opened(const LinkIdentity& identity, std::unique_ptr<Link> link) {
    MutexLock lock(&mutex_);
    const auto it = sessions_.find(identity.job_id);
    if (it == sessions_.end()) return;
    if (const absl::Status status = it->second->AddLink(identity.from_party, std::move(link));
        !status.ok())
      LogWarning("worker", status.message());
  }

  void Stop(const v1::StopWork& stop) {
    MutexLock lock(&mutex_);
    const auto it = sessions_.find(stop.job_id());
    if (it != sessions_.end()) it->second->Stop(absl::CancelledError(stop.reason()));
  }

  v1::Heartbeat Heartbeat() {
    v1::Heartbeat beat;
    beat.set_memory_bytes(CurrentResidentBytes());
    int64_t store = 0;
    MutexLock lock(&mutex_);
    for (const auto& [id, session] : sessions_) {
      if (session->over()) continue;
      beat.add_jobs(id);
      store += session->codec_state_bytes();
    }
    beat.set_store_bytes(store);
    return beat;
  }

  bool Busy() {
    MutexLock lock(&mutex_);
    for (const auto& [id, session] : sessions_)
      if (!session->over()) return true;
    return false;
  }

  // Destroys sessions that are over, outside the lock: their threads may still be on the way out.
  void Sweep() {
    std::vector<std::unique_ptr<Session>> over;
    MutexLock lock(&mutex_);
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      if (it->second->over()) {
        over.push_back(std::move(it->second));
        it = sessions_.erase(it);
      } else {
        ++it;
      }
    }
  }

  void StopAll() {
    std::map<std::string, std::unique_ptr<Session>> all;
    {
      MutexLock lock(&mutex_);
      all.swap(sessions_);
    }
  }

  void set_shaper(std::shared_ptr<Shaper> shaper) { shaper_ = std::move(shaper); }

 private:
  const SessionOptions options_;
  const Session::Ended ended_;
  std::shared_ptr<Shaper> shaper_;
  Mutex mutex_;
  std::map<std::string, std::unique_ptr<Session>> sessions_ ISTHMUS_GUARDED_BY(mutex_);
};

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

bool IsEveryHost(const std::string& host) {
  return host == "0.0.0.0" || host == "[::]" || host.empty();
}

absl::StatusOr<std::string> AdvertisedAddress(const WorkerOptions& options, int port) {
  if (!options.advertise.empty()) return options.advertise;
  const std::string host = HostOf(options.listen);
  if (IsEveryHost(host))
    return InvalidArgument(
        "--advertise: expected HOST:PORT that peers can reach, since --listen is ", options.listen);
  return absl::StrCat(host, ":", port);
}

// Where /metrics is, for people and scrapers: on every interface it is at the host that peers dial.
std::string MetricsAddress(const std::string& metrics, const std::string& advertised) {
  if (metrics.empty() || !IsEveryHost(HostOf(metrics))) return metrics;
  return absl::StrCat(HostOf(advertised), metrics.substr(metrics.rfind(':')));
}

// What the partitioner is told: speed of one block of a middling size, forward, in floating-point
// operations per second.
double MeasureFlops(Engine* engine, const WorkerOptions& options) {
  ModelConfig config;
  config.architecture = "llama";
  config.num_layers = 1;
  config.hidden_size = 256;
  config.num_heads = config.num_kv_heads = 4;
  config.head_dim = 64;
  config.intermediate_size = 704;
  config.vocab_size = 256;
  config.max_positions = 256;
  TrainSpec train;
  train.threads = options.threads;
  train.device = options.device;
  constexpr int64_t kTokens = 128;
  const absl::StatusOr<Engine::Speed> speed = engine->MeasureBlock(config, train, kTokens);
  if (!speed.ok() || speed->forward_s <= 0) return 0.0;
  const double weights = 4.0 * 256 * 256 + 3.0 * 256 * 704;
  return 2.0 * weights / speed->forward_s;
}

// Of this host's link, for the plan; 0 where the coordinator is too old to tell.
absl::StatusOr<double> LinkRateOf(const WorkerOptions& options) {
  if (options.emulated_rate_mbps > 0) return options.emulated_rate_mbps;
  const absl::StatusOr<LinkRate> rate =
      MeasureLinkRate(options.coordinator, options.tls,
                      static_cast<int64_t>(options.join_wait_s * 1e6), /*rounds=*/4);
  if (absl::IsUnimplemented(rate.status())) return 0.0;
  if (!rate.ok()) return rate.status();
  LogInfo("worker", "link to ", options.coordinator, ": ", rate->up_mbps, " Mbit/s up, ",
          rate->down_mbps, " down, ", rate->round_trip_s, " s there and back");
  return rate->slower_mbps();
}

std::string DefaultName(int port) {
  char host[256] = "worker";
  ::gethostname(host, sizeof host - 1);
  return absl::StrCat(host, "-", port);
}

}  // namespace

absl::Status RunWorker(const WorkerOptions& options, Engine* engine,
                       std::function<void(int port)> ready, std::function<void()> wait_for_stop,
                       std::function<bool()> stop_now) {
  ISTHMUS_RETURN_IF_ERROR(
      CheckAddressSecurity(options.listen, options.tls, options.insecure, "--listen"));
  ISTHMUS_RETURN_IF_ERROR(
      CheckAddressSecurity(options.coordinator, options.tls, options.insecure, "--coordinator"));
  if (!options.state_dir.empty()) ISTHMUS_RETURN_IF_ERROR(MakeDirectories(options.state_dir));
  ISTHMUS_RETURN_IF_ERROR(EdgeDump::Prepare(options.dump));

  SessionOptions session_options;
  session_options.engine = engine;
  session_options.weights = options.weights;
  session_options.state_dir = options.state_dir;
  session_options.started_by_client = options.started_by_client;
  session_options.threads = options.threads;
  session_options.device = options.device;
  session_options.grpc.tls = options.tls;
  session_options.dump = options.dump;

  std::unique_ptr<WorkerControl> control;
  SessionTable sessions(session_options,
                        [&control](const std::string& job_id, const absl::Status& status) {
                          if (control != nullptr) control->Ended(job_id, status);
                        });

  GrpcOptions grpc;
  grpc.tls = options.tls;
  if (options.emulated_rate_mbps > 0 || options.emulated_delay_ms > 0) {
    grpc.shaper = std::make_shared<Shaper>(options.emulated_rate_mbps,
                                           static_cast<int64_t>(options.emulated_delay_ms * 1000));
    sessions.set_shaper(grpc.shaper);
  }
  ISTHMUS_ASSIGN_OR_RETURN(
      std::unique_ptr<LinkServer> server,
      LinkServer::Listen(
          options.listen, grpc,
          [&sessions](const LinkIdentity& identity) { return sessions.Check(identity); },
          [&sessions](const LinkIdentity& identity, std::unique_ptr<Link> link) {
            sessions.Opened(identity, std::move(link));
          }));

  v1::WorkerInfo hello;
  hello.set_name(options.name.empty() ? DefaultName(server->port()) : options.name);
  ISTHMUS_ASSIGN_OR_RETURN(*hello.mutable_address(), AdvertisedAddress(options, server->port()));
  hello.set_metrics_address(MetricsAddress(options.metrics, hello.address()));
  hello.set_flops(MeasureFlops(engine, options));
  ISTHMUS_ASSIGN_OR_RETURN(const double rate_mbps, LinkRateOf(options));
  hello.set_rate_mbps(rate_mbps);
  hello.set_memory_limit_bytes(options.memory_limit_bytes);
  hello.set_device(options.device);
  hello.set_engine(engine->name());
  hello.set_version(options.version);
  hello.set_wire_version(kWireVersion);
  hello.set_threads(options.threads);

  WorkerControl::Callbacks callbacks;
  // `control` is set before the coordinator can plan a job on this worker: it joins inside Join,
  // and commands come after.
  Mutex joined;
  joined.Lock();
  callbacks.prepare = [&](const v1::PrepareJob& prepare) {
    MutexLock lock(&joined);
    const absl::Status status = sessions.Prepare(prepare);
    if (status.ok()) {
      control->Prepared(prepare.plan().job_id(), prepare.plan().generation());
    } else {
      control->Ended(prepare.plan().job_id(), status);
    }
  };
  callbacks.stop = [&](const v1::StopWork& stop) { sessions.Stop(stop); };
  callbacks.heartbeat = [&] { return sessions.Heartbeat(); };
  absl::StatusOr<std::unique_ptr<WorkerControl>> join =
      WorkerControl::Join(options.coordinator, options.tls, hello, callbacks,
                          static_cast<int64_t>(options.join_wait_s * 1e6));
  if (join.ok()) control = *std::move(join);
  joined.Unlock();
  ISTHMUS_RETURN_IF_ERROR(join.status());
  LogInfo("worker", hello.name(), " joined ", options.coordinator, " and listens on ",
          hello.address());

  ready(server->port());
  wait_for_stop();
  control->Draining();
  while (sessions.Busy() && !stop_now()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  sessions.StopAll();
  server->Shutdown();
  control.reset();
  return absl::OkStatus();
}

}  // namespace isthmus
