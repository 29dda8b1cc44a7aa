// What the client's process needs beyond itself, before it runs: the engine's arena, its ends of
// the codecs, frames on their way, the tokenizer. The process itself (program, gRPC, threads) is
// about 20 MB more with the on-device engine.
#ifndef ISTHMUS_CLIENT_CLIENT_MEMORY_H_
#define ISTHMUS_CLIENT_CLIENT_MEMORY_H_

#include <cstdint>
#include <string>

#include "engine/stage.h"
#include "isthmus/v1/plan.pb.h"

namespace isthmus {

struct ClientMemory {
  MemoryPlan engine;            // of an engine that plans it; the rest is 0 with another
  int64_t codec_bytes = 0;      // state and work space of our ends of the edges
  int64_t link_bytes = 0;       // frames kept until they are acknowledged or computed with
  int64_t tokenizer_bytes = 0;  // at most, while it is read

  int64_t total() const { return engine.bytes + codec_bytes + link_bytes + tokenizer_bytes; }
  std::string Text() const;  // lines; empty where the engine does not plan
};

// `micro_batch_tokens`: of the largest. `model`: the folder with the tokenizer, if there is one. No
// error: what cannot be read is 0.
ClientMemory PlanClientMemory(MemoryPlan engine, const v1::Plan& plan, int64_t micro_batch_tokens,
                              const std::string& model);

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_CLIENT_MEMORY_H_
