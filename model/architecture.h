// One architecture: how its config.json reads and how its tensors are called. The rows are in
// model/architectures.def; adding one is one source file that defines `const Architecture& X()` and
// one row.
#ifndef ISTHMUS_MODEL_ARCHITECTURE_H_
#define ISTHMUS_MODEL_ARCHITECTURE_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/config.h"
#include "model/config_fields.h"

namespace isthmus {

struct Architecture {
  absl::string_view name;  // model_type in config.json
  // Fills everything of ModelConfig but `architecture`, `text` and the special ids. What the rows
  // share (sizes divide, rope needs an even head) is checked afterwards.
  absl::Status (*parse)(const ConfigFields& fields, ModelConfig* config);
  // The linear maps of a block: attention first, then the feed-forward part, whose modules begin
  // with "mlp.".
  std::vector<LinearName> (*linears)(const ModelConfig& config);

  absl::string_view base;        // in front of every tensor but the head: "model."
  absl::string_view blocks;      // after the base: "layers."
  absl::string_view embedding;   // after the base: "embed_tokens"
  absl::string_view positions;   // learned positions, after the base; empty: none
  absl::string_view norm1;       // in the block, before attention
  absl::string_view norm2;       // in the block, before the feed-forward part
  absl::string_view final_norm;  // after the base
  // Tensors that files of this architecture may hold besides the weights: buffers that the code
  // computes again. Suffixes.
  absl::Span<const absl::string_view> buffers;
  // GPT-2 draws the maps that write to the residual stream with initializer_range / sqrt(2 layers).
  // Suffix; empty: none.
  absl::string_view scaled_init;
  absl::Span<const absl::string_view> default_targets;
};

constexpr absl::string_view kHeadTensor = "lm_head.weight";

// The row of a parsed config.
const Architecture& ArchitectureOf(const ModelConfig& config);

// Shared by the rows: the activation called `key`.
absl::StatusOr<Activation> ParseActivation(const ConfigFields& fields, absl::string_view key,
                                           absl::string_view otherwise);

// Upper bounds of sizes read from outside: far above any published model, and small enough that no
// product of two overflows.
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = int64_t{1} << 16;
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxVocabulary = int64_t{1} << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 31;

}  // namespace isthmus

#endif  // ISTHMUS_MODEL_ARCHITECTURE_H_
