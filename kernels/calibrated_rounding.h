// Rounding with error feedback, from the inputs that a matrix sees (GPTQ: Frantar et al., 2022,
// arXiv 2210.17323).
//
// With H = sum of x^T x over the calibration rows, the error of y = x W^T that codes Q make is
// tr((W - Q) H (W - Q)^T). Columns are rounded one after the other; what rounding one leaves over
// is taken up by those that follow, by the Cholesky factor of H^-1 (H damped by 1 % of its mean
// diagonal). Groups come in order of their inputs' energy, and so do the inputs of a group; a
// group's grid is the candidate with the least error once feedback is counted in, fitted when its
// turn comes. Then a few passes of coordinate descent improve the codes. Channels do not
// depend on each other. With H a multiple of the identity all of it is rounding to nearest.
//
// Inputs carry the errors of the matrices in front. Where the exact ones are known too, W first
// moves part of the way to what gives the exact outputs from the inputs as they are (GPTAQ: Li et
// al., 2025, arXiv 2504.02692): half of it, less where rows are few beside inputs.
//
// The same codes for any number of threads.
#ifndef ISTHMUS_KERNELS_CALIBRATED_ROUNDING_H_
#define ISTHMUS_KERNELS_CALIBRATED_ROUNDING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/parallel.h"
#include "kernels/quantize_weights.h"
#include "kernels/weight_format.h"

namespace isthmus {

// H = sum of x^T x, in double.
class InputGram {
 public:
  explicit InputGram(int64_t width)
      : width_(width), sums_(static_cast<size_t>(width * width), 0.0), drift_(sums_) {}
  // x [rows][width]. `exact`: what the inputs would be without errors in front of the matrix. The
  // rows of one call are summed in fp32: some hundreds, not millions.
  void Add(const float* x, const float* exact, int64_t rows, ThreadPool* pool = nullptr);

  int64_t width() const { return width_; }
  int64_t rows() const { return rows_; }
  double At(int64_t i, int64_t j) const { return sums_[static_cast<size_t>(i * width_ + j)]; }
  // Sum of (exact - x)^T x.
  double DriftAt(int64_t i, int64_t j) const { return drift_[static_cast<size_t>(i * width_ + j)]; }

 private:
  void AddProduct(const float* a, const float* b, int64_t rows, ThreadPool* pool,
                  std::vector<double>* sums);

  const int64_t width_;
  int64_t rows_ = 0;
  std::vector<double> sums_, drift_;
  std::vector<float> partial_, difference_;
};

// A matrix's codes and what they cost on the calibration rows, against the weights that were aimed
// at: sums of squares over rows and channels.
struct CalibratedCodes {
  std::vector<ChannelCodes> channels;
  double output = 0.0;         // of the outputs themselves
  double nearest_error = 0.0;  // of the outputs' errors, rounded to nearest
  double error = 0.0;          // of these codes; at most nearest_error
};

class CalibratedRounding {
 public:
  // For matrices that read these inputs. kInvalidArgument: a format of more than 8 bits, inputs
  // that are not finite.
  static absl::StatusOr<CalibratedRounding> Make(const InputGram& gram,
                                                 const WeightFormatSpec& spec,
                                                 ThreadPool* pool = nullptr);

  // W [out][in], finite (CHECK sizes). A channel for which feedback does not pay is rounded to
  // nearest.
  CalibratedCodes Round(absl::Span<const float> weights, int64_t out,
                        ThreadPool* pool = nullptr) const;

 private:
  // Columns that are rounded before their errors go to the rest.
  struct Step {
    int64_t begin = 0, end = 0;  // places in order_
    int64_t group = 0;
    bool fits = false;  // its group's grid is chosen here
  };
  class Turn;

  CalibratedRounding(const InputGram& gram, const WeightFormatSpec& spec);
  void PlanOrder(const InputGram& gram);
  void PlanSteps();
  absl::Status Factor(const InputGram& gram, ThreadPool* pool);
  std::vector<float> TimesGram(const std::vector<float>& rows, int64_t out, ThreadPool* pool) const;
  // r H r^T of each of the rows [out][in].
  std::vector<double> Energies(const std::vector<float>& rows, int64_t out, ThreadPool* pool) const;
  // target [out][in] less what the codes restore.
  std::vector<float> Differences(absl::Span<const float> target,
                                 const std::vector<ChannelCodes>& channels) const;
  // W and the drift that it makes good.
  std::vector<float> Target(absl::Span<const float> weights, int64_t out, ThreadPool* pool) const;

  const WeightFormatSpec spec_;
  const int64_t in_;
  const int64_t group_;         // inputs that share a grid
  std::vector<int64_t> order_;  // place -> input
  std::vector<Step> steps_;
  std::vector<float> gram_;      // H, undamped, [in][in]
  std::vector<float> drift_;     // [in][in]: places in columns
  std::vector<float> feedback_;  // U [in][in] in places: upper, H^-1 = U^T U
};

}  // namespace isthmus

#endif  // ISTHMUS_KERNELS_CALIBRATED_ROUNDING_H_
