#include "bench/process.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

extern char** environ;

namespace isthmus::bench {
namespace {

std::string ReadAll(int fd) {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got > 0) text.append(buffer, static_cast<size_t>(got));
    if (got == 0 || (got < 0 && errno != EINTR)) return text;
  }
}

}  // namespace

absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& arguments) {
  const std::string shown = absl::StrJoin(arguments, " ");
  int ends[2];
  if (::pipe(ends) != 0) return absl::InternalError("no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return absl::InternalError(absl::StrCat("cannot start: ", shown));
  }
  const std::string text = ReadAll(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::InternalError(
        absl::StrCat("ended with ", WIFEXITED(status) ? WEXITSTATUS(status) : -1, ": ", shown));
  }
  return text;
}

absl::StatusOr<nlohmann::json> RunJson(const std::vector<std::string>& arguments) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, RunProgram(arguments));
  nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
  if (!document.is_object()) {
    return absl::InternalError(
        absl::StrCat("expected one JSON object from: ", absl::StrJoin(arguments, " ")));
  }
  return document;
}

}  // namespace isthmus::bench
