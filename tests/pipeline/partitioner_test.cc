#include "pipeline/partitioner.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "pipeline/plan.h"

namespace isthmus {
namespace {

v1::PlanRequest Request(int64_t layers) {
  v1::PlanRequest r;
  r.mutable_model()->set_config_json(absl::StrCat(
      R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,"intermediate_size":172,)",
      R"("max_position_embeddings":128,"num_attention_heads":8,"num_key_value_heads":4,"rms_norm_eps":1e-5,)",
      R"("tie_word_embeddings":true,"vocab_size":512,"num_hidden_layers":)", layers, "}"));
  r.mutable_train()->mutable_lora()->set_rank(4);
  r.mutable_train()->mutable_lora()->add_targets("q_proj");
  r.mutable_train()->mutable_optimizer()->set_name("adamw");
  r.set_head_layers(1);
  r.set_tail_layers(1);
  r.set_codec_forward("int8");
  r.set_codec_backward("int8");
  r.set_schedule("1f1b");
  r.set_micro_batch_size(2);
  r.set_micro_batches(4);
  r.set_sequence_length(64);
  r.set_max_sample_tokens(64);
  r.set_client_flops(1e10);
  return r;
}

std::vector<v1::WorkerInfo> Workers(std::vector<double> flops) {
  std::vector<v1::WorkerInfo> workers;
  for (const double f : flops) {
    v1::WorkerInfo w;
    w.set_name(absl::StrCat("w", workers.size()));
    w.set_address("127.0.0.1:1");
    w.set_flops(f);
    workers.push_back(w);
  }
  return workers;
}

TEST(PartitionerTest, UShapeGivesTheClientBothEnds) {
  v1::PlanRequest request = Request(8);
  request.set_stages(2);
  const auto plan = MakePlan(request, Workers({1e10, 1e10}), "j");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(CheckPlan(*plan).ok());
  EXPECT_EQ(PartyOfStage(*plan), (std::vector<uint32_t>{0, 1, 2, 0}));
  EXPECT_EQ(plan->stages(1).last_layer(), 4);
  EXPECT_GT(plan->predicted_step_s(), 0.0);
  EXPECT_GT(plan->parties(1).predicted_memory_bytes(), 0);
}

TEST(PartitionerTest, BlocksFollowSpeed) {
  v1::PlanRequest request = Request(10);
  request.set_stages(2);
  const auto plan = MakePlan(request, Workers({3e10, 1e10}), "j");
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->stages(1).last_layer() - plan->stages(1).first_layer(), 6);
  EXPECT_EQ(plan->stages(2).last_layer() - plan->stages(2).first_layer(), 2);
}

TEST(PartitionerTest, EqualWorkersAreCutInOnePlaceAtAnySpeed) {
  v1::PlanRequest request = Request(5);  // three blocks for two workers: 1.5 each
  request.set_stages(2);
  for (double flops = 1e9; flops < 1e11; flops *= 1.0137) {
    const auto plan = MakePlan(request, Workers({flops, flops}), "j");
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_EQ(plan->stages(1).last_layer(), 3) << flops;
  }
}

TEST(PartitionerTest, LabelsAtTheServerPutTheHeadThere) {
  v1::PlanRequest request = Request(4);
  request.set_stages(1);
  request.set_labels_at_server(true);
  const auto plan = MakePlan(request, Workers({1e10}), "j");
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(PartyOfStage(*plan), (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(LossParty(*plan), 1u);
  EXPECT_FALSE(plan->shared_embedding());
  request.mutable_train()->set_full(true);
  EXPECT_TRUE(MakePlan(request, Workers({1e10}), "j")->shared_embedding());
}

TEST(PartitionerTest, AutoLeavesUselessWorkersIdle) {
  v1::PlanRequest request = Request(6);
  request.set_micro_batches(1);  // nothing overlaps: a second worker only adds a link
  request.set_link_rate_mbps(10);
  const auto plan = MakePlan(request, Workers({1e10, 1e10, 1e10}), "j");
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->parties_size(), 2);
}

TEST(PartitionerTest, RefusesWhatCannotBe) {
  v1::PlanRequest request = Request(4);
  request.set_head_layers(40);
  const auto split = MakePlan(request, Workers({1e10}), "j").status();
  EXPECT_EQ(split.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(split.message().find("head_layers"), absl::string_view::npos);
  request = Request(4);
  request.set_stages(3);
  EXPECT_EQ(MakePlan(request, Workers({1, 1, 1}), "j").status().code(),
            absl::StatusCode::kInvalidArgument);
  request.set_stages(2);
  EXPECT_EQ(MakePlan(request, Workers({1}), "j").status().code(), absl::StatusCode::kUnavailable);
  std::vector<v1::WorkerInfo> small = Workers({1e10, 1e10});
  small[1].set_memory_limit_bytes(1 << 20);
  const auto memory = MakePlan(request, small, "j").status();
  EXPECT_EQ(memory.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(memory.message().find("w1"), absl::string_view::npos);
}

TEST(PlanTest, DamagedPlansAreRefused) {
  v1::PlanRequest request = Request(6);
  request.set_stages(2);
  const v1::Plan good = *MakePlan(request, Workers({1e10, 1e10}), "j");
  v1::Plan plan = good;
  plan.mutable_stages(1)->set_party(9);
  EXPECT_FALSE(CheckPlan(plan).ok());
  plan = good;
  plan.mutable_stages(2)->set_first_layer(1);
  EXPECT_FALSE(CheckPlan(plan).ok());
  plan = good;
  plan.mutable_edges(0)->set_codec_forward("zip9");
  EXPECT_FALSE(CheckPlan(plan).ok());
  plan = good;
  plan.mutable_edges()->RemoveLast();
  EXPECT_FALSE(CheckPlan(plan).ok());
  plan = good;
  plan.set_schedule("never");
  EXPECT_FALSE(CheckPlan(plan).ok());
  plan = good;
  plan.clear_stages();
  EXPECT_FALSE(CheckPlan(plan).ok());
}

}  // namespace
}  // namespace isthmus
