// The errors (decoded - sent) of frames whose gradient has not come back yet: what a gate on bits
// needs beside the gradient. 4 bytes a value in flight; buffers are used again.
#ifndef ISTHMUS_COMPRESSION_SENT_ERRORS_H_
#define ISTHMUS_COMPRESSION_SENT_ERRORS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace isthmus {

class SentErrors {
 public:
  // A buffer of n floats to fill, then Keep or GiveBack it.
  std::vector<float> Take(size_t n) {
    std::vector<float> buffer;
    if (!spare_.empty()) {
      buffer = std::move(spare_.back());
      spare_.pop_back();
    }
    buffer.resize(n);
    return buffer;
  }
  void GiveBack(std::vector<float> buffer) { spare_.push_back(std::move(buffer)); }

  void Keep(uint32_t micro_batch, std::vector<float> error) {
    Done(micro_batch);
    sent_.push_back({micro_batch, std::move(error)});
  }
  // Null when no frame of so many values was kept.
  const float* Find(uint32_t micro_batch, size_t elements) const {
    for (const Sent& sent : sent_) {
      if (sent.micro_batch == micro_batch && sent.error.size() == elements)
        return sent.error.data();
    }
    return nullptr;
  }
  void Done(uint32_t micro_batch) {
    for (Sent& sent : sent_) {
      if (sent.micro_batch == micro_batch) GiveBack(std::move(sent.error));
    }
    std::erase_if(sent_, [&](const Sent& sent) { return sent.micro_batch == micro_batch; });
  }
  void Drop() {
    for (Sent& sent : sent_) GiveBack(std::move(sent.error));
    sent_.clear();
  }

 private:
  struct Sent {
    uint32_t micro_batch;
    std::vector<float> error;
  };
  std::vector<Sent> sent_;
  std::vector<std::vector<float>> spare_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_SENT_ERRORS_H_
