#include "tests/link/tcp_relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "base/check.h"

namespace isthmus {
namespace {

constexpr size_t kBufferBytes = 256 << 10;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// A reset, as a crashed peer or a dropped route gives it, not an orderly end.
void Reset(int fd) {
  const linger abrupt{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
  close(fd);
}

}  // namespace

TcpRelay::TcpRelay(int target_port) : target_port_(target_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  ISTHMUS_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
                listen(listener_, 64) == 0);
  socklen_t length = sizeof(address);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin_port);
  ISTHMUS_CHECK(pipe2(wake_, O_NONBLOCK | O_CLOEXEC) == 0);
  thread_ = Thread("relay", [this] { Run(); });
}

TcpRelay::~TcpRelay() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Wake();
  thread_.Join();
  for (Pipe& pipe : pipes_) {
    Reset(pipe.client);
    Reset(pipe.server);
  }
  close(listener_);
  close(wake_[0]);
  close(wake_[1]);
}

void TcpRelay::Wake() {
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(wake_[1], &byte, 1);
}

void TcpRelay::Cut() {
  {
    MutexLock lock(&mutex_);
    for (Pipe& pipe : pipes_) pipe.broken = true;
  }
  Wake();
}

void TcpRelay::LoseForGood() {
  {
    MutexLock lock(&mutex_);
    refuse_ = true;
  }
  Cut();
}

void TcpRelay::Silence() {
  MutexLock lock(&mutex_);
  for (Pipe& pipe : pipes_) pipe.silent = true;
}

void TcpRelay::CutAfter(int64_t bytes) {
  MutexLock lock(&mutex_);
  cut_at_ = bytes_ + bytes;
}

int64_t TcpRelay::bytes() const {
  MutexLock lock(&mutex_);
  return bytes_;
}

void TcpRelay::AcceptOne() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  if (refuse_) return Reset(client);
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(target_port_);
  if (connect(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    close(server);
    return Reset(client);
  }
  fcntl(server, F_SETFL, O_NONBLOCK);
  const int on = 1;
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  Pipe pipe;
  pipe.client = client;
  pipe.server = server;
  pipes_.push_back(std::move(pipe));
}

void TcpRelay::Read(int from, std::string* buffer, Pipe* pipe) {
  std::array<char, 65536> chunk;
  const ssize_t n = recv(from, chunk.data(), chunk.size(), 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) pipe->broken = true;
  if (n > 0) buffer->append(chunk.data(), static_cast<size_t>(n));
}

void TcpRelay::Flush(int to, std::string* buffer, Pipe* pipe) {
  size_t allowed = buffer->size();
  if (cut_at_ >= 0) allowed = std::min<size_t>(allowed, static_cast<size_t>(cut_at_ - bytes_));
  if (allowed > 0) {
    const ssize_t n = send(to, buffer->data(), allowed, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) pipe->broken = true;
    if (n > 0) {
      buffer->erase(0, static_cast<size_t>(n));
      bytes_ += n;
    }
  }
  if (cut_at_ >= 0 && bytes_ >= cut_at_) {
    cut_at_ = -1;
    pipe->broken = true;
  }
}

void TcpRelay::Forward(Pipe* pipe, bool client_readable, bool server_readable) {
  if (client_readable) Read(pipe->client, &pipe->to_server, pipe);
  if (server_readable) Read(pipe->server, &pipe->to_client, pipe);
  if (!pipe->broken) Flush(pipe->server, &pipe->to_server, pipe);
  if (!pipe->broken) Flush(pipe->client, &pipe->to_client, pipe);
}

void TcpRelay::Run() {
  while (true) {
    std::vector<pollfd> fds = {{wake_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
    std::vector<Pipe*> pipes;
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
      for (auto it = pipes_.begin(); it != pipes_.end();) {
        if (it->broken) {
          Reset(it->client);
          Reset(it->server);
          it = pipes_.erase(it);
          continue;
        }
        if (!it->silent) {
          const auto events = [](const std::string& in, const std::string& out) {
            return static_cast<int16_t>((in.size() < kBufferBytes ? POLLIN : 0) |
                                        (out.empty() ? 0 : POLLOUT));
          };
          fds.push_back({it->client, events(it->to_server, it->to_client), 0});
          fds.push_back({it->server, events(it->to_client, it->to_server), 0});
          pipes.push_back(&*it);
        }
        ++it;
      }
    }
    poll(fds.data(), fds.size(), -1);
    char drained[64];
    while (read(wake_[0], drained, sizeof(drained)) > 0) {
    }
    MutexLock lock(&mutex_);
    if ((fds[1].revents & POLLIN) != 0) AcceptOne();
    for (size_t i = 0; i < pipes.size(); ++i) {
      constexpr int kReadable = POLLIN | POLLHUP | POLLERR;
      if (pipes[i]->silent || pipes[i]->broken) continue;
      Forward(pipes[i], (fds[2 + 2 * i].revents & kReadable) != 0,
              (fds[3 + 2 * i].revents & kReadable) != 0);
    }
  }
}

}  // namespace isthmus
