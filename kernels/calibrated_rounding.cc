#include "kernels/calibrated_rounding.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/status.h"
#include "kernels/code_descent.h"
#include "kernels/matmul.h"
#include "kernels/upper_factor.h"

namespace isthmus {
namespace {

constexpr double kDamping = 0.01;  // of H's mean diagonal
constexpr int64_t kStep = 64;      // columns of a step where a channel has one scale
constexpr int kPasses = 4;         // of the descent behind the feedback

// How much of the drift is made good: all of it would fit the calibration text. stories260K on
// other text loses 0.060 nats without, 0.050 with a half, 0.058 with all of it; mixed-14m, 3 rows
// an input: 0.007, 0.003 with a quarter, 0.007 with a half.
double DriftShare(const InputGram& gram) {
  return 0.5 * static_cast<double>(gram.rows()) / static_cast<double>(gram.rows() + gram.width());
}

MatmulOptions With(ThreadPool* pool, bool accumulate) {
  MatmulOptions options;
  options.pool = pool;
  options.accumulate = accumulate;
  return options;
}

// Rounds `count` columns of one channel, each error going to those behind it by U's rows `u`.
// `values` are used up; codes and errors in units of U's diagonal come out. Returns the squares of
// the latter, or early once they exceed `most`.
double RoundColumns(const GroupGrid& grid, const float* u, int64_t stride, int64_t count,
                    float* values, uint8_t* codes, float* errors, double most) {
  double sum = 0.0;
  for (int64_t j = 0; j < count; ++j, u += stride) {
    codes[j] = grid.CodeOf(values[j]);
    const float error = (values[j] - grid.ValueOf(codes[j])) / u[j];
    errors[j] = error;
    sum += static_cast<double>(error) * error;
    if (sum > most) return sum;
    for (int64_t k = j + 1; k < count; ++k) values[k] -= error * u[k];
  }
  return sum;
}

}  // namespace

void InputGram::AddProduct(const float* a, const float* b, int64_t rows, ThreadPool* pool,
                           std::vector<double>* sums) {
  partial_.resize(sums->size());
  MatmulF32({a, width_, true}, {b, width_, false}, width_, width_, rows, partial_.data(),
            With(pool, false));
  for (size_t i = 0; i < sums->size(); ++i) (*sums)[i] += partial_[i];
}

void InputGram::Add(const float* x, const float* exact, int64_t rows, ThreadPool* pool) {
  AddProduct(x, x, rows, pool, &sums_);
  rows_ += rows;
  if (exact == nullptr) return;
  difference_.resize(static_cast<size_t>(rows * width_));
  for (size_t i = 0; i < difference_.size(); ++i) difference_[i] = exact[i] - x[i];
  AddProduct(difference_.data(), x, rows, pool, &drift_);
}

CalibratedRounding::CalibratedRounding(const InputGram& gram, const WeightFormatSpec& spec)
    : spec_(spec), in_(gram.width()), group_(HasGroups(spec.format) ? spec.group : gram.width()) {
  gram_.resize(static_cast<size_t>(in_ * in_));
  for (int64_t i = 0; i < in_; ++i) {
    for (int64_t j = 0; j < in_; ++j) gram_[i * in_ + j] = static_cast<float>(gram.At(i, j));
  }
  PlanOrder(gram);
  PlanSteps();
}

absl::StatusOr<CalibratedRounding> CalibratedRounding::Make(const InputGram& gram,
                                                            const WeightFormatSpec& spec,
                                                            ThreadPool* pool) {
  if (CodeBits(spec.format) > 8) {
    return InvalidArgument("calibration: expected a format of 8 or 4 bits, got ",
                           WeightFormatText(spec));
  }
  for (int64_t i = 0; i < gram.width(); ++i) {
    if (std::isfinite(gram.At(i, i))) continue;
    return InvalidArgument("calibration: expected finite inputs, got some that are not");
  }
  CalibratedRounding rounding(gram, spec);
  ISTHMUS_RETURN_IF_ERROR(rounding.Factor(gram, pool));
  return rounding;
}

// Groups of much energy first, while many others are left to take up their errors; the same within
// a group.
void CalibratedRounding::PlanOrder(const InputGram& gram) {
  const int64_t groups = (in_ + group_ - 1) / group_;
  std::vector<double> energy(static_cast<size_t>(groups), 0.0);
  for (int64_t i = 0; i < in_; ++i) energy[static_cast<size_t>(i / group_)] += gram.At(i, i);
  order_.resize(static_cast<size_t>(in_));
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) {
    const int64_t group_a = a / group_, group_b = b / group_;
    if (group_a == group_b) return gram.At(a, a) > gram.At(b, b);
    const double energy_a = energy[static_cast<size_t>(group_a)];
    const double energy_b = energy[static_cast<size_t>(group_b)];
    return energy_a != energy_b ? energy_a > energy_b : group_a < group_b;
  });
}

