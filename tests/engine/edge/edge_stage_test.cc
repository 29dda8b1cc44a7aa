// The contract suites on the on-device engine.
#include "engine/edge/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/reference_contract.h"
#include "tests/engine/stage_contract.h"

namespace isthmus {
namespace {

std::unique_ptr<Engine> MakeEdge() { return Take(MakeEdgeEngine(2)); }
std::unique_ptr<Engine> MakeInt8() { return Take(MakeEdgeEngine(2, "int8")); }

INSTANTIATE_TEST_SUITE_P(Edge, StageContract, testing::Values(&MakeEdge));
INSTANTIATE_TEST_SUITE_P(EdgeInt8, StageContract, testing::Values(&MakeInt8));
INSTANTIATE_TEST_SUITE_P(Edge, ReferenceContract, testing::Values(&MakeEdge));

TEST(EdgeEngineTest, NamesItself) { EXPECT_EQ(MakeEdge()->name(), "edge"); }

}  // namespace
}  // namespace isthmus
