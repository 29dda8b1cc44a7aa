#include "link/outbox.h"

#include <gtest/gtest.h>

namespace isthmus {
namespace {

Frame Payload(size_t bytes) {
  Frame frame;
  frame.payload.assign(bytes, 1);
  return frame;
}

class OutboxTest : public ::testing::Test {
 protected:
  // The sequence number of the next message, 0 for an own frame, -1 for none.
  int64_t Next(Outbox* outbox, int64_t now_us = 0) {
    last_ = outbox->Next(now_us, delivered_, &stats_, &wake_us_);
    return last_ == nullptr ? -1 : static_cast<int64_t>(last_->header().sequence);
  }
  uint64_t delivered_ = 0;
  LinkStats stats_;
  int64_t wake_us_ = 0;
  SealedFramePtr last_;
};

TEST_F(OutboxTest, NumbersFromOneAndKeepsUntilAcknowledged) {
  Outbox outbox(nullptr, false);
  outbox.Add(Payload(10), 0);
  outbox.Add(Payload(20), 0);
  EXPECT_EQ(outbox.bytes(), 10 + 20 + 2 * FrameHeader::kBytes);
  EXPECT_EQ(Next(&outbox), 1);
  EXPECT_EQ(Next(&outbox), 2);
  EXPECT_EQ(Next(&outbox), -1);
  EXPECT_TRUE(outbox.Acknowledge(1));
  EXPECT_EQ(outbox.bytes(), 20 + FrameHeader::kBytes);
  EXPECT_FALSE(outbox.Acknowledge(3));  // never sent
  EXPECT_TRUE(outbox.Acknowledge(2));
  EXPECT_TRUE(outbox.Acknowledge(1));  // late, harmless
  EXPECT_TRUE(outbox.empty());
}

TEST_F(OutboxTest, RewindSendsTheSameBytesAgain) {
  Outbox outbox(nullptr, false);
  for (int i = 0; i < 3; ++i) outbox.Add(Payload(10), 0);
  EXPECT_EQ(Next(&outbox), 1);
  EXPECT_EQ(Next(&outbox), 2);
  const SealedFramePtr second = last_;
  EXPECT_TRUE(outbox.Rewind(1));
  EXPECT_EQ(Next(&outbox), 2);
  EXPECT_EQ(last_, second);  // encoded once
  Bytes message(last_->head(), last_->head() + FrameHeader::kBytes);
  message.insert(message.end(), last_->payload().begin(), last_->payload().end());
  const absl::Span<const uint8_t> piece = message;
  const absl::StatusOr<Frame> parsed = ParseFrame({&piece, 1}, 100);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->header.sequence, 2u);
  EXPECT_EQ(parsed->payload, Payload(10).payload);
  EXPECT_EQ(Next(&outbox), 3);
  EXPECT_EQ(stats_.resent_frames, 1);
  EXPECT_EQ(stats_.resent_bytes, 10 + WireHeaderBytes(10, false));
  EXPECT_EQ(stats_.sent_frames, 4);
  EXPECT_FALSE(outbox.Rewind(9));
}

// Every byte of a resent frame is in one row of what its sender counts it under.
TEST_F(OutboxTest, ResentBytesAreInTheRowOfTheirFrame) {
  Outbox outbox(nullptr, true);
  const auto add = [&outbox](size_t bytes, FrameAccount account) {
    Frame frame = Payload(bytes);
    frame.account = account;
    outbox.Add(std::move(frame), 0);
  };
  add(100, {true, 2, 1, 0, 30});
  add(50, {});  // of no row
  add(20, {true, 2, 1, 0, 5});
  add(40, {true, 2, 1, 1, 0});
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(Next(&outbox), i);
  EXPECT_TRUE(outbox.TakeResent().empty());
  EXPECT_TRUE(outbox.Rewind(0));
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(Next(&outbox), i);
  const std::vector<ResentRow> rows = outbox.TakeResent();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].edge, 2);
  EXPECT_EQ(rows[0].direction, 1);
  EXPECT_EQ(rows[0].traffic, 0);
  EXPECT_EQ(rows[0].frames, 2);
  EXPECT_EQ(rows[0].payload_bytes, 70 + 15);
  EXPECT_EQ(rows[0].side_bytes, 30 + 5);
  EXPECT_EQ(rows[0].header_bytes, WireHeaderBytes(100, true) + WireHeaderBytes(20, true));
  EXPECT_EQ(rows[1].traffic, 1);
  EXPECT_EQ(rows[1].payload_bytes + rows[1].side_bytes + rows[1].header_bytes,
            40 + WireHeaderBytes(40, true));
  EXPECT_EQ(stats_.resent_bytes, 210 + WireHeaderBytes(100, true) + WireHeaderBytes(50, true) +
                                     WireHeaderBytes(20, true) + WireHeaderBytes(40, true));
  EXPECT_TRUE(outbox.TakeResent().empty());
}

