#include "client/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"

namespace isthmus {
namespace {

std::atomic<int> g_signal{0};
std::atomic<bool> g_again{false};
static_assert(std::atomic<int>::is_always_lock_free, "the handler stores to it");
int g_pipe[2] = {-1, -1};  // a byte in it wakes Wait

void OnSignal(int number) {
  const int saved_errno = errno;
  int none = 0;
  if (!g_signal.compare_exchange_strong(none, number)) {
    g_again = true;
    if (number == SIGINT) ::_exit(128 + SIGINT);
  }
  [[maybe_unused]] const ssize_t n = ::write(g_pipe[1], "", 1);
  errno = saved_errno;
}

void Catch(int number) {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  ::sigaction(number, &action, nullptr);
}

}  // namespace

void Interrupt::Install() {
  ISTHMUS_CHECK(::pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) == 0);
  ::signal(SIGPIPE, SIG_IGN);
  Catch(SIGTERM);
  // Children of an embedded cluster ignore Ctrl-C: it is the client that ends them, after its
  // checkpoint.
  struct sigaction earlier {};
  ::sigaction(SIGINT, nullptr, &earlier);
  if (earlier.sa_handler != SIG_IGN) Catch(SIGINT);
}

int Interrupt::Signal() { return g_signal.load(); }

bool Interrupt::Again() { return g_again.load(); }

const std::atomic<int>* Interrupt::flag() { return &g_signal; }

void Interrupt::Wait() {
  while (g_signal.load() == 0) {
    pollfd entry{g_pipe[0], POLLIN, 0};
    ::poll(&entry, 1, -1);
  }
}

}  // namespace isthmus