void CalibratedRounding::PlanSteps() {
  const int64_t most = HasGroups(spec_.format) ? group_ : kStep;
  for (int64_t begin = 0; begin < in_;) {
    Step step;
    step.begin = begin;
    step.group = order_[static_cast<size_t>(begin)] / group_;
    step.fits = HasGroups(spec_.format) || begin == 0;
    const int64_t size = std::min(group_, in_ - step.group * group_);
    step.end = std::min({in_, begin + size, begin + most});
    steps_.push_back(step);
    begin = step.end;
  }
}

// Inputs that were always 0 say nothing about their weights: the damping alone rounds those to
// nearest.
absl::Status CalibratedRounding::Factor(const InputGram& gram, ThreadPool* pool) {
  double mean = 0.0;
  for (int64_t i = 0; i < in_; ++i) mean += gram.At(i, i) / static_cast<double>(in_);
  const double damping = mean > 0.0 ? kDamping * mean : 1.0;
  std::vector<double> h(static_cast<size_t>(in_ * in_));
  for (int64_t i = 0; i < in_; ++i) {
    for (int64_t j = 0; j < in_; ++j) {
      h[static_cast<size_t>(i * in_ + j)] =
          gram.At(order_[static_cast<size_t>(i)], order_[static_cast<size_t>(j)]);
    }
    h[static_cast<size_t>(i * in_ + i)] += damping;
  }
  if (!InvertToUpperFactor(in_, &h, pool)) {
    return InvalidArgument(
        "calibration: expected inputs of full rank with the damping, got less (they are too large "
        "for fp32)");
  }
  feedback_.assign(h.begin(), h.end());
  drift_.resize(feedback_.size());
  const double share = DriftShare(gram);
  for (int64_t i = 0; i < in_; ++i) {
    for (int64_t j = 0; j < in_; ++j) {
      drift_[i * in_ + j] =
          static_cast<float>(share * gram.DriftAt(i, order_[static_cast<size_t>(j)]));
    }
  }
  return absl::OkStatus();
}

std::vector<float> CalibratedRounding::TimesGram(const std::vector<float>& rows, int64_t out,
                                                 ThreadPool* pool) const {
  std::vector<float> products(rows.size());
  MatmulF32({rows.data(), in_, false}, {gram_.data(), in_, false}, out, in_, in_, products.data(),
            With(pool, false));
  return products;
}

std::vector<double> CalibratedRounding::Energies(const std::vector<float>& rows, int64_t out,
                                                 ThreadPool* pool) const {
  const std::vector<float> products = TimesGram(rows, out, pool);
  std::vector<double> energies(static_cast<size_t>(out), 0.0);
  for (size_t i = 0; i < rows.size(); ++i)
    energies[i / static_cast<size_t>(in_)] += static_cast<double>(products[i]) * rows[i];
  return energies;
}

