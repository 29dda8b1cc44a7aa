// A child process that is this same program. It cannot outlive its parent, and says when it is
// ready.
//
//   parent                                child
//   pipe, vfork ───────────────────────▶  die with the parent; ignore Ctrl-C; close all but 0, 1, 2
//   and the pipe; exec WaitReady  ◀── {"grpc":P,"http":P} ─  ReportReady, on the descriptor that
//   ISTHMUS_READY_FD names
#ifndef ISTHMUS_CLIENT_CLUSTER_CHILD_H_
#define ISTHMUS_CLIENT_CLUSTER_CHILD_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace isthmus {

// Ports that a child listens on; 0: none of that kind.
struct ReadyPorts {
  int grpc = 0;
  int http = 0;
};

class ChildProcess {
 public:
  // `role` is for messages ("worker w0"). What the child writes goes to the end of `log_path`. Its
  // environment is ours without ISTHMUS_*: only `arguments` tell it what to do.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::string& role, const std::vector<std::string>& arguments,
      const std::string& log_path);
  ~ChildProcess();  // kills and reaps it
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // kUnavailable when it ended before, or said nothing for `wait_s`.
  absl::StatusOr<ReadyPorts> WaitReady(double wait_s);
  // How it ended, with the last line of its log; nullopt while it runs.
  std::optional<std::string> Ended();
  void Terminate();             // SIGTERM
  void Kill();                  // SIGKILL and reap
  bool WaitEnd(double wait_s);  // true when it has ended

  const std::string& role() const { return role_; }
  pid_t pid() const { return pid_; }

 private:
  ChildProcess(std::string role, std::string log_path, pid_t pid, int ready_fd)
      : role_(std::move(role)), log_path_(std::move(log_path)), pid_(pid), ready_fd_(ready_fd) {}
  bool Reap(bool block);

  std::string role_, log_path_;
  pid_t pid_;
  int ready_fd_;
  bool reaped_ = false;
  int wait_status_ = 0;
};

// The child's side: tells a parent that waits, if there is one.
void ReportReady(const ReadyPorts& ports);

// This process is a child of an embedded cluster.
bool StartedByClient();

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_CLUSTER_CHILD_H_
