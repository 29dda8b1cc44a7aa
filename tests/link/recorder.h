// A listener that remembers what it was told, and frames that say which they are.
#ifndef ISTHMUS_TESTS_LINK_RECORDER_H_
#define ISTHMUS_TESTS_LINK_RECORDER_H_

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "link/link.h"

namespace isthmus {

// Generous: only a test that fails waits so long.
inline constexpr int64_t kTestWaitUs = 30'000'000;

class Recorder : public LinkListener {
 public:
  void OnFrame(Frame frame) override {
    overlapped_ = overlapped_ || inside_.exchange(true);
    {
      MutexLock lock(&mutex_);
      while (held_) changed_.Wait(&mutex_);
      if (closed_.has_value()) frame_after_close_ = true;
      bytes_ += static_cast<int64_t>(frame.payload.size());
      frames_.push_back(std::move(frame));
      changed_.SignalAll();
    }
    inside_ = false;
  }
  void OnClosed(absl::Status status) override {
    overlapped_ = overlapped_ || inside_.load();
    MutexLock lock(&mutex_);
    ++closes_;
    closed_ = std::move(status);
    changed_.SignalAll();
  }

  // A slow reader: OnFrame does not return while held.
  void Hold(bool held) {
    MutexLock lock(&mutex_);
    held_ = held;
    changed_.SignalAll();
  }
  bool WaitFrames(size_t count) {
    return Wait([&] { return frames_.size() >= count; });
  }
  // The status OnClosed brought; nullopt when none came.
  std::optional<absl::Status> WaitClosed() {
    Wait([&] { return closed_.has_value(); });
    MutexLock lock(&mutex_);
    return closed_;
  }
  std::vector<Frame> frames() {
    MutexLock lock(&mutex_);
    return frames_;
  }
  size_t count() {
    MutexLock lock(&mutex_);
    return frames_.size();
  }
  int64_t bytes() {
    MutexLock lock(&mutex_);
    return bytes_;
  }
  int closes() {
    MutexLock lock(&mutex_);
    return closes_;
  }
  bool sound() {
    MutexLock lock(&mutex_);
    return !overlapped_ && !frame_after_close_;
  }

 private:
  template <typename Ready>
  bool Wait(Ready ready) {
    const int64_t limit = NowUs() + kTestWaitUs;
    MutexLock lock(&mutex_);
    while (!ready()) {
      if (NowUs() >= limit) return false;
      changed_.WaitUntil(&mutex_,
                         std::chrono::steady_clock::time_point(std::chrono::microseconds(limit)));
    }
    return true;
  }

  std::atomic<bool> inside_{false};
  std::atomic<bool> overlapped_{false};
  Mutex mutex_;
  CondVar changed_;
  std::vector<Frame> frames_;
  std::optional<absl::Status> closed_;
  int64_t bytes_ = 0;
  int closes_ = 0;
  bool held_ = false;
  bool frame_after_close_ = false;
};

inline LinkOptions TestOptions() {
  LinkOptions options;
  options.reconnect_us = 5'000'000;
  options.keepalive_us = 500'000;
  return options;
}

// A frame that says which it is.
inline Frame Numbered(uint32_t number, size_t payload_bytes,
                      FrameKind kind = FrameKind::kActivation) {
  Frame frame;
  frame.header.kind = kind;
  frame.header.micro_batch = number;
  frame.header.step = uint64_t{number} * 3;
  frame.payload.assign(payload_bytes, static_cast<uint8_t>(number));
  if (payload_bytes >= 4) std::memcpy(frame.payload.data(), &number, 4);
  return frame;
}

inline void ExpectInOrder(Recorder* recorder, uint32_t count) {
  ASSERT_TRUE(recorder->WaitFrames(count));
  const std::vector<Frame> frames = recorder->frames();
  ASSERT_EQ(frames.size(), count);
  for (uint32_t i = 0; i < count; ++i) {
    ASSERT_EQ(frames[i].header.micro_batch, i);
    ASSERT_EQ(frames[i].header.sequence, i + 1);
    ASSERT_EQ(frames[i].payload, Numbered(i, frames[i].payload.size()).payload);
  }
  EXPECT_TRUE(recorder->sound());
}

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_LINK_RECORDER_H_
