#include "client/cluster_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

constexpr char kReadyVariable[] = "ISTHMUS_READY_FD";
constexpr int kReadyFd = 3;
constexpr int64_t kPollUs = 2'000;

// Everything the child needs, made ready before vfork: after it only system calls are allowed.
struct Launch {
  pid_t parent;
  int input, log, ready;
  char* const* arguments;
  char* const* environment;
  sigset_t signals;  // the mask it starts with
};

// Runs between vfork and exec, on the parent's memory: writes to none of it.
[[noreturn]] void BecomeChild(const Launch& launch) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launch.parent) ::_exit(127);  // it died before the line above
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &launch.signals, nullptr);
  ::dup2(launch.input, STDIN_FILENO);
  ::dup2(launch.log, STDOUT_FILENO);
  ::dup2(launch.log, STDERR_FILENO);
  ::dup2(launch.ready, kReadyFd);
  ::close_range(kReadyFd + 1, ~0U, 0);
  ::execve("/proc/self/exe", launch.arguments, launch.environment);
  ::_exit(127);
}

// vfork and not fork: gRPC's threads and locks are not copied, and a large parent costs nothing.
[[gnu::noinline]] pid_t StartChild(const Launch& launch) {
  const pid_t pid = ::vfork();
  if (pid == 0) BecomeChild(launch);
  return pid;
}

std::vector<std::string> ChildEnvironment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!absl::StartsWith(*entry, "ISTHMUS_")) entries.push_back(*entry);
  }
  entries.push_back(absl::StrCat(kReadyVariable, "=", kReadyFd));
  return entries;
}

std::vector<char*> Pointers(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  for (std::string& text : *texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Above the descriptors that the child rearranges; closed by its destructor.
class HighFd {
 public:
  explicit HighFd(int fd) : fd_(fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, 16)) {
    if (fd >= 0) ::close(fd);
  }
  ~HighFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  HighFd(const HighFd&) = delete;
  HighFd& operator=(const HighFd&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

pid_t Launched(const std::vector<std::string>& arguments, int input, int log, int ready) {
  std::vector<std::string> words = {"isthmus"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> entries = ChildEnvironment();
  const std::vector<char*> argv = Pointers(&words), envp = Pointers(&entries);
  Launch launch{::getpid(), input, log, ready, argv.data(), envp.data(), {}};
  // No handler of ours may run in the child while it lives on our memory.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &launch.signals);
  const pid_t pid = StartChild(launch);
  ::pthread_sigmask(SIG_SETMASK, &launch.signals, nullptr);
  return pid;
}

std::string LastLine(const std::string& path) {
  const auto text = ReadFile(path, int64_t{64} << 20);
  if (!text.ok()) return "";
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  if (lines.empty()) return "";
  return std::string(absl::StripPrefix(lines.back(), "isthmus: "));
}

int PortIn(const nlohmann::json& json, const char* name) {
  const auto it = json.find(name);
  return it != json.end() && it->is_number_unsigned() ? it->get<int>() : 0;
}

absl::StatusOr<ReadyPorts> ParseReady(const std::string& role, const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return Internal(role, ": expected its ports, got ", line);
  return ReadyPorts{PortIn(json, "grpc"), PortIn(json, "http")};
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::string& role, const std::vector<std::string>& arguments,
    const std::string& log_path) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return ResourceExhausted(role, ": expected a pipe, got ", std::strerror(errno));
  }
  HighFd ready(ends[0]), ready_write(ends[1]);
  const HighFd input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const HighFd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (log.get() < 0 || input.get() < 0) {
    return absl::FailedPreconditionError(absl::StrCat(log_path, ": expected to write the log of ",
                                                      role, ", got ", std::strerror(errno)));
  }
  const pid_t pid = Launched(arguments, input.get(), log.get(), ready_write.get());
  if (pid < 0) {
    return ResourceExhausted(role, ": expected to start a process, got ", std::strerror(errno));
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(role, log_path, pid, ready.Release()));
}

ChildProcess::~ChildProcess() {
  Kill();
  ::close(ready_fd_);
}

absl::StatusOr<ReadyPorts> ChildProcess::WaitReady(double wait_s) {
  const int64_t deadline_us = NowUs() + static_cast<int64_t>(wait_s * 1e6);
  std::string line;
  while (line.empty() || line.back() != '\n') {
    const int64_t left_ms = (deadline_us - NowUs()) / 1000;
    pollfd entry{ready_fd_, POLLIN, 0};
    const int polled = left_ms > 0 ? ::poll(&entry, 1, static_cast<int>(left_ms)) : 0;
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) {
      return Unavailable(role_, ": expected to be ready within ", wait_s, " s, got nothing (",
                         log_path_, ")");
    }
    char c = 0;
    const ssize_t n = ::read(ready_fd_, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      WaitEnd(1.0);  // its end of the pipe closes a moment before it can be reaped
      return Unavailable(
          Ended().value_or(absl::StrCat(role_, ": closed its pipe before it was ready")));
    }
    line.push_back(c);
  }
  return ParseReady(role_, line);
}

bool ChildProcess::Reap(bool block) {
  if (reaped_) return true;
  pid_t got;
  do {
    got = ::waitpid(pid_, &wait_status_, block ? 0 : WNOHANG);
  } while (got < 0 && errno == EINTR);
  reaped_ = got != 0;
  return reaped_;
}

std::optional<std::string> ChildProcess::Ended() {
  if (!Reap(false)) return std::nullopt;
  const std::string how = WIFSIGNALED(wait_status_)
                              ? absl::StrCat("signal ", WTERMSIG(wait_status_))
                              : absl::StrCat("exit status ", WEXITSTATUS(wait_status_));
  const std::string said = LastLine(log_path_);
  return absl::StrCat(role_, ": expected a running process, got ", how,
                      said.empty() ? "" : absl::StrCat(", ", said), " (", log_path_, ")");
}

void ChildProcess::Terminate() {
  if (!Reap(false)) ::kill(pid_, SIGTERM);
}

void ChildProcess::Kill() {
  if (Reap(false)) return;
  ::kill(pid_, SIGKILL);
  Reap(true);
}

bool ChildProcess::WaitEnd(double wait_s) {
  const int64_t deadline_us = NowUs() + static_cast<int64_t>(wait_s * 1e6);
  while (!Reap(false)) {
    if (NowUs() >= deadline_us) return false;
    ::usleep(kPollUs);
  }
  return true;
}

bool StartedByClient() { return std::getenv(kReadyVariable) != nullptr; }

void ReportReady(const ReadyPorts& ports) {
  const char* text = std::getenv(kReadyVariable);
  int fd = -1;
  if (text == nullptr || !absl::SimpleAtoi(text, &fd) || fd < kReadyFd) return;
  const std::string line = absl::StrCat("{\"grpc\":", ports.grpc, ",\"http\":", ports.http, "}\n");
  [[maybe_unused]] const ssize_t n = ::write(fd, line.data(), line.size());
  ::close(fd);
}

}  // namespace isthmus
