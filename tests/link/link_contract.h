// What every carrier promises. Instantiated once per carrier: loopback_test.cc and
// grpc_link_test.cc.
#ifndef ISTHMUS_TESTS_LINK_LINK_CONTRACT_H_
#define ISTHMUS_TESTS_LINK_LINK_CONTRACT_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "base/thread.h"
#include "link/link.h"
#include "tests/link/recorder.h"

namespace isthmus {

// Two links joined by a carrier that can be told to fail.
class CarriedPair {
 public:
  virtual ~CarriedPair() = default;
  virtual void Cut() = 0;
  virtual void Silence() = 0;
  virtual void LoseForGood() = 0;
  std::unique_ptr<Link> first, second;
};
using CarrierFactory = std::function<std::unique_ptr<CarriedPair>(const LinkOptions& first,
                                                                  const LinkOptions& second)>;

class LinkContract : public ::testing::TestWithParam<CarrierFactory> {
 protected:
  void Open(const LinkOptions& first = TestOptions(), const LinkOptions& second = TestOptions()) {
    pair_ = GetParam()(first, second);
    ASSERT_NE(pair_, nullptr);
    pair_->first->Start(&at_first_);
    pair_->second->Start(&at_second_);
  }
  void TearDown() override { pair_.reset(); }

  Recorder at_first_, at_second_;  // outlive the links
  std::unique_ptr<CarriedPair> pair_;
};

TEST_P(LinkContract, KeepsOrderInBothDirections) {
  Open();
  for (uint32_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(pair_->first->Send(Numbered(i, i * 37)).ok());
    ASSERT_TRUE(pair_->second->Send(Numbered(i, i * 53)).ok());
  }
  ExpectInOrder(&at_second_, 200);
  ExpectInOrder(&at_first_, 200);
  EXPECT_EQ(pair_->first->stats().sent_frames, 200);
  EXPECT_EQ(pair_->first->stats().resent_frames, 0);
  EXPECT_EQ(pair_->second->stats().received_frames, 200);
}

TEST_P(LinkContract, CarriesEveryHeaderField) {
  Open();
  Frame frame = Numbered(7, 11, FrameKind::kGradient);
  frame.header.direction = 1;
  frame.header.flags = FrameHeader::kEvaluation;
  frame.header.edge = 513;
  frame.header.generation = 0xfedcba98;
  frame.header.step = uint64_t{1} << 60;
  ASSERT_TRUE(pair_->first->Send(frame).ok());
  ASSERT_TRUE(at_second_.WaitFrames(1));
  const FrameHeader got = at_second_.frames()[0].header;
  EXPECT_EQ(got.kind, FrameKind::kGradient);
  EXPECT_EQ(got.direction, 1);
  EXPECT_EQ(got.flags, FrameHeader::kEvaluation);
  EXPECT_EQ(got.edge, 513);
  EXPECT_EQ(got.generation, 0xfedcba98u);
  EXPECT_EQ(got.step, uint64_t{1} << 60);
  EXPECT_EQ(got.payload_bytes, 11u);
}

TEST_P(LinkContract, FramesBeforeStartAreKept) {
  pair_ = GetParam()(TestOptions(), TestOptions());
  for (uint32_t i = 0; i < 20; ++i) ASSERT_TRUE(pair_->first->Send(Numbered(i, 100)).ok());
  pair_->second->Start(&at_second_);
  ExpectInOrder(&at_second_, 20);
}

TEST_P(LinkContract, LargeFrames) {
  Open();
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(pair_->first->Send(Numbered(i, 9 << 20)).ok());
  ExpectInOrder(&at_second_, 3);
}

TEST_P(LinkContract, AFrameLargerThanTheWindowPassesAlone) {
  LinkOptions options = TestOptions();
  options.window_bytes = 64 << 10;
  Open(options, options);
  for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(pair_->first->Send(Numbered(i, 1 << 20)).ok());
  ExpectInOrder(&at_second_, 4);
  EXPECT_LE(pair_->first->stats().peak_queued_bytes, (1 << 20) + FrameHeader::kBytes);
}

TEST_P(LinkContract, OwnPayloadLimit) {
  LinkOptions options = TestOptions();
  options.max_payload_bytes = 1000;
  Open(options, options);
  EXPECT_EQ(pair_->first->Send(Numbered(0, 1001)).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(pair_->first->Send(Numbered(0, 1000)).ok());
  ExpectInOrder(&at_second_, 1);
}

TEST_P(LinkContract, APeersPayloadLimitEndsTheLinkAtTheSender) {
  LinkOptions small = TestOptions();
  small.max_payload_bytes = 1000;
  Open(TestOptions(), small);
  ASSERT_TRUE(pair_->first->Send(Numbered(0, 100'000)).ok());
  const auto closed = at_first_.WaitClosed();
  ASSERT_TRUE(closed.has_value());
  EXPECT_FALSE(closed->ok());
  EXPECT_EQ(at_second_.count(), 0u);
}

TEST_P(LinkContract, ExactlyOnceOverForcedReconnects) {
  Open();
  constexpr uint32_t kFrames = 600;
  std::atomic<bool> done{false};
  Thread cutter("cutter", [&] {
    for (int i = 0; i < 20 && !done; ++i) {
      at_second_.WaitFrames(static_cast<size_t>(i) * 25);
      pair_->Cut();
    }
  });
  Thread other("other", [&] {
    for (uint32_t i = 0; i < kFrames; ++i)
      ASSERT_TRUE(pair_->second->Send(Numbered(i, (i * 131) % 3000)).ok());
  });
  for (uint32_t i = 0; i < kFrames; ++i) {
    // One for certain: the cutter may come to run when all is done.
    if (i == kFrames / 2) pair_->Cut();
    ASSERT_TRUE(pair_->first->Send(Numbered(i, (i * 977) % 20'000)).ok());
  }
  ExpectInOrder(&at_second_, kFrames);
  ExpectInOrder(&at_first_, kFrames);
  done = true;
  cutter.Join();
  EXPECT_GT(pair_->first->stats().reconnects, 0);
  EXPECT_EQ(at_first_.closes() + at_second_.closes(), 0);
}

TEST_P(LinkContract, WindowBlocksAndWakes) {
  LinkOptions options = TestOptions();
  options.window_bytes = 100'000;
  Open(options, options);
  at_second_.Hold(true);
  constexpr uint32_t kFrames = 60;
  std::atomic<uint32_t> sent{0};
  Thread sender("sender", [&] {
    for (uint32_t i = 0; i < kFrames; ++i) {
      ASSERT_TRUE(pair_->first->Send(Numbered(i, 10'000)).ok());
      ++sent;
    }
  });
  // A window at the sender; what the receiver read before its window filled is not acknowledged and
  // counts as well.
  while (pair_->first->stats().queued_bytes < 90'000) std::this_thread::yield();
  EXPECT_LT(sent.load(), 20u);
  at_second_.Hold(false);
  ExpectInOrder(&at_second_, kFrames);
  EXPECT_LE(pair_->first->stats().peak_queued_bytes, 100'000);
}

TEST_P(LinkContract, ASenderThatWaitsIsWokenByTheEnd) {
  LinkOptions options = TestOptions();
  options.window_bytes = 50'000;
  options.reconnect_us = 300'000;
  Open(options, options);
  at_second_.Hold(true);
  absl::Status last;
  Thread sender("sender", [&] {
    for (uint32_t i = 0; last.ok(); ++i) last = pair_->first->Send(Numbered(i, 10'000));
  });
  while (pair_->first->stats().queued_bytes < 40'000) std::this_thread::yield();
  pair_->LoseForGood();
  sender.Join();
  EXPECT_EQ(last.code(), absl::StatusCode::kUnavailable);
  at_second_.Hold(false);
}

TEST_P(LinkContract, CloseFlushesInOrder) {
  Open();
  constexpr uint32_t kFrames = 100;
  for (uint32_t i = 0; i < kFrames; ++i) ASSERT_TRUE(pair_->first->Send(Numbered(i, 5000)).ok());
  const absl::Status closed = pair_->first->Close(kTestWaitUs);
  EXPECT_TRUE(closed.ok()) << closed;
  EXPECT_EQ(at_second_.count(), kFrames);  // acknowledged is delivered
  EXPECT_EQ(at_second_.WaitClosed(), absl::OkStatus());
  EXPECT_EQ(at_first_.WaitClosed(), absl::OkStatus());
  ExpectInOrder(&at_second_, kFrames);
  EXPECT_EQ(pair_->first->Send(Numbered(0, 1)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(pair_->second->Send(Numbered(0, 1)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(at_first_.closes(), 1);
  EXPECT_EQ(at_second_.closes(), 1);
}

TEST_P(LinkContract, CloseSaysWhatItCouldNotFlush) {
  Open();
  at_second_.Hold(true);
  ASSERT_TRUE(pair_->first->Send(Numbered(0, 10)).ok());
  EXPECT_EQ(pair_->first->Close(50'000).code(), absl::StatusCode::kDeadlineExceeded);
  at_second_.Hold(false);
  const auto closed = at_second_.WaitClosed();
  ASSERT_TRUE(closed.has_value());
  EXPECT_FALSE(closed->ok());
}

TEST_P(LinkContract, PeerThatIsGoneEndsTheLink) {
  LinkOptions options = TestOptions();
  options.reconnect_us = 300'000;
  Open(options, options);
  ASSERT_TRUE(pair_->first->Send(Numbered(0, 10)).ok());
  ASSERT_TRUE(at_second_.WaitFrames(1));
  pair_->LoseForGood();
  for (Recorder* recorder : {&at_first_, &at_second_}) {
    const auto closed = recorder->WaitClosed();
    ASSERT_TRUE(closed.has_value());
    EXPECT_EQ(closed->code(), absl::StatusCode::kUnavailable) << *closed;
    EXPECT_EQ(recorder->closes(), 1);
  }
  EXPECT_EQ(pair_->second->Send(Numbered(0, 1)).code(), absl::StatusCode::kUnavailable);
}

TEST_P(LinkContract, DestroyedPeerEndsTheLink) {
  LinkOptions options = TestOptions();
  options.reconnect_us = 300'000;
  Open(options, options);
  pair_->second.reset();
  const auto closed = at_first_.WaitClosed();
  ASSERT_TRUE(closed.has_value());
  EXPECT_EQ(closed->code(), absl::StatusCode::kUnavailable);
}

TEST_P(LinkContract, SilentConnectionIsNoticedAndReplaced) {
  LinkOptions options = TestOptions();
  options.keepalive_us = 50'000;
  Open(options, options);
  ASSERT_TRUE(pair_->first->Send(Numbered(0, 10)).ok());
  ASSERT_TRUE(at_second_.WaitFrames(1));
  pair_->Silence();
  for (uint32_t i = 1; i < 30; ++i) ASSERT_TRUE(pair_->first->Send(Numbered(i, 10)).ok());
  ExpectInOrder(&at_second_, 30);
  EXPECT_GE(pair_->first->stats().reconnects, 1);
}

TEST_P(LinkContract, IdleLinkStaysUp) {
  LinkOptions options = TestOptions();
  options.keepalive_us = 20'000;
  options.reconnect_us = 100'000;
  Open(options, options);
  // A long local step: neither side sends for thirty keep-alive periods. The links' own threads
  // keep it alive.
  ASSERT_TRUE(pair_->first->Send(Numbered(0, 10)).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  ASSERT_TRUE(pair_->first->Send(Numbered(1, 10)).ok());
  ExpectInOrder(&at_second_, 2);
  EXPECT_EQ(pair_->first->stats().reconnects, 0);
  EXPECT_EQ(at_first_.closes(), 0);
}

TEST_P(LinkContract, DestructionWhileSending) {
  Open();
  for (uint32_t i = 0; i < 50; ++i) ASSERT_TRUE(pair_->first->Send(Numbered(i, 100'000)).ok());
  pair_->first.reset();
  pair_->second.reset();
  EXPECT_TRUE(at_second_.sound());
}

TEST_P(LinkContract, CountsBytesAsTheWireFormatDoes) {
  Open();
  ASSERT_TRUE(pair_->first->Send(Numbered(0, 40'000)).ok());
  ExpectInOrder(&at_second_, 1);
  EXPECT_GE(pair_->first->stats().sent_bytes,
            40'000 + WireHeaderBytes(40'000, pair_->first->tls()));
  EXPECT_EQ(pair_->second->stats().received_bytes,
            40'000 + WireHeaderBytes(40'000, pair_->second->tls()));
}

}  // namespace isthmus

#endif  // ISTHMUS_TESTS_LINK_LINK_CONTRACT_H_
