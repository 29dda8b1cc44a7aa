// Every key of the job file once: its dotted name, where it lives in Job, and the values it may
// have. The reader, the writer and the list of known keys all walk this one table.
#ifndef ISTHMUS_CLIENT_JOB_FIELDS_H_
#define ISTHMUS_CLIENT_JOB_FIELDS_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "client/job.h"

namespace isthmus {

struct IntRange {
  int64_t min;
  int64_t max;
};

struct RealRange {
  const char* text;  // "> 0", "in [0, 1)"
  bool (*holds)(double);
};

inline constexpr int64_t kMany = int64_t{1} << 40;
inline constexpr RealRange kNotNegative = {">= 0", [](double x) { return x >= 0; }};
inline constexpr RealRange kPositive = {"> 0", [](double x) { return x > 0; }};
inline constexpr RealRange kBelowOne = {"in [0, 1)", [](double x) { return x >= 0 && x < 1; }};

// The words of a choice, in the order of the enum's values.
inline constexpr const char* kInitWords[] = {"pretrained", "random"};
inline constexpr const char* kComputeTypeWords[] = {"fp32", "bf16"};
inline constexpr const char* kLabelsAtWords[] = {"client", "server"};
inline constexpr const char* kTrainMethodWords[] = {"lora", "full"};
inline constexpr const char* kEstimatorWords[] = {"backprop", "spsa"};
inline constexpr const char* kOptimizerWords[] = {"adamw", "adamw8bit", "sgd"};
inline constexpr const char* kRateScheduleWords[] = {"constant", "linear", "cosine"};
inline constexpr const char* kUpdateSetWords[] = {"all", "auto"};
inline constexpr const char* kPipelineScheduleWords[] = {"1f1b", "gpipe", "sequential"};

inline absl::Span<const char* const> Words(Init) { return kInitWords; }
inline absl::Span<const char* const> Words(ComputeType) { return kComputeTypeWords; }
inline absl::Span<const char* const> Words(LabelsAt) { return kLabelsAtWords; }
inline absl::Span<const char* const> Words(TrainMethod) { return kTrainMethodWords; }
inline absl::Span<const char* const> Words(Estimator) { return kEstimatorWords; }
inline absl::Span<const char* const> Words(OptimizerName) { return kOptimizerWords; }
inline absl::Span<const char* const> Words(RateSchedule) { return kRateScheduleWords; }
inline absl::Span<const char* const> Words(UpdateSet) { return kUpdateSetWords; }
inline absl::Span<const char* const> Words(PipelineSchedule) { return kPipelineScheduleWords; }

// `visit` has Path, Word, Bool, Int, OptionalInt, AutoInt, Unsigned, Size, Real, RealPair, Text,
// Texts and Codecs. A value outside its own range (sequence_length 0), an empty path and an empty
// list mean "not given". J is Job or const Job.
template <typename J, typename Visitor>
void VisitJob(J& job, Visitor& visit) {
  visit.Path("model", job.model);
  visit.Word("init", job.init);
  visit.Word("dtype", job.dtype);
  visit.Int("cluster.workers", job.cluster.workers, {1, 256});

  auto& data = job.data;
  visit.Path("data.train", data.train);
  visit.Path("data.eval", data.eval);
  visit.Int("data.eval_every_steps", data.eval_every_steps, {0, kMany});
  visit.Int("data.patience", data.patience, {0, kMany});
  visit.Int("data.sequence_length", data.sequence_length, {1, int64_t{1} << 24});
  visit.Bool("data.pack", data.pack);
  visit.Bool("data.shuffle", data.shuffle);
  visit.Bool("data.append_eos", data.append_eos);

  visit.Int("split.head_layers", job.split.head_layers, {0, 100000});
  visit.Int("split.tail_layers", job.split.tail_layers, {0, 100000});
  visit.Word("split.labels", job.split.labels);

  auto& train = job.train;
  visit.Word("train.method", train.method);
  visit.Int("train.lora.rank", train.lora.rank, {1, 65536});
  visit.Real("train.lora.alpha", train.lora.alpha, kPositive);
  visit.Real("train.lora.dropout", train.lora.dropout, kBelowOne);
  visit.Texts("train.lora.targets", train.lora.targets);
  visit.Path("train.lora.init_from", train.lora.init_from);
  visit.Word("train.estimator", train.estimator);
  visit.Real("train.spsa.eps", train.spsa.eps, kPositive);
  visit.Int("train.spsa.probes", train.spsa.probes, {1, 1024});
  visit.Word("train.optimizer.name", train.optimizer.name);
  visit.Real("train.optimizer.lr", train.optimizer.lr, kNotNegative);
  visit.RealPair("train.optimizer.betas", train.optimizer.beta1, train.optimizer.beta2, kBelowOne);
  visit.Real("train.optimizer.eps", train.optimizer.eps, kNotNegative);
  visit.Real("train.optimizer.weight_decay", train.optimizer.weight_decay, kNotNegative);
  visit.Real("train.optimizer.momentum", train.optimizer.momentum, kBelowOne);
  visit.Real("train.optimizer.clip_norm", train.optimizer.clip_norm, kNotNegative);
  visit.Word("train.schedule.name", train.schedule.name);
  visit.Int("train.schedule.warmup_steps", train.schedule.warmup_steps, {0, kMany});
  visit.Bool("train.recompute", train.recompute);
  visit.OptionalInt("train.steps", train.steps, {1, kMany});
  visit.OptionalInt("train.epochs", train.epochs, {1, kMany});
  visit.Int("train.micro_batch_size", train.micro_batch_size, {1, 65536});
  visit.Int("train.micro_batches", train.micro_batches, {1, 65536});
  visit.Unsigned("train.seed", train.seed);

  visit.Word("pipeline.schedule", job.pipeline.schedule);
  visit.AutoInt("pipeline.stages", job.pipeline.stages, {1, 256});
  visit.Codecs("codec", job.codec);
  visit.Int("checkpoint.every_steps", job.checkpoint.every_steps, {0, kMany});
  visit.Int("checkpoint.keep", job.checkpoint.keep, {1, 1000000});
  visit.Path("security.tls.ca", job.security.tls.ca);
  visit.Path("security.tls.cert", job.security.tls.cert);
  visit.Path("security.tls.key", job.security.tls.key);
  visit.Real("link.rate_mbps", job.link.rate_mbps, kNotNegative);
  visit.Real("link.delay_ms", job.link.delay_ms, kNotNegative);
  visit.Text("edge.weights", job.edge.weights);
  visit.Size("edge.memory_limit", job.edge.memory_limit_bytes);
  visit.Word("edge.update", job.edge.update);
  visit.Path("output", job.output);
}

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_JOB_FIELDS_H_
