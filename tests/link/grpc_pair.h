// A server and a dialler on this machine, joined by gRPC.
#ifndef ISTHMUS_TESTS_LINK_GRPC_PAIR_H_
#define ISTHMUS_TESTS_LINK_GRPC_PAIR_H_

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "link/grpc_link.h"
#include "tests/link/recorder.h"

namespace isthmus {

// Keeps the links that a server opened.
class OpenedLinks {
 public:
  LinkServer::Opened Callback() {
    return [this](const LinkIdentity& identity, std::unique_ptr<Link> link) {
      MutexLock lock(&mutex_);
      identities_.push_back(identity);
      links_.push_back(std::move(link));
      changed_.SignalAll();
    };
  }
  // The next link; null when none comes.
  std::unique_ptr<Link> Wait(LinkIdentity* identity = nullptr) {
    const int64_t limit = NowUs() + kTestWaitUs;
    MutexLock lock(&mutex_);
    while (links_.empty() && NowUs() < limit) {
      changed_.WaitUntil(&mutex_,
                         std::chrono::steady_clock::time_point(std::chrono::microseconds(limit)));
    }
    if (links_.empty()) return nullptr;
    std::unique_ptr<Link> link = std::move(links_.front());
    links_.erase(links_.begin());
    if (identity != nullptr) *identity = identities_.front();
    identities_.erase(identities_.begin());
    return link;
  }
  size_t count() {
    MutexLock lock(&mutex_);
    return links_.size();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<LinkIdentity> identities_;
  std::vector<std::unique_ptr<Link>> links_;
};

inline absl::Status AcceptAll(const LinkIdentity&) { return absl::OkStatus(); }

inline std::string LoopbackAddress(int port) { return absl::StrCat("127.0.0.1:", port); }

inline LinkIdentity TestIdentity() { return {"job-1", "secret", 3, 0, 1}; }

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_LINK_GRPC_PAIR_H_
