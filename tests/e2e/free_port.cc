#include "tests/e2e/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <fstream>
#include <random>

namespace isthmus::e2e {
namespace {

constexpr int kFirst = 10000;

// One past the last port that is never given to an outgoing connection.
int End() {
  int first_ephemeral = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first_ephemeral;
  return first_ephemeral > kFirst + 1000 ? first_ephemeral : 32768;
}

bool IsFree(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return bound;
}

}  // namespace

int FreePort() {
  static const int count = End() - kFirst;
  static std::atomic<uint32_t> next = std::random_device()();
  for (int tries = 0; tries < count; ++tries) {
    const int port = kFirst + static_cast<int>(next++ % static_cast<uint32_t>(count));
    if (IsFree(port)) return port;
  }
  return 0;
}

}  // namespace isthmus::e2e
