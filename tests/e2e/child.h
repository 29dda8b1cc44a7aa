// A program under test: started, watched, signalled, and never left behind.
#ifndef ISTHMUS_TESTS_E2E_CHILD_H_
#define ISTHMUS_TESTS_E2E_CHILD_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace isthmus::e2e {

class Child {
 public:
  // Runs `program` with `arguments`; both of its outputs go to files below `folder`. `environment`:
  // "NAME=value" on top of ours.
  Child(const std::string& program, const std::vector<std::string>& arguments,
        const std::string& folder, const std::vector<std::string>& environment = {});
  // Kills what still runs. After a failure the test's log gets what the program said: the reason is
  // often with a process that the test did not look at.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void Signal(int signal);
  // Exit status, or 128 + signal. -1 when it still ran after two minutes (it is killed then).
  int Wait();
  bool Running();
  std::string Out() const;
  std::string Error() const;
  pid_t pid() const { return pid_; }

 private:
  void PrintEnd(bool killed) const;

  pid_t pid_ = -1;
  int status_ = -1;
  bool ended_ = false;
  std::string name_, out_, error_;
};

// Asks every 20 ms; false when `condition` did not come true within two minutes.
bool Eventually(const std::function<bool()>& condition);

// The whole file, or nothing when it cannot be read.
std::string FileText(const std::string& path);
int LineCount(const std::string& text);

}  // namespace isthmus::e2e

#endif  // ISTHMUS_TESTS_E2E_CHILD_H_
