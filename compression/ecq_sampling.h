// Two things a sender may do to gradients and with them: leave out tokens without bias, and learn
// how much each channel matters to the loss.
#ifndef ISTHMUS_COMPRESSION_ECQ_SAMPLING_H_
#define ISTHMUS_COMPRESSION_ECQ_SAMPLING_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"
#include "compression/codec.h"
#include "compression/ecq_options.h"
#include "compression/ecq_side_coder.h"
#include "compression/ecq_state.h"
#include "compression/gradient_squares.h"

namespace isthmus {

// Importance-sampled tokens: row t is kept with p_t = min(1, c |g_t|), p_t >= keep / 10 unless g_t
// is exactly 0, c solved for the mean share, and kept rows are divided by p_t. Draws are keyed by
// (seed, edge, step, sample, position).
class EcqSampling {
 public:
  EcqSampling(const EcqOptions& options, const EdgeShape& shape);

  bool active() const { return active_; }
  // The rows to code, valid until the next call: kept ones over their p, zeros elsewhere.
  const float* Draw(absl::Span<const float> g_TD, const FrameContext& context);
  bool keeps(size_t row) const { return !active_ || kept_rows_[row] != 0; }
  size_t kept(size_t rows) const { return active_ ? kept_ : rows; }

 private:
  void FindChances(const std::vector<double>& norms);

  const EdgeShape shape_;
  const double keep_;
  const bool active_;
  std::vector<double> norms_, chances_;
  std::vector<uint8_t> kept_rows_;
  std::vector<float> rows_;
  size_t kept_ = 0;
};

// The running mean square of the gradient per channel, as weights in quarters of an octave that
// move at step boundaries only.
class EcqSensitivity {
 public:
  explicit EcqSensitivity(size_t width);

  void Observe(absl::Span<const float> g_TD) { now_.squares.Observe(g_TD); }
  // Lets the weights follow; what changed enough waits for the next training frame.
  void Commit();
  void Rollback() { now_ = boundary_; }

  bool has_pending() const { return now_.wanted != now_.sent; }
  const int8_t* pending() const { return now_.wanted.data(); }
  // Codes the wanted weights against the core's and sets them there.
  void Put(EcqCore* core, SideEncoder* side) const;
  static bool Get(EcqCore* core, SideDecoder* side);
  void Sent() { now_.sent = now_.wanted; }
  void Forget();  // the other end is at zero weights again

  void Write(Bytes* out) const;
  bool Read(ByteReader* in);

 private:
  struct Memory {
    explicit Memory(size_t width) : squares(width), wanted(width), sent(width) {}
    GradientSquares squares;
    std::vector<int8_t> wanted, sent;
  };
  Memory now_, boundary_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_SAMPLING_H_
