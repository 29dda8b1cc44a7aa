// Generation through a real split: embedding, first and last blocks here, the middle on a
// coordinator's workers.
#ifndef ISTHMUS_CLIENT_SPLIT_GENERATE_H_
#define ISTHMUS_CLIENT_SPLIT_GENERATE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/generate.h"
#include "engine/stage.h"
#include "link/tls.h"
#include "model/adapter.h"
#include "model/weights.h"

namespace isthmus {

struct SplitGenerateOptions {
  std::string coordinator;  // HOST:PORT
  TlsFiles tls;
  double wait_s = 60.0;              // for a coordinator with a ready worker
  std::string codec = "none";        // of the activations
  const Adapter* adapter = nullptr;  // outlives Open
  int64_t threads = 0;
  std::string device = "cpu";
};

// One block at each end stays here (none where the model has too few). `engine` and `model` outlive
// it.
class SplitLogits : public LogitsSource {
 public:
  static absl::StatusOr<std::unique_ptr<SplitLogits>> Open(Engine* engine, ModelDirectory* model,
                                                           const SplitGenerateOptions& options);
  // Ends the job in good order.
  virtual absl::Status Close() = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_SPLIT_GENERATE_H_
