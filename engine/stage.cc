#include "engine/stage.h"

#include <numeric>

namespace isthmus {

int64_t MicroBatch::tokens() const {
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

}  // namespace isthmus
