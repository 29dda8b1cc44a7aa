// The one place where LibTorch's exceptions become absl::Status.
#ifndef ISTHMUS_ENGINE_TORCH_GUARD_H_
#define ISTHMUS_ENGINE_TORCH_GUARD_H_

#include <exception>
#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "engine/torch/libtorch.h"

namespace isthmus {

// One line, LibTorch's own words. Allocators report the end of memory as an ordinary error: only
// the text tells.
inline absl::Status StatusOfTorchError(absl::string_view words) {
  const std::string line = std::string(*absl::StrSplit(words, '\n').begin());
  if (absl::StrContains(words, "allocate memory") || absl::StrContains(words, "out of memory")) {
    return ResourceExhausted("memory: expected room for a tensor, got: ", line, " (engine torch)");
  }
  return Internal("torch: ", line);
}

// Runs `body`, which returns an absl::Status or an absl::StatusOr; whatever it throws is returned
// instead.
template <typename Body>
auto Guard(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const c10::Error& error) {
    return StatusOfTorchError(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("memory: expected room, got none (engine torch)");
  } catch (const std::exception& error) {
    return StatusOfTorchError(error.what());
  }
}

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_GUARD_H_
