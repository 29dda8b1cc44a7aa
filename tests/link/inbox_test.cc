#include "link/inbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/thread.h"
#include "link/loopback.h"

namespace isthmus {
namespace {

using ::testing::HasSubstr;

Inbox::Bounds SmallBounds() {
  Inbox::Bounds bounds;
  bounds.edges = 2;
  bounds.micro_batches = 4;
  bounds.slot_frames = 3;
  bounds.slot_bytes = 100;
  bounds.control_frames = 2;
  bounds.control_bytes = 50;
  return bounds;
}

Frame Make(FrameKind kind, uint16_t edge, uint32_t micro_batch, size_t bytes = 1) {
  Frame frame;
  frame.header.kind = kind;
  frame.header.edge = edge;
  frame.header.micro_batch = micro_batch;
  frame.payload.assign(bytes, static_cast<uint8_t>(micro_batch));
  return frame;
}

Frame Control(uint8_t number, size_t bytes = 1) {
  Frame frame;
  frame.payload.assign(bytes, number);
  return frame;
}

TEST(InboxTest, SlotsAreTakenInAnyOrder) {
  Inbox inbox(SmallBounds());
  ASSERT_TRUE(inbox.Put(Make(FrameKind::kActivation, 0, 0)).ok());
  ASSERT_TRUE(inbox.Put(Make(FrameKind::kActivation, 0, 3)).ok());
  ASSERT_TRUE(inbox.Put(Make(FrameKind::kGradient, 1, 0)).ok());
  EXPECT_EQ(inbox.Take(FrameKind::kGradient, 1, 0, 0)->header.kind, FrameKind::kGradient);
  EXPECT_EQ(inbox.Take(FrameKind::kActivation, 0, 3, 0)->header.micro_batch, 3u);
  EXPECT_EQ(inbox.Take(FrameKind::kActivation, 0, 0, 0)->header.micro_batch, 0u);
  EXPECT_EQ(inbox.waiting_bytes(), 0);
}

TEST(InboxTest, RefusesWhatTheScheduleCannotHaveAskedFor) {
  Inbox inbox(SmallBounds());
  const auto code = [&](Frame frame) { return inbox.Put(std::move(frame)).code(); };
  EXPECT_EQ(code(Make(FrameKind::kActivation, 2, 0)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Make(FrameKind::kActivation, 0, 4)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Make(FrameKind::kPing, 0, 0)), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(code(Make(FrameKind::kActivation, 0, 0)), absl::StatusCode::kOk);
  EXPECT_EQ(code(Make(FrameKind::kActivation, 0, 0)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Make(FrameKind::kActivation, 0, 1, 100)), absl::StatusCode::kResourceExhausted);
  ASSERT_EQ(code(Make(FrameKind::kActivation, 0, 1)), absl::StatusCode::kOk);
  ASSERT_EQ(code(Make(FrameKind::kActivation, 0, 2)), absl::StatusCode::kOk);
  EXPECT_EQ(code(Make(FrameKind::kActivation, 0, 3)), absl::StatusCode::kResourceExhausted);
}

TEST(InboxTest, ControlIsOrderedAndBounded) {
  Inbox inbox(SmallBounds());
  ASSERT_TRUE(inbox.Put(Control(1), 7).ok());
  ASSERT_TRUE(inbox.Put(Control(2), 8).ok());
  EXPECT_EQ(inbox.Put(Control(3)).code(), absl::StatusCode::kResourceExhausted);
  const auto first = inbox.TakeControlFrom(0);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->party, 7u);
  EXPECT_EQ(first->frame.payload[0], 1);
  EXPECT_EQ(inbox.Put(Control(4, 51)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(inbox.TakeControl(0)->payload[0], 2);
}

TEST(InboxTest, AnyOfPrefersControlThenTheFirstSlot) {
  Inbox inbox(SmallBounds());
  const Inbox::Slot slots[] = {{FrameKind::kGradient, 0, 1}, {FrameKind::kActivation, 0, 2}};
  ASSERT_TRUE(inbox.Put(Make(FrameKind::kActivation, 0, 2), 3).ok());
  ASSERT_TRUE(inbox.Put(Make(FrameKind::kGradient, 0, 1), 4).ok());
  ASSERT_TRUE(inbox.Put(Control(9), 5).ok());
  EXPECT_EQ(inbox.TakeAnyOf(slots, true, 0)->party, 5u);
  EXPECT_EQ(inbox.TakeAnyOf(slots, true, 0)->party, 4u);
  EXPECT_EQ(inbox.TakeAnyOf(slots, false, 0)->party, 3u);
  EXPECT_EQ(inbox.TakeAnyOf(slots, true, 0).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(InboxTest, ADeadlineNamesTheSlot) {
  Inbox inbox(SmallBounds());
  const auto got = inbox.Take(FrameKind::kGradient, 1, 2, NowUs() + 1000);
  EXPECT_EQ(got.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(got.status().message()), HasSubstr("gradient of edge 1, micro-batch 2"));
}

TEST(InboxTest, FailWakesEveryWaiterAndKeepsWhatIsThere) {
  Inbox inbox(SmallBounds());
  absl::Status seen[2];
  Thread slot("slot", [&] {
    seen[0] = inbox.Take(FrameKind::kActivation, 0, 0, Inbox::kForever).status();
  });
  Thread control("control", [&] { seen[1] = inbox.TakeControl(Inbox::kForever).status(); });
  ASSERT_TRUE(inbox.Put(Make(FrameKind::kActivation, 0, 1)).ok());
  inbox.Fail(absl::UnavailableError("peer"));
  inbox.Fail(absl::InternalError("later"));
  slot.Join();
  control.Join();
  EXPECT_EQ(seen[0], absl::UnavailableError("peer"));
  EXPECT_EQ(seen[1], absl::UnavailableError("peer"));
  EXPECT_TRUE(inbox.Take(FrameKind::kActivation, 0, 1, 0).ok());
  EXPECT_EQ(inbox.Take(FrameKind::kActivation, 0, 1, 0).status(), absl::UnavailableError("peer"));
  inbox.Clear();
  EXPECT_TRUE(inbox.failure().ok());
}

TEST(InboxTest, ManyProducersAndConsumers) {
  Inbox::Bounds bounds;
  bounds.edges = 4;
  bounds.micro_batches = 250;
  Inbox inbox(bounds);
  std::vector<Thread> threads;
  for (uint16_t edge = 0; edge < 4; ++edge) {
    threads.emplace_back("put", [&inbox, edge] {
      for (uint32_t i = 0; i < 250; ++i)
        ASSERT_TRUE(inbox.Put(Make(FrameKind::kActivation, edge, i), edge).ok());
    });
    threads.emplace_back("take", [&inbox, edge] {
      for (uint32_t i = 250; i-- > 0;) {
        const auto frame = inbox.Take(FrameKind::kActivation, edge, i, Inbox::kForever);
        ASSERT_TRUE(frame.ok());
        ASSERT_EQ(frame->header.edge, edge);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(inbox.waiting_bytes(), 0);
}

TEST(InboxTest, SeveralLinksFeedOne) {
  Inbox inbox(SmallBounds());
  InboxFeed one(&inbox, 1), two(&inbox, 2);
  LoopbackPair a = MakeLoopback({}, {});
  LoopbackPair b = MakeLoopback({}, {});
  a.second->Start(&one);
  b.second->Start(&two);
  ASSERT_TRUE(a.first->Send(Make(FrameKind::kActivation, 0, 1)).ok());
  ASSERT_TRUE(b.first->Send(Make(FrameKind::kActivation, 1, 1)).ok());
  const Inbox::Slot first[] = {{FrameKind::kActivation, 0, 1}};
  const Inbox::Slot second[] = {{FrameKind::kActivation, 1, 1}};
  EXPECT_EQ(inbox.TakeAnyOf(second, false, Inbox::kForever)->party, 2u);
  EXPECT_EQ(inbox.TakeAnyOf(first, false, Inbox::kForever)->party, 1u);
  // A frame outside the bounds fails the inbox and names the party.
  ASSERT_TRUE(b.first->Send(Make(FrameKind::kActivation, 9, 1)).ok());
  const absl::Status failure = inbox.TakeControl(Inbox::kForever).status();
  EXPECT_EQ(failure.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(failure.message()), HasSubstr("party 2"));
}

TEST(InboxTest, ALinkThatEndsWakesTheStage) {
  Inbox inbox(SmallBounds());
  InboxFeed feed(&inbox, 1);
  LoopbackPair pair = MakeLoopback({}, {});
  pair.second->Start(&feed);
  ASSERT_TRUE(pair.first->Send(Control(5)).ok());
  ASSERT_TRUE(pair.first->Close(5'000'000).ok());
  EXPECT_EQ(inbox.TakeControl(Inbox::kForever)->payload[0], 5);
  EXPECT_EQ(inbox.TakeControl(Inbox::kForever).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace isthmus
