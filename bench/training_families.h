// The pairs of codecs that a fine-tuning run is measured with, as ladders from fine to coarse.
#ifndef ISTHMUS_BENCH_TRAINING_FAMILIES_H_
#define ISTHMUS_BENCH_TRAINING_FAMILIES_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace isthmus::bench {

struct CodecPair {
  std::string forward, backward;
};

enum class FamilyRole {
  kOurs,       // what the bars are about
  kVariant,    // ours with other settings
  kPublished,  // as its authors have it, nothing tuned
  kRival,      // tuned in as many tries as ours
  kFurther     // the same, measured after all others
};

struct TrainingFamily {
  std::string name;
  FamilyRole role = FamilyRole::kRival;
  std::string forward, backward;           // specs with {} for the rung's number
  std::vector<std::pair<int, int>> rungs;  // forward's and backward's number
  bool adaptive = false;                   // codec: auto over links that always hold the step up

  CodecPair At(size_t rung) const;
};

// Ladders have seven rungs, so that a search by halves takes the same three tries on each; what is
// not tuned has one.
const std::vector<TrainingFamily>& TrainingFamilies();

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_TRAINING_FAMILIES_H_
