// Rate and distortion of every codec family on made-up sources and on what a training run sends.
#ifndef ISTHMUS_BENCH_CODEC_RD_H_
#define ISTHMUS_BENCH_CODEC_RD_H_

#include <string>

#include "absl/status/status.h"
#include "bench/result_file.h"

namespace isthmus::bench {

// Rows {"source","family","codec","bits_per_element","snr_db","bits_above_rd"}; the last against
// 1/2 log2(energy / D), R(D) of a Gaussian of the source's energy.
absl::Status MeasureSynthetic(ResultFile* results);

// The same of activations and gradients over the edges of a short uncompressed run of `isthmus
// train`: a model cut over client and two workers. `name` names it in the sources; scratch files go
// below `folder`.
struct CaptureJob {
  std::string isthmus;  // program
  std::string name, model, text;
  std::string folder;
};
absl::Status MeasureCapturedEdges(const CaptureJob& job, ResultFile* results);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_CODEC_RD_H_
