// What is fine-tuned: models, data sets, how often the data are seen, and which tensors learn.
#ifndef ISTHMUS_BENCH_TRAINING_CELLS_H_
#define ISTHMUS_BENCH_TRAINING_CELLS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/training_families.h"

namespace isthmus::bench {

struct TrainingCell {
  std::string model, data;
  int epochs = 1;
  bool full = false;  // every tensor; else LoRA of rank 8 on every linear map

  std::string Name() const;  // "stories260K/tinyshakespeare/4 epochs/LoRA"
};

// What says most comes first: a run that is stopped has it.
std::vector<TrainingCell> TrainingCells();

// Windows of 128 tokens, packed from the data's documents, as token ids that every run of the cell
// and `isthmus train` read: FOLDER/MODEL-DATA-WINDOWS-train.jsonl and -eval.jsonl.
struct TrainingFiles {
  std::string train, eval;
};
absl::StatusOr<TrainingFiles> WriteTrainingFiles(const TrainingCell& cell,
                                                 const std::string& shared,
                                                 const std::string& folder);

// The job file of one run: one worker between the client's first and last block, cuts after blocks
// 1 and L - 1, two micro-batches a step. A link of `rate_mbps` at every host; 0: none is emulated.
struct TrainingRunSpec {
  TrainingCell cell;
  TrainingFiles files;
  CodecPair codec;
  uint64_t seed = 1;
  int rate_mbps = 0;
};
std::string TrainingJob(const TrainingRunSpec& run, const std::string& shared,
                        const std::string& output);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_TRAINING_CELLS_H_
