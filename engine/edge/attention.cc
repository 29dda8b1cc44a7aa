#include "engine/edge/attention.h"

#include <algorithm>

#include "kernels/attention.h"
#include "kernels/rotary.h"

namespace isthmus::edge {
namespace {

kernels::AttentionHead HeadOf(const ModelConfig& config, int64_t queries, int64_t keys) {
  return {queries, keys, config.head_dim, config.num_heads / config.num_kv_heads,
          config.sliding_window};
}

// Calls body(first row, length) for every sample.
template <typename Body>
void ForSamples(const RowLayout& rows, Body&& body) {
  int64_t first = 0;
  for (int32_t length : rows.lengths) {
    body(first, int64_t{length});
    first += length;
  }
}

using RotateRow = void (*)(float*, int64_t, int64_t, const float*, const float*);

void RotateAll(const BlockContext& context, const Projections& p, RotateRow rotate) {
  const ModelConfig& config = *context.config;
  if (config.positions != Positions::kRope) return;
  const int64_t past = context.rows->past;
  ForSamples(*context.rows, [&](int64_t first, int64_t length) {
    ForRows(context.pool, length, [&](int64_t run, int64_t count) {
      for (int64_t i = run; i < run + count; ++i) {
        const int64_t row = first + i;
        const float* cos = context.rotary->cos(past + i);
        const float* sin = context.rotary->sin(past + i);
        rotate(p.q + row * p.q_stride, config.num_heads, config.head_dim, cos, sin);
        rotate(p.k + row * p.kv_stride, config.num_kv_heads, config.head_dim, cos, sin);
      }
    });
  });
}

void Append(const BlockContext& context, const Projections& p, KvCache* cache) {
  for (int64_t row = 0; row < context.rows->tokens; ++row) {
    const int64_t at = row * p.kv_stride;
    cache->Store(context.rows->past + row, p.k + at, p.v + at);
  }
}

// One key/value head of one sample.
struct Task {
  kernels::AttentionHead head;
  int64_t first = 0;  // row of the sample
  int64_t kv_head = 0;
  int64_t q_column = 0, kv_column = 0;
  int64_t log_sums = 0;
};

// Calls body(task, scratch) for all heads of all samples, shared out over the pool.
template <typename Body>
void ForTasks(const BlockContext& context, Body&& body) {
  const ModelConfig& config = *context.config;
  const int64_t groups = config.num_heads / config.num_kv_heads;
  ForSamples(*context.rows, [&](int64_t first, int64_t length) {
    ParallelFor(context.pool, config.num_kv_heads, [&](int64_t kv_head, int thread) {
      Task task;
      task.head = HeadOf(config, length, context.rows->past + length);
      task.first = first;
      task.kv_head = kv_head;
      task.q_column = kv_head * groups * config.head_dim;
      task.kv_column = kv_head * config.head_dim;
      task.log_sums = first * config.num_heads + kv_head * groups * length;
      body(task, context.work->attention + thread * context.work->attention_floats);
    });
  });
}

}  // namespace

int64_t AttentionFloats(const ModelConfig& config, int64_t longest) {
  const kernels::AttentionHead head = HeadOf(config, longest, longest);
  const int64_t floats =
      std::max(kernels::AttentionGradientScratchFloats(head), KvCache::ScratchFloats(head));
  return (floats + 15) / 16 * 16;  // threads do not share a cache line
}

void Attend(const BlockContext& context, BlockKept* kept, KvCache* cache) {
  const Projections& p = kept->projections;
  RotateAll(context, p, kernels::Rotate);
  if (cache != nullptr) Append(context, p, cache);
  const int64_t out = context.config->num_heads * context.config->head_dim;
  ForTasks(context, [&](const Task& task, float* scratch) {
    const int64_t row = task.first, kv = row * p.kv_stride + task.kv_column;
    const kernels::HeadRows q = {p.q + row * p.q_stride + task.q_column, p.q_stride};
    const kernels::MutableHeadRows to = {kept->attended + row * out + task.q_column, out};
    if (cache != nullptr) return cache->Attend(task.head, task.kv_head, q, to, scratch);
    kernels::AttendHead(task.head, q, {p.k + kv, p.kv_stride}, {p.v + kv, p.kv_stride}, to,
                        kept->log_sums + task.log_sums, scratch);
  });
}

void AttendGradient(const BlockContext& context, const BlockKept& kept, const float* grad_attended,
                    const Projections& grad) {
  const Projections& p = kept.projections;
  const int64_t out = context.config->num_heads * context.config->head_dim;
  ForTasks(context, [&](const Task& task, float* scratch) {
    const int64_t q = task.first * p.q_stride + task.q_column;
    const int64_t kv = task.first * p.kv_stride + task.kv_column;
    const int64_t o = task.first * out + task.q_column;
    const kernels::AttentionKept from = {{p.q + q, p.q_stride},
                                         {p.k + kv, p.kv_stride},
                                         {p.v + kv, p.kv_stride},
                                         {kept.attended + o, out},
                                         kept.log_sums + task.log_sums};
    kernels::AttendHeadGradient(task.head, from, {grad_attended + o, out},
                                {grad.q + q, grad.q_stride}, {grad.k + kv, grad.kv_stride},
                                {grad.v + kv, grad.kv_stride}, scratch);
  });
  RotateAll(context, grad, kernels::RotateBack);
}

}  // namespace isthmus::edge
