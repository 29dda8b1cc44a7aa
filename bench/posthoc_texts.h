// The texts that models are read through cuts with, as documents in the product's own form.
#ifndef ISTHMUS_BENCH_POSTHOC_TEXTS_H_
#define ISTHMUS_BENCH_POSTHOC_TEXTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace isthmus::bench {

struct PosthocModel {
  std::string name;
  std::vector<std::string> texts;
  int default_tokens;  // input positions of a measurement
};
const std::vector<PosthocModel>& PosthocModels();

// tinystories | wikitext2 | qnli | gsm8k: writes the first documents of the raw data below `data`
// as FOLDER/NAME.jsonl, which `isthmus eval --data` reads, and returns that path.
absl::StatusOr<std::string> WriteText(const std::string& name, const std::string& data,
                                      const std::string& folder);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_POSTHOC_TEXTS_H_
