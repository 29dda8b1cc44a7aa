// What ecq's encoder and decoder share beside their state: the words of a frame, and how the rows
// of a frame get their slots, visits and earlier rows.
#ifndef ISTHMUS_COMPRESSION_ECQ_WIRE_H_
#define ISTHMUS_COMPRESSION_ECQ_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "compression/codec.h"
#include "compression/ecq_rows.h"
#include "compression/ecq_side_coder.h"
#include "compression/ecq_state.h"

namespace isthmus {

enum EcqKind : uint8_t { kEcqCoded = 0, kEcqConstant = 1, kEcqRaw = 2 };
inline constexpr uint8_t kEcqKindMask = 7;
inline constexpr uint8_t kEcqForget = 8, kEcqCheck = 16, kEcqHasWeights = 32, kEcqHasCentroids = 64;
inline constexpr uint64_t kEcqCheckEvery = 16;  // 4 bytes per 16 frames
// 1.5 * 2^126: above every input, and differences of two such values stay finite.
inline constexpr uint32_t kEcqLargestValue = 0x7EC00000u;

// How the slot numbers of a sample's rows come.
enum EcqIds : uint8_t { kEcqNoIds = 0, kEcqSentIds = 1, kEcqKnownIds = 2 };

// The slots of a frame's rows, as both ends find them. `side` null: no ids travel.
class EcqPlaces {
 public:
  EcqPlaces(const EcqOptions& options, const EdgeShape& shape, EcqState* state)
      : options_(options), shape_(shape), state_(state) {}

  // The sender of private ids, or either end of shared ones (side null).
  void Assign(const FrameContext& context, SideEncoder* side);
  // The other end of private ids. False for what no sender writes.
  bool Receive(const FrameContext& context, SideDecoder* side);

  // Of a row; not named: it has no slot.
  const EcqSlots::Place& at(size_t row) const { return places_[row]; }
  // By row, when every sample has them; else empty.
  absl::Span<const uint32_t> ids() const { return ids_; }

 private:
  void Begin(const FrameContext& context);
  void End();
  bool Known(const SampleRows& sample, std::vector<uint16_t>* slots) const;
  void Keep(const SampleRows& sample);

  const EcqOptions options_;
  const EdgeShape shape_;
  EcqState* const state_;
  std::vector<EcqSlots::Place> places_;
  std::vector<uint32_t> ids_;
  std::vector<uint16_t> known_, slots_;
};

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_ECQ_WIRE_H_
