#include "engine/edge/norm.h"

namespace isthmus::edge {
namespace {

bool HasMean(const ModelConfig& config) { return config.norm == isthmus::Norm::kLayerNorm; }

kernels::NormRows ShapeOf(const ModelConfig& config, int64_t rows) {
  return {rows, config.hidden_size, static_cast<float>(config.norm_eps)};
}

}  // namespace

NormKept NormKept::Carve(Carver* carver, const ModelConfig& config, int64_t tokens) {
  NormKept kept;
  kept.inverse = carver->Floats(tokens);
  if (HasMean(config)) kept.mean = carver->Floats(tokens);
  return kept;
}

void ForwardNorm(const ModelConfig& config, const Norm& norm, ThreadPool* pool, const float* x,
                 int64_t rows, float* y, const NormKept& kept) {
  ForRows(pool, rows, [&](int64_t first, int64_t count) {
    const int64_t at = first * config.hidden_size;
    const kernels::NormRows shape = ShapeOf(config, count);
    if (HasMean(config)) {
      kernels::LayerNorm(shape, x + at, norm.weight.values, norm.bias.values, y + at,
                         kept.mean + first, kept.inverse + first);
    } else {
      kernels::RmsNorm(shape, x + at, norm.weight.values, y + at, kept.inverse + first);
    }
  });
}

void ForwardNormQuantized(const ModelConfig& config, const Norm& norm, ThreadPool* pool,
                          const float* x, int64_t rows, float* y, const NormKept& kept,
                          const kernels::CodeRows& codes) {
  ForRows(pool, rows, [&](int64_t first, int64_t count) {
    const int64_t at = first * config.hidden_size;
    const kernels::NormRows shape = ShapeOf(config, count);
    const kernels::CodeRows part = {codes.codes + first * codes.padded, codes.scales + first,
                                    codes.padded};
    float* const to = y == nullptr ? nullptr : y + at;
    if (HasMean(config)) {
      kernels::LayerNormQuantized(shape, x + at, norm.weight.values, norm.bias.values, to,
                                  kept.mean + first, kept.inverse + first, part);
    } else {
      kernels::RmsNormQuantized(shape, x + at, norm.weight.values, to, kept.inverse + first, part);
    }
  });
}

void ForwardNormAgain(const ModelConfig& config, const Norm& norm, ThreadPool* pool, const float* x,
                      int64_t rows, const NormKept& kept, float* y) {
  ForRows(pool, rows, [&](int64_t first, int64_t count) {
    const int64_t at = first * config.hidden_size;
    const kernels::NormRows shape = ShapeOf(config, count);
    if (HasMean(config)) {
      kernels::LayerNormAgain(shape, x + at, kept.mean + first, kept.inverse + first,
                              norm.weight.values, norm.bias.values, y + at);
    } else {
      kernels::RmsNormAgain(shape, x + at, kept.inverse + first, norm.weight.values, y + at);
    }
  });
}

void BackwardNorm(const ModelConfig& config, const Norm& norm, ThreadPool* pool, const float* x,
                  int64_t rows, const NormKept& kept, const float* dy, float* dx) {
  // Gradients of the weights add up over the rows in order: one thread.
  ThreadPool* const rows_pool = norm.weight.gradient == nullptr ? pool : nullptr;
  ForRows(rows_pool, rows, [&](int64_t first, int64_t count) {
    const int64_t at = first * config.hidden_size;
    const kernels::NormRows shape = ShapeOf(config, count);
    if (HasMean(config)) {
      kernels::AddLayerNormGradient(shape, x + at, kept.mean + first, kept.inverse + first,
                                    norm.weight.values, dy + at, dx + at, norm.weight.gradient,
                                    norm.bias.gradient);
    } else {
      kernels::AddRmsNormGradient(shape, x + at, kept.inverse + first, norm.weight.values, dy + at,
                                  dx + at, norm.weight.gradient);
    }
  });
}

}  // namespace isthmus::edge
