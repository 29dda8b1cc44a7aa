// A whole model in this process, cut after some blocks: what crosses a cut is coded and decoded
// exactly as on the wire. Without cuts it is one stage. For `isthmus eval` and `isthmus generate`.
#ifndef ISTHMUS_CLIENT_CUT_MODEL_H_
#define ISTHMUS_CLIENT_CUT_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/generate.h"
#include "engine/stage.h"
#include "model/adapter.h"
#include "pipeline/edge_codec.h"

namespace isthmus {

struct CutSpec {
  // Ascending, each once. 1-based: K cuts after block K, 0 after the embedding, num_layers before
  // the final norm.
  std::vector<int64_t> after;
  std::string codec = "none";  // forward, one fresh encoder and decoder per cut
};

// "1,3" -> {1, 3}. kInvalidArgument names --cut-after.
absl::StatusOr<std::vector<int64_t>> ParseCuts(absl::string_view text, int64_t num_layers);

// What one cut put on the wire.
struct CutUse {
  int64_t after = 0;
  std::string codec;
  int64_t elements = 0;    // input positions x width
  int64_t wire_bytes = 0;  // payload, side and frame headers
};

// One thread. Errors: kInvalidArgument for cuts or a codec that do not fit the model; the engine's
// own.
class CutModel : public LogitsSource {
 public:
  struct Options {
    CutSpec cuts;
    const Adapter* adapter = nullptr;  // null: the base model
    int64_t threads = 0;               // 0: the engine's choice
    std::string device = "cpu";
    int64_t num_samples = 0;        // windows that will be evaluated: sizes codec state
    int64_t max_sample_tokens = 0;  // longest of them
  };
  static absl::StatusOr<std::unique_ptr<CutModel>> Open(Engine* engine, const ModelConfig& config,
                                                        WeightSource* weights,
                                                        const Options& options);

  // One forward pass with the loss. Codec state advances as in training: the call is one step.
  absl::StatusOr<StageOutput> Evaluate(MicroBatch mb);
  // Generation: codec state is read, never changed.
  absl::StatusOr<Tensor> Extend(absl::Span<const int32_t> ids) override;

  std::vector<CutUse> cuts() const;

 private:
  struct Cut {
    CutUse use;
    std::unique_ptr<EdgeSender> sender;
    std::unique_ptr<EdgeReceiver> receiver;
  };
  CutModel() = default;
  // *hints: what the sender knows beside the rows; afterwards what the receiver passes on.
  absl::StatusOr<Tensor> Cross(Cut* cut, const Tensor& hidden, EdgeMode mode, const MicroBatch& mb,
                               EdgeHints* hints);

  std::unique_ptr<StageGroup> stages_;
  std::vector<Cut> cuts_;
  uint64_t step_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_CUT_MODEL_H_
