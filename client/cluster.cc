#include "client/cluster.h"

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"

namespace isthmus {
namespace {

constexpr double kGraceS = 5.0;

std::vector<std::string> WorkerArguments(const ClusterOptions& options, const std::string& name,
                                         const std::string& coordinator) {
  std::vector<std::string> arguments = {"worker",
                                        absl::StrCat("--coordinator=", coordinator),
                                        "--listen=127.0.0.1:0",
                                        "--metrics=off",
                                        absl::StrCat("--name=", name),
                                        absl::StrCat("--engine=", options.engine),
                                        absl::StrCat("--device=", options.device),
                                        absl::StrCat("--threads=", options.threads)};
  if (!options.model_root.empty()) {
    arguments.push_back(absl::StrCat("--model-root=", options.model_root));
  }
  if (!options.state_dir.empty()) {
    arguments.push_back(absl::StrCat("--state=", options.state_dir, "/", name));
  }
  if (options.link_rate_mbps > 0.0) {
    arguments.push_back(absl::StrCat("--link-mbps=", options.link_rate_mbps));
  }
  if (options.link_delay_ms > 0.0) {
    arguments.push_back(absl::StrCat("--link-delay-ms=", options.link_delay_ms));
  }
  if (!options.dump_dir.empty()) {
    arguments.push_back(absl::StrCat("--dump-edges=", options.dump_dir));
    arguments.push_back(absl::StrCat("--dump-steps=", options.dump_steps));
  }
  return arguments;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedCluster>> EmbeddedCluster::Start(
    const ClusterOptions& options) {
  std::unique_ptr<EmbeddedCluster> cluster(new EmbeddedCluster());
  ISTHMUS_RETURN_IF_ERROR(cluster->StartCoordinator(options));
  ISTHMUS_RETURN_IF_ERROR(cluster->StartWorkers(options));
  return cluster;
}

absl::Status EmbeddedCluster::StartCoordinator(const ClusterOptions& options) {
  const std::vector<std::string> arguments = {"coordinator", "--listen=127.0.0.1:0",
                                              "--http=127.0.0.1:0"};
  ISTHMUS_ASSIGN_OR_RETURN(
      auto child, ChildProcess::Start("coordinator", arguments, options.log_path("coordinator")));
  children_.push_back(std::move(child));
  ISTHMUS_ASSIGN_OR_RETURN(const ReadyPorts ports,
                           children_.back()->WaitReady(options.ready_wait_s));
  coordinator_ = absl::StrCat("127.0.0.1:", ports.grpc);
  return absl::OkStatus();
}

// All start before one is waited for: loading LibTorch takes each of them a second.
absl::Status EmbeddedCluster::StartWorkers(const ClusterOptions& options) {
  for (int64_t i = 0; i < options.workers; ++i) {
    const std::string name = absl::StrCat("w", i);
    ISTHMUS_ASSIGN_OR_RETURN(
        auto child,
        ChildProcess::Start(absl::StrCat("worker ", name),
                            WorkerArguments(options, name, coordinator_), options.log_path(name)));
    children_.push_back(std::move(child));
  }
  for (size_t i = 1; i < children_.size(); ++i) {
    ISTHMUS_RETURN_IF_ERROR(children_[i]->WaitReady(options.ready_wait_s).status());
  }
  return absl::OkStatus();
}

absl::Status EmbeddedCluster::Check() {
  for (const auto& child : children_) {
    if (const auto ended = child->Ended()) return Unavailable(*ended);
  }
  return absl::OkStatus();
}

void EmbeddedCluster::Stop() {
  if (children_.empty()) return;
  const int64_t deadline_us = NowUs() + static_cast<int64_t>(kGraceS * 1e6);
  const auto left_s = [&] { return static_cast<double>(deadline_us - NowUs()) * 1e-6; };
  for (size_t i = 1; i < children_.size(); ++i) children_[i]->Terminate();
  for (size_t i = 1; i < children_.size(); ++i) children_[i]->WaitEnd(left_s());
  children_.front()->Terminate();
  children_.front()->WaitEnd(left_s());
  children_.clear();  // kills what is left
}

}  // namespace isthmus
