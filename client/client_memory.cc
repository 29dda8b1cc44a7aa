#include "client/client_memory.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "link/link.h"
#include "pipeline/plan.h"

namespace isthmus {
namespace {

// A text tree of JSON and what is made of it, a byte of the file: 150,000 entries with as many
// merges, 6.6 MB, raise the peak by 62 MB.
constexpr int64_t kBytesPerJsonByte = 10;
// The sentencepiece library takes 1.6 MB itself; a model of 62 KB adds less than shows.
constexpr int64_t kPieceLibraryBytes = 2'000'000;
constexpr int64_t kBytesPerPieceByte = 8;

int64_t FileBytes(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(bytes);
}

int64_t TokenizerBytes(const std::string& model) {
  const int64_t json = FileBytes(model + "/tokenizer.json");
  if (json > 0) return kBytesPerJsonByte * json;
  const int64_t pieces = FileBytes(model + "/tokenizer.model");
  return pieces > 0 ? kPieceLibraryBytes + kBytesPerPieceByte * pieces : 0;
}

// A prediction and what differs from it; codecs without memory work in place.
int64_t WorkBytes(const v1::EdgeSpec& edge, int64_t micro_batch_tokens) {
  const int64_t frame = micro_batch_tokens * edge.width() * static_cast<int64_t>(sizeof(float));
  return edge.store_bytes() > 0 ? 2 * frame : 0;
}

bool IsClients(const v1::Plan& plan, const v1::EdgeSpec& edge) {
  return plan.stages(static_cast<int>(edge.from_stage())).party() == kClientParty ||
         plan.stages(static_cast<int>(edge.to_stage())).party() == kClientParty;
}

}  // namespace

ClientMemory PlanClientMemory(MemoryPlan engine, const v1::Plan& plan, int64_t micro_batch_tokens,
                              const std::string& model) {
  ClientMemory memory;
  if (engine.bytes == 0) return memory;
  memory.engine = std::move(engine);
  memory.tokenizer_bytes = TokenizerBytes(model);
  int64_t snapshot = 0;  // a checkpoint writes one edge's state after the other, from a copy
  for (const v1::EdgeSpec& edge : plan.edges()) {
    if (!IsClients(plan, edge)) continue;
    snapshot = std::max(snapshot, edge.store_bytes());
    memory.codec_bytes += edge.store_bytes() + WorkBytes(edge, micro_batch_tokens);
    // A frame is there twice: as we keep it and in gRPC's buffers.
    const int64_t a_micro_batch = edge.predicted_forward_bytes() + edge.predicted_backward_bytes();
    memory.link_bytes +=
        2 * std::min(LinkOptions().window_bytes, plan.micro_batches() * a_micro_batch);
  }
  memory.codec_bytes += snapshot;
  return memory;
}

std::string ClientMemory::Text() const {
  if (engine.bytes == 0) return "";
  return absl::StrFormat(
      "%s\nclient in all: %.1f MB (engine %.1f, codecs %.1f, frames %.1f, tokenizer %.1f) beside "
      "the process",
      engine.text, 1e-6 * static_cast<double>(total()), 1e-6 * static_cast<double>(engine.bytes),
      1e-6 * static_cast<double>(codec_bytes), 1e-6 * static_cast<double>(link_bytes),
      1e-6 * static_cast<double>(tokenizer_bytes));
}

}  // namespace isthmus
