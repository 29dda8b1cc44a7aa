// One fine-tuning run of a job with its client and its worker in this process: the product's plan,
// stages, schedule, frames and codecs, joined by the loopback carrier. What it sends and learns is
// what `isthmus train` does with the same job.
#ifndef ISTHMUS_BENCH_TRAINING_RING_H_
#define ISTHMUS_BENCH_TRAINING_RING_H_

#include "absl/status/statusor.h"
#include "client/job.h"
#include "engine/stage.h"
#include "isthmus/v1/plan.pb.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

// The job as the ring runs it: LoRA or full, labels at the client, no clipping, one worker.
// `links_behind`: the quality follows links that hold every step up, as `codec: auto` does.
//
//   loss, loss_through_cut   of the evaluation data at the end; the first with uncompressed cuts
//   curve                    training loss of every step
//   bits_per_element         of all training bytes, headers and side information included; also
//                            bits_forward, bits_backward, bits_first_epoch
//   wire_bytes, elements, steps, micro_batches
//   edges                    {edge, direction, elements, wire_bytes, side_bytes, header_bytes}
absl::StatusOr<nlohmann::json> TrainInRing(Engine* engine, const Job& job, bool links_behind);

// The plan that both use; `flops` of every party's core.
absl::StatusOr<v1::Plan> PlanOfJob(const Job& job, double flops);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_TRAINING_RING_H_
