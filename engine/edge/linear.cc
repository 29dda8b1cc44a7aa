#include "engine/edge/linear.h"

#include <algorithm>

#include "kernels/matmul.h"
#include "kernels/rows.h"

namespace isthmus::edge {
namespace {

// The space of a product: the pool's threads and the bytes that LinearWork carved.
MatmulOptions Options(const LinearContext& context, bool accumulate) {
  MatmulOptions options;
  options.accumulate = accumulate;
  options.bf16_activations = context.work->bf16;
  options.pool = context.pool;
  options.scratch =
      absl::MakeSpan(context.work->product, static_cast<size_t>(context.work->product_bytes));
  return options;
}

MatrixOperand Rows(const float* values, int64_t width) { return {values, width, false}; }
MatrixOperand Transposed(const float* values, int64_t width) { return {values, width, true}; }

// The stored matrix of `linear` as [out, in].
MatrixOperand WeightOf(const Linear& linear) {
  return linear.transposed ? Transposed(linear.weight.values, linear.out)
                           : Rows(linear.weight.values, linear.in);
}
MatrixOperand Flipped(MatrixOperand operand) {
  operand.transposed = !operand.transposed;
  return operand;
}

bool Drops(const LinearContext& context) {
  return context.dropout != nullptr && context.dropout->rate > 0.0;
}

// The adapter's input: x, or x with dropout where it is trained.
const float* AdapterInput(const Linear& linear, const LinearContext& context, const float* x,
                          int64_t rows) {
  if (!linear.trains_adapter() || !Drops(context)) return x;
  const LinearWork& work = *context.work;
  const int64_t count = rows * linear.in;
  FillDropoutMask(*context.dropout, linear.layer, linear.module, linear.in,
                  absl::MakeSpan(work.mask, static_cast<size_t>(count)));
  kernels::MultiplyElements(x, work.mask, count, work.dropped);
  return work.dropped;
}

// low [rows, rank] = scale * input A^T.
void LowRank(const Linear& linear, const LinearContext& context, const float* input, int64_t rows,
             float* low) {
  MatmulF32(Rows(input, linear.in), Transposed(linear.lora_a.values, linear.in), rows, linear.rank,
            linear.in, low, Options(context, false));
  kernels::ScaleElements(linear.lora_scale, rows * linear.rank, low);
}

// Adds the gradients of A and B; work.grad_low is that of the rank-wide rows.
void FactorGradients(const Linear& linear, const LinearContext& context, const float* x,
                     const float* dy, int64_t rows) {
  const LinearWork& work = *context.work;
  const float* input = AdapterInput(linear, context, x, rows);
  LowRank(linear, context, input, rows, work.low);
  MatmulF32(Transposed(dy, linear.out), Rows(work.low, linear.rank), linear.out, linear.rank, rows,
            linear.lora_b.gradient, Options(context, true));
  MatmulF32(Transposed(work.grad_low, linear.rank), Rows(input, linear.in), linear.rank, linear.in,
            rows, linear.lora_a.gradient, Options(context, true));
}

void AdapterGradient(const Linear& linear, const LinearContext& context, const float* x,
                     const float* dy, int64_t rows, float* dx) {
  const LinearWork& work = *context.work;
  MatmulF32(Rows(dy, linear.out), Rows(linear.lora_b.values, linear.rank), rows, linear.rank,
            linear.out, work.grad_low, Options(context, false));
  kernels::ScaleElements(linear.lora_scale, rows * linear.rank, work.grad_low);
  if (linear.trains_adapter()) FactorGradients(linear, context, x, dy, rows);
  if (dx == nullptr) return;
  // The mask is still that of FactorGradients.
  const bool drops = linear.trains_adapter() && Drops(context);
  float* const to = drops ? work.dropped : dx;
  MatmulF32(Rows(work.grad_low, linear.rank), Rows(linear.lora_a.values, linear.in), rows,
            linear.in, linear.rank, to, Options(context, /*accumulate=*/!drops));
  if (!drops) return;
  const int64_t count = rows * linear.in;
  kernels::MultiplyElements(work.dropped, work.mask, count, work.dropped);
  kernels::AddElements(dx, work.dropped, count, dx);
}

// Adds dy^T x to the gradient of the stored matrix.
void WeightGradient(const Linear& linear, const LinearContext& context, const float* x,
                    const float* dy, int64_t rows) {
  if (linear.transposed) {
    MatmulF32(Transposed(x, linear.in), Rows(dy, linear.out), linear.in, linear.out, rows,
              linear.weight.gradient, Options(context, true));
  } else {
    MatmulF32(Transposed(dy, linear.out), Rows(x, linear.in), linear.out, linear.in, rows,
              linear.weight.gradient, Options(context, true));
  }
}

}  // namespace

LinearWork LinearWork::Carve(Carver* carver, const Weights& weights, int64_t tokens, int threads) {
  const TrainSpec& train = weights.train();
  LinearWork work;
  work.bf16 = train.bf16;
  work.product_bytes = MatmulF32ScratchBytes(threads);
  int64_t widest = 0;
  for (const Linear* linear : weights.Linears()) {
    if (linear->packed != nullptr) {
      work.product_bytes = std::max(
          work.product_bytes, MatmulScratchBytes(*linear->packed, tokens, threads, train.bf16));
    }
    if (linear->has_adapter()) widest = std::max(widest, linear->in);
  }
  work.product = carver->Bytes(work.product_bytes);
  if (widest == 0) return work;
  work.low = carver->Floats(tokens * train.lora.rank);
  work.grad_low = carver->Floats(tokens * train.lora.rank);
  if (train.lora.dropout == 0.0) return work;
  work.dropped = carver->Floats(tokens * widest);
  work.mask = carver->Floats(tokens * widest);
  return work;
}

bool ReadsCodes(const Linear& linear) {
  return linear.packed != nullptr && IsIntegerFormat(linear.packed->spec().format);
}

bool ReadsFloats(const Linear& linear) {
  return !ReadsCodes(linear) || linear.has_adapter() || linear.weight.gradient != nullptr;
}

void Apply(const Linear& linear, const LinearContext& context, const LinearInput& x, int64_t rows,
           float* y, bool add) {
  const MatmulOptions options = Options(context, add);
  if (ReadsCodes(linear) && x.codes.rows > 0) {
    MatmulForward(x.codes, *linear.packed, y, options);
  } else if (linear.packed != nullptr) {
    MatmulForward(x.values, rows, *linear.packed, y, options);
  } else {
    MatmulF32(Rows(x.values, linear.in), Flipped(WeightOf(linear)), rows, linear.out, linear.in, y,
              options);
  }
  if (linear.bias.values != nullptr) kernels::AddToRows(linear.bias.values, rows, linear.out, y);
  if (!linear.has_adapter()) return;
  const float* input = AdapterInput(linear, context, x.values, rows);
  LowRank(linear, context, input, rows, context.work->low);
  MatmulF32(Rows(context.work->low, linear.rank), Transposed(linear.lora_b.values, linear.rank),
            rows, linear.out, linear.rank, y, Options(context, true));
}

void ApplyGradient(const Linear& linear, const LinearContext& context, const float* x,
                   const float* dy, int64_t rows, float* dx, bool add) {
  if (linear.weight.gradient != nullptr) WeightGradient(linear, context, x, dy, rows);
  if (linear.bias.gradient != nullptr)
    kernels::AddRowSum(dy, rows, linear.out, linear.bias.gradient);
  if (dx != nullptr) {
    const MatmulOptions options = Options(context, add);
    if (linear.packed != nullptr) {
      MatmulInputGradient(dy, rows, *linear.packed, dx, options);
    } else {
      MatmulF32(Rows(dy, linear.out), WeightOf(linear), rows, linear.in, linear.out, dx, options);
    }
  }
  if (linear.has_adapter()) AdapterGradient(linear, context, x, dy, rows, dx);
}

}  // namespace isthmus::edge
