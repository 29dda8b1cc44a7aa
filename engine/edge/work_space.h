// What the stages of a party share while they compute: threads, work space, rotary angles and the
// memory of what they return.
#ifndef ISTHMUS_ENGINE_EDGE_WORK_SPACE_H_
#define ISTHMUS_ENGINE_EDGE_WORK_SPACE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/edge/block.h"
#include "engine/edge/head.h"
#include "engine/edge/memory.h"
#include "engine/edge/rotary_table.h"
#include "engine/edge/weights.h"
#include "kernels/parallel.h"

namespace isthmus::edge {

// The arrays of one call, cut from the shared work space.
struct Work {
  BlockWork block;
  BlockKept kept;         // of one block whose activations nobody keeps
  float* rows = nullptr;  // [tokens, hidden]: what goes from block to block
  HeadWork head;
  static Work Carve(Carver* carver, const Weights& weights, bool head, int64_t tokens,
                    int64_t longest, int threads);
};

class WorkSpace {
 public:
  WorkSpace(const Weights* weights, bool head, int threads, std::shared_ptr<MemoryAccount> account);

  ThreadPool* pool() { return &pool_; }
  const RotaryTable& rotary() const { return rotary_; }
  const std::shared_ptr<MemoryAccount>& account() const { return account_; }
  TensorPool* tensors() { return tensors_.get(); }

  // Room for calls of this size; kResourceExhausted.
  absl::Status Reserve(int64_t tokens, int64_t longest);
  // Valid until the next call of Reserve.
  const Work& work() const { return work_; }

 private:
  const Weights* const weights_;
  const bool head_;
  const std::shared_ptr<MemoryAccount> account_;
  ThreadPool pool_;
  RotaryTable rotary_;
  std::shared_ptr<TensorPool> tensors_;
  Buffer memory_;
  Work work_;
  int64_t tokens_ = 0, longest_ = 0;
};

}  // namespace isthmus::edge

#endif  // ISTHMUS_ENGINE_EDGE_WORK_SPACE_H_
