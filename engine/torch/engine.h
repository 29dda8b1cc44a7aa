// The LibTorch engine, for hosts that hand it to a client or worker. Free of LibTorch's headers.
//
// A program that uses it calls TuneProcess (engine/torch/environment.h) first: matrix products are
// up to four times faster then.
#ifndef ISTHMUS_ENGINE_TORCH_ENGINE_H_
#define ISTHMUS_ENGINE_TORCH_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/stage.h"

namespace isthmus {

// `device`: "cpu" or "cuda"; it also stands for TrainSpec::device when that is "cpu". `threads`:
// threads of one operator on the calling thread, 0 leaves LibTorch's choice; TrainSpec::threads
// overrides it on the thread that makes the stages. Two runs agree bit for bit only with the same
// number. kInvalidArgument naming --device when it is not there.
absl::StatusOr<std::unique_ptr<Engine>> MakeTorchEngine(const std::string& device, int64_t threads);

}  // namespace isthmus

#endif  // ISTHMUS_ENGINE_TORCH_ENGINE_H_
