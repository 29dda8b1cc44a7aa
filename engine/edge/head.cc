#include "engine/edge/head.h"

#include <algorithm>
#include <cstring>

#include "engine/edge/normal_rows.h"
#include "kernels/cross_entropy.h"

namespace isthmus::edge {

// Predicted rows of a micro-batch, at most RunRows of them.
struct Head::Run {
  std::vector<int64_t> rows;
  std::vector<int32_t> targets;
  std::vector<size_t> samples;
  int64_t count() const { return static_cast<int64_t>(rows.size()); }
  void Clear() {
    rows.clear();
    targets.clear();
    samples.clear();
  }
};

namespace {

// Calls body(run) for the predicted rows, in order, `most` at a time.
template <typename Run, typename Body>
void ForRuns(absl::Span<const int32_t> lengths, absl::Span<const int32_t> targets, int64_t most,
             Run* run, Body&& body) {
  int64_t row = 0;
  for (size_t s = 0; s < lengths.size(); ++s) {
    for (int32_t p = 0; p < lengths[s]; ++p, ++row) {
      const int32_t target = targets[static_cast<size_t>(row)];
      if (target < 0) continue;
      run->rows.push_back(row);
      run->targets.push_back(target);
      run->samples.push_back(s);
      if (run->count() < most) continue;
      body(*run);
      run->Clear();
    }
  }
  if (run->count() > 0) body(*run);
}

}  // namespace

int64_t Head::RunRows(const ModelConfig& config) {
  constexpr int64_t kRunFloats = int64_t{1} << 20;
  return std::clamp<int64_t>(kRunFloats / config.vocab_size, 16, 128);
}

HeadWork HeadWork::Carve(Carver* carver, const Weights& weights, int threads) {
  const ModelConfig& config = weights.config();
  const int64_t rows = Head::RunRows(config);
  HeadWork work;
  work.in = carver->Floats(rows * config.hidden_size);
  work.normal = carver->Floats(rows * config.hidden_size);
  work.grad = carver->Floats(NormalCodeFloats(rows, config.hidden_size));
  work.logits = carver->Floats(rows * config.vocab_size);
  work.norm = NormKept::Carve(carver, config, rows);
  work.linear = LinearWork::Carve(carver, weights, rows, threads);
  return work;
}

// The run's rows of x into work.in, and from there as the head reads them.
LinearInput Head::Normalize(const float* x, const Run& run, const HeadWork& work) const {
  const ModelConfig& config = weights_->config();
  const size_t bytes = static_cast<size_t>(config.hidden_size) * sizeof(float);
  for (int64_t i = 0; i < run.count(); ++i) {
    std::memcpy(work.in + i * config.hidden_size,
                x + run.rows[static_cast<size_t>(i)] * config.hidden_size, bytes);
  }
  return Normal(work.in, run.count(), work);
}

// Codes lie where the gradient will.
LinearInput Head::Normal(const float* x, int64_t rows, const HeadWork& work) const {
  return ForwardNormFor({&weights_->head()}, weights_->config(), weights_->final_norm(), pool_, x,
                        rows, work.norm, {work.normal, work.grad});
}

// From the gradient of the run's logits (in work.logits) to the run's rows of `grad`.
void Head::RunGradient(const Run& run, const HeadWork& work, float* grad) const {
  const ModelConfig& config = weights_->config();
  const LinearContext context = {pool_, nullptr, &work.linear};
  ApplyGradient(weights_->head(), context, work.normal, work.logits, run.count(), work.grad,
                /*add=*/false);
  // The normalised rows are not needed any more: their place takes the gradient of the input.
  const size_t count = static_cast<size_t>(run.count() * config.hidden_size);
  std::fill_n(work.normal, count, 0.0f);
  BackwardNorm(config, weights_->final_norm(), pool_, work.in, run.count(), work.norm, work.grad,
               work.normal);
  const size_t bytes = static_cast<size_t>(config.hidden_size) * sizeof(float);
  for (int64_t i = 0; i < run.count(); ++i) {
    std::memcpy(grad + run.rows[static_cast<size_t>(i)] * config.hidden_size,
                work.normal + i * config.hidden_size, bytes);
  }
}

void Head::Forward(const MicroBatch& mb, const float* x, const HeadWork& work, StageOutput* out,
                   HeadKept* kept) const {
  const ModelConfig& config = weights_->config();
  const LinearContext context = {pool_, nullptr, &work.linear};
  const bool with_gradient = kept != nullptr && !is_trained();
  const size_t floats = static_cast<size_t>(mb.tokens() * config.hidden_size);
  out->sample_loss_sum.assign(mb.lengths.size(), 0.0);
  out->sample_predicted.assign(mb.lengths.size(), 0);
  if (with_gradient) std::fill_n(kept->rows, floats, 0.0f);
  Run all;
  std::vector<double> losses(static_cast<size_t>(RunRows(config)));
  ForRuns(mb.lengths, mb.targets, RunRows(config), &all, [&](const Run& run) {
    Apply(weights_->head(), context, Normalize(x, run, work), run.count(), work.logits);
    ParallelFor(pool_, run.count(), [&](int64_t i, int) {
      float* logits = work.logits + i * config.vocab_size;
      const int64_t target = run.targets[static_cast<size_t>(i)];
      losses[static_cast<size_t>(i)] =
          with_gradient ? kernels::CrossEntropyGradient(logits, config.vocab_size, target,
                                                        static_cast<float>(mb.loss_scale))
                        : kernels::CrossEntropy(logits, config.vocab_size, target);
    });
    for (size_t i = 0; i < run.rows.size(); ++i) {
      out->sample_loss_sum[run.samples[i]] += losses[i];
      ++out->sample_predicted[run.samples[i]];
    }
    if (with_gradient) RunGradient(run, work, kept->rows);
  });
  for (size_t s = 0; s < mb.lengths.size(); ++s) {
    out->loss_sum += out->sample_loss_sum[s];
    out->predicted += out->sample_predicted[s];
  }
  if (kept == nullptr || with_gradient) return;
  std::memcpy(kept->rows, x, floats * sizeof(float));
  kept->lengths = mb.lengths;
  kept->targets = mb.targets;
  kept->loss_scale = mb.loss_scale;
}

void Head::Backward(const HeadKept& kept, const HeadWork& work, float* grad) const {
  const ModelConfig& config = weights_->config();
  const LinearContext context = {pool_, nullptr, &work.linear};
  Run all;
  ForRuns(kept.lengths, kept.targets, RunRows(config), &all, [&](const Run& run) {
    Apply(weights_->head(), context, Normalize(kept.rows, run, work), run.count(), work.logits);
    ParallelFor(pool_, run.count(), [&](int64_t i, int) {
      kernels::CrossEntropyGradient(work.logits + i * config.vocab_size, config.vocab_size,
                                    run.targets[static_cast<size_t>(i)],
                                    static_cast<float>(kept.loss_scale));
    });
    RunGradient(run, work, grad);
  });
}

void Head::Logits(const float* x, const HeadWork& work, float* logits) const {
  const LinearContext context = {pool_, nullptr, &work.linear};
  Apply(weights_->head(), context, Normal(x, 1, work), 1, logits);
}

}  // namespace isthmus::edge
