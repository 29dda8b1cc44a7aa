// A man in the middle of a worker's links, who knows frames when he sees them: the moment in which
// a process is killed is then a place in the protocol, not a time.
#ifndef ISTHMUS_TESTS_E2E_FRAME_SPY_H_
#define ISTHMUS_TESTS_E2E_FRAME_SPY_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace isthmus::e2e {

// A frame on its way, as docs/wire_format.md draws it.
struct SeenFrame {
  bool to_worker = false;
  int kind = 0;
  int flags = 0;
  uint64_t step = 0;
  int packet = 0;  // of a control frame: the field of packet.proto; 0 for a hello or a welcome
};

// Accepts at a loopback port and passes bytes both ways to the worker's own. Plain text only.
class FrameSpy {
 public:
  // `on_frame` runs before the frame's last bytes are passed on, one call at a time; when it says
  // false they are not, and the connection ends.
  FrameSpy(int worker_port, std::function<bool(const SeenFrame&)> on_frame);
  ~FrameSpy();
  FrameSpy(const FrameSpy&) = delete;
  FrameSpy& operator=(const FrameSpy&) = delete;
  int port() const { return port_; }

 private:
  void Accept();
  void Pass(int dialler);
  bool Look(bool to_worker, std::string* unread, const char* bytes, size_t size);

  const int worker_port_;
  const std::function<bool(const SeenFrame&)> on_frame_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> over_{false};
  std::mutex looking_;
  std::list<std::thread> connections_;
  std::thread accept_;
};

}  // namespace isthmus::e2e

#endif  // ISTHMUS_TESTS_E2E_FRAME_SPY_H_
