// The job file: what to train, on which data, split where, over which codec. YAML in, one struct
// out.
//
// Parsing checks form, types and ranges of every key and the codec specs; whether the files exist
// and the split fits the model is found out when they are opened. A resolved job printed by ToYaml
// or ToJson is itself a job file and parses back to the same Job.
#ifndef ISTHMUS_CLIENT_JOB_H_
#define ISTHMUS_CLIENT_JOB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nlohmann/json_fwd.hpp"

namespace isthmus {

enum class Init { kPretrained, kRandom };                    // pretrained | random
enum class ComputeType { kFp32, kBf16 };                     // fp32 | bf16
enum class LabelsAt { kClient, kServer };                    // client (U-shape) | server (vanilla)
enum class TrainMethod { kLora, kFull };                     // lora | full
enum class Estimator { kBackprop, kSpsa };                   // backprop | spsa
enum class OptimizerName { kAdamW, kAdamW8Bit, kSgd };       // adamw | adamw8bit | sgd
enum class RateSchedule { kConstant, kLinear, kCosine };     // constant | linear | cosine
enum class UpdateSet { kAll, kAuto };                        // all | auto
enum class PipelineSchedule { k1F1B, kGpipe, kSequential };  // 1f1b | gpipe | sequential

// The word the job file has for a value.
absl::string_view Name(Init value);
absl::string_view Name(ComputeType value);
absl::string_view Name(LabelsAt value);
absl::string_view Name(TrainMethod value);
absl::string_view Name(Estimator value);
absl::string_view Name(OptimizerName value);
absl::string_view Name(RateSchedule value);
absl::string_view Name(UpdateSet value);
absl::string_view Name(PipelineSchedule value);

// Every key of a job file, with its default. Paths are absolute after ParseJob.
struct Job {
  std::string model;  // directory
  Init init = Init::kPretrained;
  ComputeType dtype = ComputeType::kFp32;

  struct Cluster {
    int64_t workers = 2;
    bool given = false;  // the file has `cluster:`, which --coordinator does not allow
  } cluster;

  struct Source {
    std::string train;             // "": the caller's own
    std::string eval;              // "": no evaluation
    int64_t eval_every_steps = 0;  // 0: before and after only
    int64_t patience = 0;  // evaluations without a better loss before the run stops; 0: never
    int64_t sequence_length = 0;  // 0: not given, the model's context
    bool pack = false;
    bool shuffle = true;
    bool append_eos = true;
  } data;

  struct Split {
    int64_t head_layers = 1;
    int64_t tail_layers = 1;  // 0 when labels are at the server
    LabelsAt labels = LabelsAt::kClient;
  } split;

  struct Lora {
    int64_t rank = 8;
    double alpha = 16;
    double dropout = 0;                // [0, 1)
    std::vector<std::string> targets;  // empty: not given, q_proj and v_proj (GPT-2: c_attn)
    std::string init_from;             // PEFT directory; "": a fresh adapter
  };
  struct Optimizer {
    OptimizerName name = OptimizerName::kAdamW;
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;
    double momentum = 0;   // sgd only
    double clip_norm = 0;  // 0: off
  };
  struct Spsa {
    double eps = 1e-3;   // how far to either side a probe goes, in standard deviations of z
    int64_t probes = 1;  // of a step
  };
  struct Schedule {
    RateSchedule name = RateSchedule::kConstant;
    int64_t warmup_steps = 0;
  };
  struct Train {
    TrainMethod method = TrainMethod::kLora;
    Lora lora;                                   // read only when method is lora
    Estimator estimator = Estimator::kBackprop;  // of the gradient
    Spsa spsa;                                   // read only when estimator is spsa
    Optimizer optimizer;
    Schedule schedule;
    bool recompute = false;
    std::optional<int64_t> steps;  // exactly one of steps and epochs has a value
    std::optional<int64_t> epochs = 1;
    int64_t micro_batch_size = 1;
    int64_t micro_batches = 1;
    uint64_t seed = 0;
  } train;

  struct Pipeline {
    PipelineSchedule schedule = PipelineSchedule::k1F1B;
    int64_t stages = 0;  // server stages; 0: auto
  } pipeline;

  struct Codecs {
    std::string forward;   // both as the user wrote them, or both "": not given, the client chooses
    std::string backward;  // a scalar `codec:` has been resolved with DefaultBackward
    bool given() const { return !forward.empty(); }
  } codec;

  struct Checkpoint {
    int64_t every_steps = 0;  // 0: at the end only
    int64_t keep = 2;         // newest ones kept
  } checkpoint;

  struct Tls {
    std::string ca, cert, key;  // paths; all empty: no TLS
    bool given() const { return !ca.empty() || !cert.empty(); }
  };
  struct Security {
    Tls tls;
  } security;

  struct LinkEmulation {
    double rate_mbps = 0;  // per host and direction; 0: unshaped
    double delay_ms = 0;
    bool given() const { return rate_mbps > 0 || delay_ms > 0; }
  } link;

  // The client's part on the on-device engine (--engine edge, isthmus-edge).
  struct Edge {
    std::string weights;  // how its frozen base is held: int8 ...; "": as the engine does
    int64_t memory_limit_bytes = 0;  // 0: none
    UpdateSet update = UpdateSet::kAll;
  } edge;

  std::string output;  // directory
};

// `yaml` is the text of a job file, `directory` the folder its relative paths start from,
// `overrides` the "KEY=VALUE" of --set with dotted keys (train.optimizer.lr=1e-3); a value is YAML.
// kInvalidArgument names the key and, for an unknown one, the nearest known.
absl::StatusOr<Job> ParseJob(absl::string_view yaml, const std::string& directory,
                             absl::Span<const std::string> overrides = {});
// Reads the file first; errors name it. Asks for data.train, which ParseJob leaves to programs that
// bring their own data.
absl::StatusOr<Job> ReadJob(const std::string& path, absl::Span<const std::string> overrides = {});

// The resolved job with every key that has a value; what is left open (sequence_length, targets,
// codec) is absent.
nlohmann::ordered_json ToJson(const Job& job);
std::string ToYaml(const Job& job);

// May a run of `earlier` (ParseJob of the JSON kept with the run) go on as `now`? kInvalidArgument
// names the first key that differs, apart from steps, epochs and checkpoint, and from output, which
// is where the earlier run was found. A key that `now` leaves open does not differ: the caller
// takes over the earlier value.
absl::Status CheckResumable(const Job& earlier, const Job& now);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_JOB_H_
