#include "compression/ecq_snapshot.h"

#include <bit>

#include "base/hash.h"
#include "base/status.h"
#include "compression/ecq_frame.h"
#include "compression/ecq_sensitivity.h"
#include "compression/frame_check.h"

namespace isthmus {

absl::Status CheckEcqShape(const EcqOptions& options, const EdgeShape& shape) {
  ISTHMUS_RETURN_IF_ERROR(CheckShape(shape));
  if (shape.num_samples < 0 || shape.max_sample_tokens < 0) {
    return InvalidArgument("codec ecq: expected sizes of the data from 0, got ", shape.num_samples,
                           " samples of ", shape.max_sample_tokens, " tokens");
  }
  if (options.keep < 1.0 && shape.direction == Direction::kForward) {
    return InvalidArgument(
        "codec ecq: keep: expected the backward direction, got forward: only gradients may miss "
        "tokens");
  }
  return absl::OkStatus();
}

absl::Status CheckEcqContext(const EdgeShape& shape, const FrameContext& context, int64_t rows) {
  const size_t tokens = static_cast<size_t>(rows);
  if (!context.row_ids.empty() && context.row_ids.size() != tokens) {
    return InvalidArgument("frame: expected ", rows, " row ids, got ", context.row_ids.size(), " ",
                           Where(shape, context));
  }
  const size_t values = tokens * static_cast<size_t>(shape.width);
  if (!context.earlier_TD.empty() && context.earlier_TD.size() != values) {
    return InvalidArgument("frame: expected ", values, " values of the earlier edge, got ",
                           context.earlier_TD.size(), " ", Where(shape, context));
  }
  return absl::OkStatus();
}

uint16_t ConstantGuard(float value) {
  return static_cast<uint16_t>(Mix64(std::bit_cast<uint32_t>(value) + uint64_t{0x65637100000000}));
}

bool StoresSamples(const EcqOptions& options, const EdgeShape& shape) {
  return options.samples && (options.capacity > 0 || shape.num_samples > 0) &&
         shape.direction == Direction::kForward;
}

absl::Status WriteEcqSnapshot(const EcqState& state, Bytes* out,
                              const std::function<void(Bytes*)>& write_own) {
  if (state.in_step()) {
    return absl::FailedPreconditionError(
        "codec ecq: snapshot: expected a step boundary, got a step in work");
  }
  Bytes body;
  write_own(&body);
  state.Write(&body);
  ByteWriter(out).Put(Hash64(body));
  out->insert(out->end(), body.begin(), body.end());
  return absl::OkStatus();
}

absl::Status ReadEcqSnapshot(absl::Span<const uint8_t> snapshot, EcqState* state,
                             const std::function<bool(ByteReader*)>& read_own) {
  ByteReader reader(snapshot);
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t hash, reader.Get<uint64_t>());
  if (hash != Hash64(snapshot.subspan(8))) {
    return DataLoss("codec ecq: snapshot: expected its own checksum, got another");
  }
  if (!read_own(&reader)) {
    return InvalidArgument("codec ecq: snapshot: expected the state of this end, got another");
  }
  ISTHMUS_RETURN_IF_ERROR(state->Read(&reader));
  if (reader.remaining() == 0) return absl::OkStatus();
  return InvalidArgument("codec ecq: snapshot: expected the end, got ", reader.remaining(),
                         " more bytes");
}

Codec::StateSize EcqStateSize(const EcqOptions& options, const EdgeShape& shape) {
  Codec::StateSize size = EcqState::StateSizeFor(options, shape);
  size.ram_bytes += EcqSensitivity::StateBytesFor(options, shape);
  return size;
}

}  // namespace isthmus
