#include "tests/e2e/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

extern char** environ;

namespace isthmus::e2e {
namespace {

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Child::Child(const std::string& program, const std::vector<std::string>& arguments,
             const std::string& folder, const std::vector<std::string>& environment) {
  static std::atomic<int> number = 0;
  const std::string stem = folder + "/child-" + std::to_string(++number);
  out_ = stem + ".out";
  error_ = stem + ".err";
  std::vector<std::string> words = {program};
  name_ = arguments.empty() ? program : arguments[0];
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = environment;  // the first of a name counts
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, error_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::vector<char*> argv = Pointers(words), envp = Pointers(variables);
  if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data()) != 0) {
    ended_ = true;
    status_ = 127;
  }
  posix_spawn_file_actions_destroy(&actions);
}

Child::~Child() {
  const bool running = Running();
  if (running) {
    Signal(SIGKILL);
    Wait();
  }
  if (::testing::Test::HasFailure()) PrintEnd(running);
}

void Child::PrintEnd(bool killed) const {
  std::cerr << "of the failed test, " << name_ << (killed ? " (ran on):" : " (ended with ");
  if (!killed) std::cerr << status_ << "):";
  std::cerr << "\n" << Out() << Error() << std::endl;
}

void Child::Signal(int signal) {
  if (!ended_) ::kill(pid_, signal);
}

bool Child::Running() {
  if (ended_) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  ended_ = true;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

int Child::Wait() {
  if (!Eventually([this] { return !Running(); })) {
    Signal(SIGKILL);
    Eventually([this] { return !Running(); });
    return -1;
  }
  return status_;
}

std::string Child::Out() const { return FileText(out_); }
std::string Child::Error() const { return FileText(error_); }

bool Eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return condition();
}

std::string FileText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

int LineCount(const std::string& text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace isthmus::e2e
