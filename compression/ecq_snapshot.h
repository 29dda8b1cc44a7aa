// Small things that both ends of an ecq edge need beside their state: limits of a frame, what a
// shape and a context must satisfy, and snapshots.
#ifndef ISTHMUS_COMPRESSION_ECQ_SNAPSHOT_H_
#define ISTHMUS_COMPRESSION_ECQ_SNAPSHOT_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "compression/codec.h"
#include "compression/ecq_options.h"
#include "compression/ecq_state.h"

namespace isthmus {

inline constexpr float kEcqLeastStep = 0x1p-110f, kEcqMostStep = 0x1p126f;
inline constexpr uint8_t kEcqMostStart = 116;           // an expected magnitude of 2^20
inline constexpr uint32_t kEcqMostReach = 0x4A800000u;  // 2^22 as fp32 bits

absl::Status CheckEcqShape(const EcqOptions& options, const EdgeShape& shape);
absl::Status CheckEcqContext(const EdgeShape& shape, const FrameContext& context, int64_t rows);

// A constant frame is so short that noise could pass for one.
uint16_t ConstantGuard(float value);

// Whether there is a store of samples: the forward direction with a bound on it.
bool StoresSamples(const EcqOptions& options, const EdgeShape& shape);

// u64 Hash64 of the rest | the end's own part | state
absl::Status WriteEcqSnapshot(const EcqState& state, Bytes* out,
                              const std::function<void(Bytes*)>& write_own);
// All or nothing as far as `state` goes; read_own says whether its part was good.
absl::Status ReadEcqSnapshot(absl::Span<const uint8_t> snapshot, EcqState* state,
                             const std::function<bool(ByteReader*)>& read_own);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_SNAPSHOT_H_
