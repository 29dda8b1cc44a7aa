// Training and evaluation text: documents, and the windows cut from them.
//
// A line of a .jsonl file is {"text"} | {"prompt","completion"} | {"messages"} |
// {"input_ids","labels"?}; a .txt file has one document per blank-line block. Windows: with
// sequence length L, window j of a document has inputs ids[jL .. jL+L-1] and the targets shifted by
// one; every id but the first is predicted exactly once; a window without a predicted token is
// dropped.
#ifndef ISTHMUS_MODEL_DATASET_H_
#define ISTHMUS_MODEL_DATASET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer.h"

namespace isthmus {

struct Document {
  std::vector<int32_t> ids;
  // Same length. labels[i] is the id to be predicted from ids[0..i], so ids[i + 1] in plain text;
  // -100 = not predicted, as the last always is. (In a file labels[i] stands beside input_ids[i]
  // and is predicted from the ids before it: here it is one place to the left.)
  std::vector<int32_t> labels;
  // The file's labels[0]: predicted only when another document is packed in front.
  int32_t first_label = -100;
};

// One training or evaluation sample.
struct Window {
  uint64_t sample = 0;           // opaque id: (document, window)
  int64_t document = 0;          // index in the file; 0 when packed
  std::vector<int32_t> inputs;   // L or fewer
  std::vector<int32_t> targets;  // same length; -100 = not predicted
  int64_t num_predicted = 0;
};

struct DatasetOptions {
  int64_t sequence_length = 0;  // > 0
  bool pack =
      false;  // documents joined in file order once and cut into full windows; the rest is dropped
  bool append_eos = true;  // after a completion
  int64_t vocab_size = 0;  // ids outside are refused
};

// kInvalidArgument names file and line. `tokenizer` may be null when every line has input_ids.
absl::StatusOr<std::vector<Document>> ReadDocuments(const std::string& path,
                                                    const Tokenizer* tokenizer,
                                                    const DatasetOptions& options);
// kInvalidArgument when nothing is predicted at all.
absl::StatusOr<std::vector<Window>> CutWindows(const std::vector<Document>& documents,
                                               const DatasetOptions& options);

// Order of windows in an epoch: file order, or shuffled by (seed, epoch).
std::vector<int64_t> EpochOrder(int64_t num_windows, bool shuffle, uint64_t seed, int64_t epoch);

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_DATASET_H_
