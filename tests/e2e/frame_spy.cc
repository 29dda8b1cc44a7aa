#include "tests/e2e/frame_spy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "link/frame.h"

namespace isthmus::e2e {
namespace {

constexpr int kPollMs = 50;          // how soon the spy notices that the test is over
constexpr size_t kHeaderBytes = 48;  // and two of the payload tell which packet it is
constexpr char kMagic[] = {'I', 'S', 'T', 'H', kWireVersion & 0xff, kWireVersion >> 8};
constexpr int kControl = 6;

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

template <typename T>
T Number(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The field number of a message that holds one field: a varint tag of one or two bytes.
int FieldOf(const char* payload) {
  const int first = static_cast<uint8_t>(payload[0]), second = static_cast<uint8_t>(payload[1]);
  return (first < 0x80 ? first : (first & 0x7f) | (second << 7)) >> 3;
}

bool SendAll(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t n = ::send(fd, bytes, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

FrameSpy::FrameSpy(int worker_port, std::function<bool(const SeenFrame&)> on_frame)
    : worker_port_(worker_port), on_frame_(std::move(on_frame)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
  ::listen(listener_, 16);
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  accept_ = std::thread([this] { Accept(); });
}

FrameSpy::~FrameSpy() {
  over_ = true;
  accept_.join();
  for (std::thread& connection : connections_) connection.join();
  ::close(listener_);
}

void FrameSpy::Accept() {
  while (!over_) {
    pollfd ready = {listener_, POLLIN, 0};
    if (::poll(&ready, 1, kPollMs) <= 0) continue;
    const int dialler = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (dialler >= 0) connections_.emplace_back([this, dialler] { Pass(dialler); });
  }
}

void FrameSpy::Pass(int dialler) {
  const int worker = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(worker_port_);
  bool open = ::connect(worker, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  pollfd ends[2] = {{dialler, POLLIN, 0}, {worker, POLLIN, 0}};
  std::string unread[2];
  char bytes[65536];
  while (open && !over_) {
    if (::poll(ends, 2, kPollMs) <= 0) continue;
    for (int from = 0; from < 2 && open; ++from) {
      if (ends[from].revents == 0) continue;
      const ssize_t n = ::recv(ends[from].fd, bytes, sizeof bytes, 0);
      open = n > 0;
      if (!open) break;
      open = Look(from == 0, &unread[from], bytes, static_cast<size_t>(n)) &&
             SendAll(ends[1 - from].fd, bytes, static_cast<size_t>(n));
    }
  }
  ::close(dialler);
  ::close(worker);
}

// Finds headers in the stream of HTTP/2 data frames; one that such a frame's own header cuts in two
// is missed.
bool FrameSpy::Look(bool to_worker, std::string* unread, const char* bytes, size_t size) {
  unread->append(bytes, size);
  size_t at = 0;
  for (;;) {
    const size_t found = unread->find(kMagic, at, sizeof kMagic);
    if (found == std::string::npos) {
      at = unread->size() - std::min(unread->size(), sizeof kMagic - 1);
      break;
    }
    at = found;
    const char* header = unread->data() + found;
    const bool empty = unread->size() - found >= kHeaderBytes && Number<uint32_t>(header + 36) == 0;
    if (unread->size() - found < kHeaderBytes + (empty ? 0 : 2)) break;
    SeenFrame frame{to_worker, header[6], header[8], Number<uint64_t>(header + 16), 0};
    const bool handshake = Number<uint64_t>(header + 28) == 0;
    if (frame.kind == kControl && !handshake && !empty)
      frame.packet = FieldOf(header + kHeaderBytes);
    {
      const std::lock_guard<std::mutex> lock(looking_);
      if (!on_frame_(frame)) return false;
    }
    at = found + kHeaderBytes;
  }
  unread->erase(0, at);
  return true;
}

}  // namespace isthmus::e2e
