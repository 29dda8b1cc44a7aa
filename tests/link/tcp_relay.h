// A TCP forwarder between two sockets of this machine that can be told to fail: what a network does
// to a gRPC stream.
#ifndef ISTHMUS_TESTS_LINK_TCP_RELAY_H_
#define ISTHMUS_TESTS_LINK_TCP_RELAY_H_

#include <cstdint>
#include <list>
#include <string>

#include "base/mutex.h"
#include "base/thread.h"

namespace isthmus {

class TcpRelay {
 public:
  explicit TcpRelay(int target_port);
  ~TcpRelay();
  int port() const { return port_; }

  void Cut();          // every present connection, at once
  void LoseForGood();  // and every later one
  void Silence();      // present connections carry nothing any more and stay open
  void CutAfter(
      int64_t bytes);  // breaks when so many further bytes went through (both directions together)
  int64_t bytes() const;  // forwarded so far

 private:
  struct Pipe {
    int client = -1, server = -1;
    std::string to_server, to_client;
    bool silent = false;
    bool broken = false;
  };
  void Run();
  void AcceptOne() ISTHMUS_REQUIRES(mutex_);
  void Forward(Pipe* pipe, bool client_readable, bool server_readable) ISTHMUS_REQUIRES(mutex_);
  void Read(int from, std::string* buffer, Pipe* pipe) ISTHMUS_REQUIRES(mutex_);
  void Flush(int to, std::string* buffer, Pipe* pipe) ISTHMUS_REQUIRES(mutex_);
  void Wake();

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  int wake_[2] = {-1, -1};
  mutable Mutex mutex_;
  std::list<Pipe> pipes_ ISTHMUS_GUARDED_BY(mutex_);
  bool refuse_ ISTHMUS_GUARDED_BY(mutex_) = false;
  bool stopping_ ISTHMUS_GUARDED_BY(mutex_) = false;
  int64_t bytes_ ISTHMUS_GUARDED_BY(mutex_) = 0;
  int64_t cut_at_ ISTHMUS_GUARDED_BY(mutex_) = -1;
  Thread thread_;
};

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_LINK_TCP_RELAY_H_
