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

// tinystories | wikitext2 | qnli | gsm8k | tinyshakespeare | e2e_nlg: the documents of the raw data
// below `data`, in their order.
absl::StatusOr<std::vector<std::string>> DocumentsOf(const std::string& name,
                                                     const std::string& data);

// Writes the first of them as FOLDER/NAME.jsonl, which `isthmus eval --data` reads, and returns
// that path.
absl::StatusOr<std::string> WriteText(const std::string& name, const std::string& data,
                                      const std::string& folder);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_POSTHOC_TEXTS_H_
