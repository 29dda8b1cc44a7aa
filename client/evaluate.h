// The loss of a model on a file of documents, whole or through cuts. One window is one forward pass
// whatever the cuts, so that the identity codec changes nothing, bit for bit.
#ifndef ISTHMUS_CLIENT_EVALUATE_H_
#define ISTHMUS_CLIENT_EVALUATE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cut_model.h"
#include "model/dataset.h"

namespace isthmus {

struct DocumentLoss {
  double loss_sum = 0.0;  // nats
  int64_t tokens = 0;     // predicted
};

struct Evaluation {
  std::vector<DocumentLoss> documents;  // file order
  std::vector<CutUse> cuts;
  DocumentLoss total() const;
  // The one document that `isthmus eval --json` prints.
  std::string ToJson() const;
};

// Windows in file order. `num_documents` counts those without a window too. `progress` hears
// windows done; false stops with kCancelled.
absl::StatusOr<Evaluation> Evaluate(CutModel* model, const std::vector<Window>& windows,
                                    int64_t num_documents,
                                    const std::function<bool(int64_t)>& progress);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_EVALUATE_H_
