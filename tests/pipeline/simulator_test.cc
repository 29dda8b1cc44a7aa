#include "pipeline/simulator.h"

#include <gtest/gtest.h>

namespace isthmus {
namespace {

SimulatedStep Simulate(const char* name, std::vector<uint32_t> parties, uint32_t m,
                       std::vector<StageCost> stages, std::vector<EdgeCost> edges, HostLink link) {
  const auto schedule = MakeSchedule(name, {parties, m, false});
  const std::vector<HostLink> links(parties.size(), link);
  return SimulateStep(*schedule, stages, edges, links, 0.0);
}

TEST(SimulatorTest, OneMicroBatchIsTheSumOfItsWay) {
  // 1 + 2 s forward, 4 + 3 s backward; each frame is 1 MB at 8 Mbit/s (1 s) and 0.5 s late.
  const auto step =
      Simulate("1f1b", {0, 1}, 1, {{1, 3}, {2, 4}}, {{1'000'000, 1'000'000}}, {8.0, 0.5});
  EXPECT_NEAR(step.step_s, 1 + 1.5 + 2 + 4 + 1.5 + 3, 1e-9);
  EXPECT_NEAR(step.busy_s[0], 4, 1e-9);
  EXPECT_NEAR(step.egress_s[0], 1, 1e-9);
}

TEST(SimulatorTest, ManyMicroBatchesApproachTheBusiestResource) {
  // Compute 0.02 s a stage, 1 MB frames at 80 Mbit/s: the client's uplink carries 2 x 0.1 s per
  // micro-batch.
  const std::vector<StageCost> stages(4, {0.01, 0.01});
  const std::vector<EdgeCost> edges(3, {1'000'000, 1'000'000});
  const auto step = Simulate("1f1b", {0, 1, 2, 0}, 16, stages, edges, {80.0, 0.0});
  const double bound = 16 * 0.2;
  EXPECT_GE(step.step_s, bound);
  EXPECT_LE(step.step_s, bound / 0.80);
  EXPECT_GT(Simulate("sequential", {0, 1, 2, 0}, 16, stages, edges, {80.0, 0.0}).step_s,
            1.8 * bound);
}

// The client's uplink and every other is busy with 2 x 16 frames of 0.1 s; the ring of three hosts
// has one frame's way before and two after that. Gradients that wait behind activations must not
// book the receivers' links meanwhile.
TEST(SimulatorTest, ALinkBoundRingIsBusyAllTheTime) {
  const std::vector<StageCost> stages(4, {0.0, 0.0});
  const std::vector<EdgeCost> edges(3, {1'000'000, 1'000'000});
  const auto step = Simulate("gpipe", {0, 1, 2, 0}, 16, stages, edges, {80.0, 0.0});
  EXPECT_GE(step.step_s, 3.5 - 1e-9);
  EXPECT_LE(step.step_s, 3.7);
}

TEST(SimulatorTest, ProcessesOfOneMachineShareItsCores) {
  // Four micro-batches over three parties without links to wait for: the work is 4 x (3 + 6) s.
  const auto schedule = MakeSchedule("gpipe", {{0, 1, 2}, 4, false});
  const std::vector<StageCost> stages(3, {1, 2});
  const std::vector<EdgeCost> edges(2);
  const std::vector<HostLink> links(3);
  const double own = SimulateStep(*schedule, stages, edges, links, 0.0).step_s;
  const double two = SimulateStep(*schedule, stages, edges, links, 0.0, 2).step_s;
  const double one = SimulateStep(*schedule, stages, edges, links, 0.0, 1).step_s;
  EXPECT_NEAR(one, 36.0, 1e-9);
  EXPECT_GE(two, 18.0);
  EXPECT_LT(two, one);
  EXPECT_LT(own, two);
}

TEST(SimulatorTest, FasterLinkIsNeverSlower) {
  double last = 1e9;
  for (const double rate : {1.0, 10.0, 100.0, 1000.0, 0.0}) {
    const auto step = Simulate("1f1b", {0, 1, 0}, 4, {{0.1, 0.2}, {0.3, 0.4}, {0.1, 0.2}},
                               {{100'000, 50'000}, {100'000, 50'000}}, {rate, 0.01});
    EXPECT_LE(step.step_s, last + 1e-9);
    last = step.step_s;
  }
}

}  // namespace
}  // namespace isthmus
