// Steps per channel by what the loss says: the sender of activations learns weights from the
// gradient that comes back, and sends them with the first training frame after a step boundary at
// which they moved.
#ifndef ISTHMUS_COMPRESSION_ECQ_SENSITIVITY_H_
#define ISTHMUS_COMPRESSION_ECQ_SENSITIVITY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "base/bytes.h"
#include "compression/bit_policy.h"
#include "compression/codec.h"
#include "compression/ecq_options.h"
#include "compression/ecq_side_coder.h"
#include "compression/ecq_state.h"
#include "compression/gradient_squares.h"
#include "compression/sent_errors.h"

namespace isthmus {

// Weights in quarters of an octave of the step, a factor of 4 at most:
//   kSquares   step_c = step / sqrt(w_c), w_c the running root mean square of the gradient over its
//              geometric mean
//   kGates     step_c = step 2^-(b_c - mean b), the gates of AMAQ (bit_policy.h) without rounding
class EcqSensitivity {
 public:
  EcqSensitivity(const EcqOptions& options, const EdgeShape& shape);

  bool active() const { return weighting_ != EcqWeighting::kNone; }
  // Gates need what a frame was off by: a buffer for decoded - sent, then Keep.
  bool wants_errors() const { return weighting_ == EcqWeighting::kGates; }
  SentErrors* errors() { return &errors_; }

  void Observe(absl::Span<const float> g_TD, uint32_t micro_batch);
  // Lets the weights follow; what changed enough waits for the next training frame.
  void Commit();
  void Rollback();

  bool has_pending() const { return now_.wanted != now_.sent; }
  const int8_t* pending() const { return now_.wanted.data(); }
  // Codes the wanted weights against the core's and sets them there.
  void Put(EcqCore* core, SideEncoder* side) const;
  static bool Get(EcqCore* core, SideDecoder* side);
  void Sent() { now_.sent = now_.wanted; }
  void Forget();  // the other end is at zero weights again

  void Write(Bytes* out) const;
  bool Read(ByteReader* in);
  int64_t StateBytes() const;
  static int64_t StateBytesFor(const EcqOptions& options, const EdgeShape& shape);

 private:
  struct Memory {
    explicit Memory(size_t width) : squares(width), wanted(width), sent(width) {}
    Memory Copy() const;
    GradientSquares squares;           // kSquares
    std::unique_ptr<BitPolicy> gates;  // kGates
    std::vector<int8_t> wanted, sent;
  };
  // Quarters of an octave, of whatever mean; empty while too little is known.
  std::vector<double> Quarters() const;

  const EcqWeighting weighting_;
  Memory now_, boundary_;
  SentErrors errors_;
  std::vector<uint8_t> bits_;  // what gates are told that a frame was sent with
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_SENSITIVITY_H_