std::vector<float> CalibratedRounding::Differences(
    absl::Span<const float> target, const std::vector<ChannelCodes>& channels) const {
  std::vector<float> differences(target.begin(), target.end());
  for (size_t n = 0; n < channels.size(); ++n) {
    const std::vector<float> values = ChannelValues(channels[n], spec_);
    for (size_t k = 0; k < values.size(); ++k) differences[n * values.size() + k] -= values[k];
  }
  return differences;
}

// W + W D H^-1: what gives from these inputs the outputs that W gives from the exact ones.
std::vector<float> CalibratedRounding::Target(absl::Span<const float> weights, int64_t out,
                                              ThreadPool* pool) const {
  const MatrixOperand u = {feedback_.data(), in_, false}, u_t = {feedback_.data(), in_, true};
  std::vector<float> a(weights.size()), b(weights.size()), target(weights.begin(), weights.end());
  MatmulF32({weights.data(), in_, false}, {drift_.data(), in_, false}, out, in_, in_, a.data(),
            With(pool, false));
  MatmulF32({a.data(), in_, false}, u_t, out, in_, in_, b.data(), With(pool, false));
  MatmulF32({b.data(), in_, false}, u, out, in_, in_, a.data(), With(pool, false));
  for (int64_t n = 0; n < out; ++n) {
    for (int64_t place = 0; place < in_; ++place)
      target[n * in_ + order_[static_cast<size_t>(place)]] += a[n * in_ + place];
  }
  return target;
}

// One matrix on its way through the steps.
class CalibratedRounding::Turn {
 public:
  Turn(const CalibratedRounding& rounding, absl::Span<const float> weights, int64_t out)
      : rounding_(rounding),
        weights_(weights),
        out_(out),
        rest_(weights.size()),
        grids_(static_cast<size_t>(out * ((rounding.in_ + rounding.group_ - 1) / rounding.group_))),
        channels_(static_cast<size_t>(out)) {
    const int64_t in = rounding.in_;
    for (int64_t place = 0; place < in; ++place) {
      const int64_t input = rounding.order_[static_cast<size_t>(place)];
      for (int64_t n = 0; n < out; ++n) rest_[place * out + n] = weights[n * in + input];
    }
    for (ChannelCodes& channel : channels_) channel.codes.resize(static_cast<size_t>(in));
  }

  void Take(const Step& step, ThreadPool* pool) {
    errors_.resize(static_cast<size_t>((step.end - step.begin) * out_));
    constexpr int64_t kChannels = 16;
    ParallelFor(pool, (out_ + kChannels - 1) / kChannels, [&](int64_t run, int) {
      for (int64_t n = run * kChannels; n < std::min(out_, (run + 1) * kChannels); ++n)
        RoundChannel(step, n);
    });
    Feed(step, pool);
  }

  std::vector<ChannelCodes> Channels(ThreadPool* pool) && {
    const size_t groups = grids_.size() / static_cast<size_t>(out_);
    for (size_t i = 0; i < grids_.size(); ++i) AddGrid(grids_[i], &channels_[i / groups]);
    std::vector<float> pull =
        rounding_.TimesGram(rounding_.Differences(weights_, channels_), out_, pool);
    const size_t in = static_cast<size_t>(rounding_.in_);
    ParallelFor(pool, out_, [&](int64_t index, int) {
      const size_t n = static_cast<size_t>(index);
      DescendCodes(rounding_.gram_.data(), rounding_.group_,
                   absl::MakeConstSpan(grids_).subspan(n * groups, groups), kPasses,
                   absl::MakeSpan(pull).subspan(n * in, in), absl::MakeSpan(channels_[n].codes));
    });
    return std::move(channels_);
  }

 private:
  const float* FeedbackAt(int64_t row, int64_t column) const {
    return rounding_.feedback_.data() + row * rounding_.in_ + column;
  }