TEST_F(OutboxTest, OwnFramesOvertake) {
  Outbox outbox(nullptr, false);
  outbox.Add(Payload(10), 0);
  outbox.OweAck();
  outbox.OwePing();
  delivered_ = 42;
  EXPECT_EQ(Next(&outbox), 0);
  EXPECT_EQ(last_->header().kind, FrameKind::kAck);
  EXPECT_EQ(last_->header().step, 42u);
  EXPECT_EQ(Next(&outbox), 0);
  EXPECT_EQ(last_->header().kind, FrameKind::kPing);
  EXPECT_EQ(Next(&outbox), 1);
}

// 8 Mbit/s: a byte per microsecond; delay 500.
TEST_F(OutboxTest, TheShaperHoldsOneFrameAndTheDelayHoldsMany) {
  const int64_t wire = 1000 + WireHeaderBytes(1000, false);
  Outbox outbox(std::make_shared<Shaper>(8.0, 500), false);
  for (int i = 0; i < 3; ++i) outbox.Add(Payload(1000), 100);
  EXPECT_EQ(Next(&outbox, 100), -1);
  EXPECT_EQ(wake_us_, 100 + wire);                // through the shaper: the next may enter
  EXPECT_EQ(Next(&outbox, 100 + wire + 30), -1);  // the timer is late, the second frame is not
  EXPECT_EQ(wake_us_, 100 + wire + 500);
  EXPECT_EQ(Next(&outbox, 100 + wire + 500), 1);
  EXPECT_EQ(Next(&outbox, 100 + wire + 500), -1);
  EXPECT_EQ(wake_us_, 100 + 2 * wire);
  EXPECT_EQ(Next(&outbox, 100 + 2 * wire), -1);
  EXPECT_EQ(Next(&outbox, 100 + 2 * wire + 500), 2);
  EXPECT_EQ(Next(&outbox, 100 + 3 * wire + 499), -1);
  EXPECT_EQ(Next(&outbox, 100 + 3 * wire + 500), 3);
}

TEST_F(OutboxTest, AnAckWaitsForOneFrameOnly) {
  Outbox outbox(std::make_shared<Shaper>(8.0, 0), false);
  for (int i = 0; i < 5; ++i) outbox.Add(Payload(1000), 0);
  EXPECT_EQ(Next(&outbox, 1), -1);
  outbox.OweAck();
  const int64_t wire = 1000 + WireHeaderBytes(1000, false);
  EXPECT_EQ(Next(&outbox, 1 + wire), 1);
  EXPECT_EQ(Next(&outbox, 1 + wire + 200), 0);
  EXPECT_EQ(last_->header().kind, FrameKind::kAck);
}

TEST_F(OutboxTest, GoodbyeGivesUpWhatWaits) {
  Outbox outbox(nullptr, false);
  outbox.Add(Payload(10), 0);
  outbox.SayGoodbye(SealOwnFrame(FrameKind::kGoodbye, 0, {}));
  EXPECT_FALSE(outbox.goodbye_written());
  EXPECT_EQ(Next(&outbox), 0);
  EXPECT_EQ(last_->header().kind, FrameKind::kGoodbye);
  EXPECT_TRUE(outbox.goodbye_written());
}

}  // namespace
}  // namespace isthmus
