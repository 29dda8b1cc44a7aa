#include "model/content_id.h"

#include <openssl/evp.h>

#include <cinttypes>
#include <cstdio>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/done_reading.h"

namespace isthmus {
namespace {

// %a writes a double exactly and alike on every machine.
std::string Exact(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%a", value);
  return text;
}

// Dropped on purpose: the text (formatting), special ids (generation only), initializer_range (only
// for fresh weights).
std::string Facts(const ModelConfig& c) {
  const auto number = [](auto value) { return static_cast<int64_t>(value); };
  return absl::StrCat(
      "isthmus model 1\narchitecture ", c.architecture, "\nlayers ", c.num_layers, " hidden ",
      c.hidden_size, " heads ", c.num_heads, " kv_heads ", c.num_kv_heads, " head_dim ", c.head_dim,
      absl::StrCat(" intermediate ", c.intermediate_size, " vocabulary ", c.vocab_size,
                   " positions ", c.max_positions, "\nnorm ", number(c.norm), " eps ",
                   Exact(c.norm_eps), " activation ", number(c.activation)),
      absl::StrCat(" feed_forward ", number(c.feed_forward), " window ", c.sliding_window,
                   "\nrope ", number(c.positions), " theta ", Exact(c.rope_theta), " scaling ",
                   number(c.rope_scaling.kind)),
      absl::StrCat(" factor ", Exact(c.rope_scaling.factor), " low ",
                   Exact(c.rope_scaling.low_freq_factor), " high ",
                   Exact(c.rope_scaling.high_freq_factor), " original ",
                   c.rope_scaling.original_max_position),
      absl::StrCat("\nbias ", c.qkv_bias, c.out_bias, c.mlp_bias, " fused ", c.fused_qkv,
                   " transposed ", c.transposed_linear, " tied ", c.tied_embeddings, "\n"));
}

std::string TensorLine(const std::string& name, const Tensor& tensor) {
  char crc[16];
  std::snprintf(crc, sizeof(crc), "%08" PRIx32, Crc32c(tensor.bytes()));
  return absl::StrCat(name, " ", Name(tensor.dtype()), " ", ToString(tensor.shape()), " ", crc,
                      "\n");
}

std::string Sha256Hex(absl::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  ISTHMUS_CHECK(EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) == 1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
}

}  // namespace

absl::StatusOr<std::string> ComputeContentId(const ModelConfig& config, WeightSource* weights) {
  std::string index = Facts(config);
  for (const TensorInfo& info : ModelTensors(config)) {
    absl::StatusOr<Tensor> tensor = weights->Load(info.name);
    if (!tensor.ok()) return tensor.status();
    index += TensorLine(info.name, *tensor);
    DoneReading(tensor->bytes());
  }
  return Sha256Hex(index);
}

}  // namespace isthmus
