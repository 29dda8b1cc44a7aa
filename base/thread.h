// A named thread that is joined by its destructor. Names show in top -H and in a debugger (15
// characters at most).
#ifndef ISTHMUS_BASE_THREAD_H_
#define ISTHMUS_BASE_THREAD_H_

#include <functional>
#include <string>
#include <thread>

namespace isthmus {

class Thread {
 public:
  Thread() = default;
  Thread(std::string name, std::function<void()> body);
  Thread(Thread&&) = default;
  Thread& operator=(Thread&& other);
  ~Thread() { Join(); }
  void Join();  // idempotent
  bool running() const { return thread_.joinable(); }

 private:
  std::thread thread_;
};

}  // namespace isthmus

#endif  // ISTHMUS_BASE_THREAD_H_
