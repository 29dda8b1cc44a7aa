// What an ecq spec says, parsed.
#ifndef ISTHMUS_COMPRESSION_ECQ_OPTIONS_H_
#define ISTHMUS_COMPRESSION_ECQ_OPTIONS_H_

#include <cstdint>

namespace isthmus {

enum class EcqTarget : uint8_t {
  kDecibel = 0,  // signal to noise of a frame
  kBits = 1,     // bits per element of a frame
  kBytes = 2     // bytes of a frame
};

// What gives channels steps of their own.
enum class EcqWeighting : uint8_t {
  kNone = 0,
  kSquares = 1,  // the mean square of the channel's gradient
  kGates = 2     // AMAQ's gates: step_c = step 2^-(b_c - mean b), bits that are never rounded
};

struct EcqOptions {
  EcqTarget target = EcqTarget::kDecibel;
  double value = 20.0;
  bool has_floor = false;
  double floor_db = 0.0;  // bits and bytes: never a coarser step than this quality needs
  bool slots = true;      // predict from the mean of rows of the same id
  bool samples = true;    // predict from the sample's last visit
  int64_t num_slots = 4096;
  int64_t capacity = 0;  // samples in the store; 0: as many as there are
  bool mapped = false;   // the rows of the store are in a file
  double keep = 1.0;     // gradients: share of the tokens that are sent
  double eval_db = 6.0;  // how much finer evaluation and generation are
  int64_t basis = 0;     // channels of a block in a learned orthonormal basis; 0: as they come
  EcqWeighting weighting = EcqWeighting::kNone;  // steps per channel by the loss's gradient
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_OPTIONS_H_
