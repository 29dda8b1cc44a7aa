// From a job and its data to what the coordinator is asked for; the codec that is chosen where the
// job names none.
#ifndef ISTHMUS_CLIENT_PLAN_REQUEST_H_
#define ISTHMUS_CLIENT_PLAN_REQUEST_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/job.h"
#include "compression/codec.h"
#include "engine/stage.h"
#include "isthmus/v1/plan.pb.h"
#include "model/weights.h"

namespace isthmus {

// What the data look like to a plan.
struct DataFacts {
  int64_t num_windows = 0;
  int64_t max_window_tokens = 0;
  int64_t total_steps = 0;
  bool samples_repeat = false;  // more than one epoch
};

struct ChosenCodec {
  std::string forward, backward;
  std::string why;        // one line for the user; empty where the job named the codec
  bool adaptive = false;  // codec: auto: the quality follows the links
};
// Stages, and workers, of an embedded cluster: what the job asks for, at most one a block.
int64_t EmbeddedStages(const Job& job, const ModelConfig& config);

// What codec stores this machine has to have room for.
struct StorePlace {
  int64_t ends = 1;    // ends of edges that are here
  std::string folder;  // where store=mmap puts its files; need not be there yet
};
// The client's ends; with an embedded cluster those of its workers as well.
StorePlace StoresHere(const Job& job, const ModelConfig& config, bool embedded);

// `codec: auto` and a job that names no codec: ecq at 20 dB forward and 10 dB backward, with a
// store where samples repeat and those here fit in half of the free memory.
absl::StatusOr<ChosenCodec> ChooseCodec(const Job& job, const ModelConfig& config,
                                        const DataFacts& data, const StorePlace& place);

// Bytes of all stores here. Makes nothing. kInvalidArgument, with the size, for those that do not
// fit the free memory or the file system of `place.folder`.
absl::StatusOr<Codec::StateSize> CheckStores(const ChosenCodec& codec, const ModelConfig& config,
                                             const DataFacts& data, const StorePlace& place);

TrainSpec TrainSpecOf(const Job& job);
// The `edge:` section with the sizes that the client's memory is planned for.
EdgeSpec EdgeSpecOf(const Job& job, const DataFacts& data, const v1::Plan& plan);

// Speed of this machine on the model's own block, floating-point operations a second; 0 what could
// not be measured.
struct ClientSpeed {
  double forward_flops = 0.0;
  double backward_flops = 0.0;
};
ClientSpeed MeasureClient(Engine* engine, const ModelConfig& config, const TrainSpec& train,
                          int64_t tokens);

// What the client says about itself. An embedded cluster's processes share this machine's cores,
// `threads` each.
struct ClientHost {
  ClientSpeed speed;
  double wait_s = 0.0;
  bool embedded = false;
  int64_t threads = 1;
  double rate_mbps = 0.0;  // of its link; 0: unknown
};
// `model` may be null with init: random, when only the config counts.
absl::StatusOr<v1::PlanRequest> MakePlanRequest(const Job& job, const ModelConfig& config,
                                                ModelDirectory* model, const DataFacts& data,
                                                const ChosenCodec& codec, const ClientHost& host);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_PLAN_REQUEST_H_