  void RoundChannel(const Step& step, int64_t n) {
    const int64_t count = step.end - step.begin, in = rounding_.in_;
    std::vector<float> values(static_cast<size_t>(count)), used, errors(values.size());
    std::vector<uint8_t> codes(values.size());
    for (int64_t j = 0; j < count; ++j) values[j] = rest_[(step.begin + j) * out_ + n];
    const size_t groups = grids_.size() / static_cast<size_t>(out_);
    GroupGrid* grid = &grids_[static_cast<size_t>(n) * groups + static_cast<size_t>(step.group)];
    if (step.fits) *grid = Fit(step, n, values);
    used = values;
    RoundColumns(*grid, FeedbackAt(step.begin, step.begin), in, count, used.data(), codes.data(),
                 errors.data(), INFINITY);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t input = rounding_.order_[static_cast<size_t>(step.begin + j)];
      channels_[static_cast<size_t>(n)].codes[static_cast<size_t>(input)] = codes[j];
      errors_[j * out_ + n] = -errors[j];
    }
  }

  GroupGrid Fit(const Step& step, int64_t n, const std::vector<float>& values) const {
    const int64_t in = rounding_.in_;
    const float channel_scale = ChannelScale(weights_.subspan(n * in, in), rounding_.spec_);
    const std::vector<GroupGrid> grids = CandidateGrids(values, rounding_.spec_, channel_scale);
    if (grids.size() == 1) return grids[0];
    std::vector<float> used, errors(values.size());
    std::vector<uint8_t> codes(values.size());
    const GroupGrid* best = nullptr;
    double least = INFINITY;
    for (const GroupGrid& grid : grids) {
      used = values;
      const double error = RoundColumns(grid, FeedbackAt(step.begin, step.begin), in,
                                        static_cast<int64_t>(values.size()), used.data(),
                                        codes.data(), errors.data(), least);
      if (best != nullptr && error >= least) continue;
      best = &grid;
      least = error;
    }
    return *best;
  }

  // rest [behind][out] -= U[step][behind]^T errors.
  void Feed(const Step& step, ThreadPool* pool) {
    const int64_t behind = rounding_.in_ - step.end;
    MatmulF32({FeedbackAt(step.begin, step.end), rounding_.in_, true},
              {errors_.data(), out_, false}, behind, out_, step.end - step.begin,
              rest_.data() + step.end * out_, With(pool, true));
  }

  const CalibratedRounding& rounding_;
  const absl::Span<const float> weights_;
  const int64_t out_;
  std::vector<float> rest_;       // [place][out]: weights with the errors of rounded places in them
  std::vector<float> errors_;     // [place of the step][out], negative, in units of U's diagonal
  std::vector<GroupGrid> grids_;  // [out][groups]
  std::vector<ChannelCodes> channels_;
};

CalibratedCodes CalibratedRounding::Round(absl::Span<const float> weights, int64_t out,
                                          ThreadPool* pool) const {
  ISTHMUS_CHECK(static_cast<int64_t>(weights.size()) == out * in_);
  const std::vector<float> target = Target(weights, out, pool);
  Turn turn(*this, target, out);
  for (const Step& step : steps_) turn.Take(step, pool);
  CalibratedCodes result;
  result.channels = std::move(turn).Channels(pool);
  std::vector<ChannelCodes> nearest;
  for (int64_t n = 0; n < out; ++n)
    nearest.push_back(QuantizeChannel(weights.subspan(n * in_, in_), spec_));
  const std::vector<double> total = Energies(target, out, pool);
  const std::vector<double> nearest_errors = Energies(Differences(target, nearest), out, pool);
  const std::vector<double> errors = Energies(Differences(target, result.channels), out, pool);
  for (size_t n = 0; n < nearest.size(); ++n) {
    result.output += total[n];
    result.nearest_error += nearest_errors[n];
    result.error += std::min(errors[n], nearest_errors[n]);
    if (nearest_errors[n] <= errors[n]) result.channels[n] = std::move(nearest[n]);
  }
  return result;
}

}  // namespace isthmus
