#include "link/loopback.h"

#include "tests/link/link_contract.h"

namespace isthmus {
namespace {

class LoopbackCarried : public CarriedPair {
 public:
  LoopbackCarried(const LinkOptions& a, const LinkOptions& b) {
    LoopbackPair pair = MakeLoopback({a, nullptr}, {b, nullptr});
    first = std::move(pair.first);
    second = std::move(pair.second);
    cable_ = std::move(pair.cable);
  }
  void Cut() override { cable_->Cut(); }
  void Silence() override { cable_->Silence(); }
  void LoseForGood() override { cable_->LoseForGood(); }

 private:
  std::shared_ptr<LoopbackCable> cable_;
};

INSTANTIATE_TEST_SUITE_P(Loopback, LinkContract,
                         ::testing::Values(CarrierFactory([](const LinkOptions& a,
                                                             const LinkOptions& b) {
                           return std::make_unique<LoopbackCarried>(a, b);
                         })),
                         [](const auto&) { return "Loopback"; });

// Sends frames both ways over a cable with `faults` and expects each exactly once.
LinkStats RunWithFaults(std::vector<Fault> faults) {
  Recorder at_first, at_second;
  constexpr uint32_t kFrames = 30;
  LoopbackPair pair =
      MakeLoopback({TestOptions(), nullptr}, {TestOptions(), nullptr}, std::move(faults));
  pair.first->Start(&at_first);
  pair.second->Start(&at_second);
  for (uint32_t i = 0; i < kFrames; ++i) {
    EXPECT_TRUE(pair.first->Send(Numbered(i, 1000 + i)).ok());
    EXPECT_TRUE(pair.second->Send(Numbered(i, 500 + i)).ok());
  }
  ExpectInOrder(&at_second, kFrames);
  ExpectInOrder(&at_first, kFrames);
  EXPECT_EQ(at_first.closes() + at_second.closes(), 0);
  return pair.first->stats();
}

class LoopbackFaults : public ::testing::TestWithParam<Fault::Kind> {};

TEST_P(LoopbackFaults, EveryFrameIsHit) {
  for (int64_t frame = 1; frame <= 30; ++frame) {
    for (int side : {0, 1}) RunWithFaults({{GetParam(), side, frame, 1000 + frame * 7}});
  }
}

TEST_P(LoopbackFaults, AndAgainWhileItIsResent) {
  for (int64_t frame = 2; frame <= 20; frame += 3) {
    RunWithFaults({{GetParam(), 0, frame, 333},
                   {GetParam(), 0, frame + 1, 335},
                   {GetParam(), 1, frame + 2, 99}});
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, LoopbackFaults,
                         ::testing::Values(Fault::Kind::kCutBefore, Fault::Kind::kCutAfter,
                                           Fault::Kind::kTruncate, Fault::Kind::kCorrupt,
                                           Fault::Kind::kDelay, Fault::Kind::kDuplicate,
                                           Fault::Kind::kSecondAttempt));

TEST(LoopbackTest, ResendsAreCounted) {
  const LinkStats stats = RunWithFaults({{Fault::Kind::kCutBefore, 0, 10, 0}});
  EXPECT_EQ(stats.reconnects, 1);
  EXPECT_GE(stats.resent_frames, 1);
  EXPECT_EQ(stats.sent_frames, 30 + stats.resent_frames);
  EXPECT_GT(stats.resent_bytes, 1000);
}

TEST(LoopbackTest, EveryBitOfAFrameIsProtected) {
  for (int64_t bit = 0; bit < (FrameHeader::kBytes + 8) * 8; ++bit) {
    Recorder at_first, at_second;
    LoopbackPair pair = MakeLoopback({TestOptions(), nullptr}, {TestOptions(), nullptr},
                                     {{Fault::Kind::kCorrupt, 0, 2, bit}});
    pair.first->Start(&at_first);
    pair.second->Start(&at_second);
    // A flipped version is another version, and final, perhaps before the last Send: no frame of it
    // is taken.
    const bool version = bit / 8 == 4 || bit / 8 == 5;
    for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(pair.first->Send(Numbered(i, 8)).ok() || version);
    if (version) {
      EXPECT_EQ(at_second.WaitClosed()->code(), absl::StatusCode::kUnimplemented);
      EXPECT_EQ(at_second.count(), 1u);
      continue;
    }
    ExpectInOrder(&at_second, 3);
  }
}

TEST(LoopbackTest, AFrameThatIsAlwaysCorruptEndsTheLinkAtBothSides) {
  Recorder at_first, at_second;
  std::vector<Fault> faults;
  for (int64_t frame = 1; frame <= 10; ++frame)
    faults.push_back({Fault::Kind::kCorrupt, 0, frame, 48 * 8 + 3});
  LoopbackPair pair = MakeLoopback({TestOptions(), nullptr}, {TestOptions(), nullptr}, faults);
  pair.first->Start(&at_first);
  pair.second->Start(&at_second);
  ASSERT_TRUE(pair.first->Send(Numbered(0, 100)).ok());
  EXPECT_EQ(at_second.WaitClosed()->code(), absl::StatusCode::kInvalidArgument);
  const absl::Status told = *at_first.WaitClosed();
  EXPECT_EQ(told.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(told.message()), ::testing::HasSubstr("checksum"));
  EXPECT_EQ(at_second.count(), 0u);
}

TEST(LoopbackTest, AShapedLinkKeepsOrderAndCountsItsDelay) {
  Recorder at_first, at_second;
  // 80 Mbit/s = 10 bytes/us: 20 frames of 10 kB take 20 ms, and one way 5 ms.
  const auto shaper = std::make_shared<Shaper>(80.0, 5'000);
  LoopbackPair pair =
      MakeLoopback({TestOptions(), shaper}, {TestOptions(), std::make_shared<Shaper>(80.0, 5'000)});
  pair.first->Start(&at_first);
  pair.second->Start(&at_second);
  const int64_t start_us = NowUs();
  for (uint32_t i = 0; i < 20; ++i) ASSERT_TRUE(pair.first->Send(Numbered(i, 10'000)).ok());
  ExpectInOrder(&at_second, 20);
  EXPECT_GE(NowUs() - start_us, 25'000);  // physics, a lower bound
}

}  // namespace
}  // namespace isthmus
