// The model, tokenizer and adapter that eval and generate name by the same flags.
#ifndef ISTHMUS_CLI_LOCAL_MODEL_H_
#define ISTHMUS_CLI_LOCAL_MODEL_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/flags.h"
#include "client/cut_model.h"
#include "engine/stage.h"
#include "model/adapter.h"
#include "model/tokenizer.h"
#include "model/weights.h"

namespace isthmus {

struct LocalModel {
  std::unique_ptr<ModelDirectory> directory;
  std::unique_ptr<Tokenizer> tokenizer;  // null: the folder has none
  std::unique_ptr<Adapter> adapter;      // null: none asked for
  const ModelConfig& config() const { return directory->config(); }
};

// --model --adapter --cut-after --codec --threads --device.
std::vector<Flag> LocalModelFlags();

// In a form that `engine` computes from.
absl::StatusOr<LocalModel> OpenLocalModel(const Invocation& invocation, Engine* engine);
absl::StatusOr<CutModel::Options> CutOptions(const Invocation& invocation, const LocalModel& model);

}  // namespace isthmus

#endif  // ISTHMUS_CLI_LOCAL_MODEL_H_
