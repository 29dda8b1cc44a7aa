// The C interface over compression/codec.h. Every function that can fail is a Call: it checks its
// pointers, turns a Status into a number and a text, and lets no exception out.
#include "compression/isthmus_codec.h"

#include <memory>
#include <string>
#include <vector>

#include "base/c_interface.h"
#include "base/status.h"
#include "compression/codec.h"
#include "compression/codec_table.h"

struct isthmus_codec {
  std::shared_ptr<const isthmus::Codec> codec;
  std::string full_text;
};

struct isthmus_codec_encoder {
  std::shared_ptr<const isthmus::Codec> codec;
  int64_t width = 0;
  std::unique_ptr<isthmus::Encoder> end;
  isthmus::Bytes bytes;  // of the last encode or snapshot
};

struct isthmus_codec_decoder {
  std::shared_ptr<const isthmus::Codec> codec;
  int64_t width = 0;
  std::unique_ptr<isthmus::Decoder> end;
  isthmus::Bytes bytes;  // of the last snapshot
};

namespace isthmus {
namespace {

// The arguments are replaced by their numbers before they become text.
#define ISTHMUS_CODEC_TEXT(x) #x
#define ISTHMUS_CODEC_NUMBER(x) ISTHMUS_CODEC_TEXT(x)
constexpr char kCodecVersion[] =
    ISTHMUS_CODEC_NUMBER(ISTHMUS_CODEC_VERSION_MAJOR) "." ISTHMUS_CODEC_NUMBER(
        ISTHMUS_CODEC_VERSION_MINOR) "." ISTHMUS_CODEC_NUMBER(ISTHMUS_CODEC_VERSION_PATCH);

isthmus_codec_status StatusNumber(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ISTHMUS_CODEC_OK;
    case absl::StatusCode::kDataLoss:
      return ISTHMUS_CODEC_DATA_LOSS;
    case absl::StatusCode::kResourceExhausted:
      return ISTHMUS_CODEC_RESOURCE_EXHAUSTED;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return ISTHMUS_CODEC_INTERNAL;
    default:
      return ISTHMUS_CODEC_INVALID_ARGUMENT;
  }
}

template <typename Work>
isthmus_codec_status Call(const char* function, const Work& work) noexcept {
  return CallFromC(function, StatusNumber, work);
}

absl::StatusOr<EdgeShape> ShapeOf(const isthmus_codec_edge* given) {
  ISTHMUS_ASSIGN_OR_RETURN(const isthmus_codec_edge edge, Known(given));
  if (edge.num_samples < 0 || edge.max_sample_tokens < 0 || edge.total_steps < 0)
    return InvalidArgument("expected counts from 0, got a negative one");
  EdgeShape shape;
  shape.width = edge.width;
  shape.edge = edge.edge;
  shape.direction = edge.backward != 0 ? Direction::kBackward : Direction::kForward;
  shape.seed = edge.seed;
  shape.num_samples = edge.num_samples;
  shape.max_sample_tokens = edge.max_sample_tokens;
  shape.total_steps = edge.total_steps;
  if (edge.state_dir != nullptr) shape.state_dir = edge.state_dir;
  shape.shared_row_ids = edge.shared_row_ids != 0;
  shape.shared_earlier = edge.shared_earlier != 0;
  return shape;
}

// A FrameContext and the samples it points to.
struct Frame {
  std::vector<SampleRows> samples;
  FrameContext context;
};

absl::Status ReadFrame(const isthmus_codec_frame* given, int64_t width, size_t count,
                       Frame* frame) {
  ISTHMUS_ASSIGN_OR_RETURN(const isthmus_codec_frame f, Known(given));
  const size_t rows = count / static_cast<size_t>(width);
  if ((f.num_samples > 0 && f.samples == nullptr) || (f.num_row_ids > 0 && f.row_ids == nullptr) ||
      (f.num_earlier > 0 && f.earlier == nullptr))
    return InvalidArgument("expected no NULL beside a count, got one");
  if (f.num_row_ids != 0 && f.num_row_ids != rows)
    return InvalidArgument("expected a row id for each of ", rows, " rows, got ", f.num_row_ids);
  if (f.num_earlier != 0 && f.num_earlier != count)
    return InvalidArgument("expected ", count, " earlier values, got ", f.num_earlier);
  for (size_t i = 0; i < f.num_samples; ++i)
    frame->samples.push_back({f.samples[i].sample, f.samples[i].begin, f.samples[i].tokens});
  if (f.num_samples == 0) frame->samples.push_back({0, 0, static_cast<int64_t>(rows)});
  frame->context.step = f.step;
  frame->context.micro_batch = f.micro_batch;
  frame->context.training = f.frozen == 0;
  frame->context.samples = frame->samples;
  frame->context.row_ids = {f.row_ids, f.num_row_ids};
  frame->context.earlier_TD = {f.earlier, f.num_earlier};
  return absl::OkStatus();
}

// What the two ends have in common. `Handle` is an encoder or a decoder.
template <typename Handle>
isthmus_codec_status Commit(const char* function, Handle* handle, uint64_t step) {
  return Call(function, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(handle));
    return handle->end->CommitStep(step);
  });
}

template <typename Handle>
isthmus_codec_status Rollback(const char* function, Handle* handle) {
  return Call(function, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(handle));
    return handle->end->RollbackStep();
  });
}

template <typename Handle>
isthmus_codec_status RequestKeyFrames(const char* function, Handle* handle) {
  return Call(function, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(handle));
    handle->end->RequestKeyFrames();
    return absl::OkStatus();
  });
}

template <typename Handle>
isthmus_codec_status Snapshot(const char* function, Handle* handle, isthmus_codec_bytes* bytes) {
  return Call(function, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(handle, bytes));
    handle->bytes.clear();
    ISTHMUS_RETURN_IF_ERROR(handle->end->Snapshot(&handle->bytes));
    *bytes = {handle->bytes.data(), handle->bytes.size()};
    return absl::OkStatus();
  });
}

template <typename Handle>
isthmus_codec_status Restore(const char* function, Handle* handle, const uint8_t* bytes,
                             size_t size) {
  return Call(function, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(handle));
    if (size > 0) ISTHMUS_RETURN_IF_ERROR(NotNull(bytes));
    return handle->end->Restore({bytes, size});
  });
}

template <typename Handle>
uint64_t StateHash(const Handle* handle) {
  return handle == nullptr ? 0 : handle->end->StateHash();
}

template <typename Handle>
int64_t StateBytes(const Handle* handle) {
  return handle == nullptr ? 0 : handle->end->StateBytes();
}

}  // namespace
}  // namespace isthmus

using isthmus::Call;
using isthmus::NotNull;

const char* isthmus_codec_version(void) { return isthmus::kCodecVersion; }

const char* isthmus_codec_last_error(void) { return isthmus::LastError()->c_str(); }

const char* isthmus_codec_example(size_t index) {
  const auto table = isthmus::CodecTable();
  return index < table.size() ? table[index].example.data() : nullptr;
}

isthmus_codec_status isthmus_codec_open(const char* spec, isthmus_codec** codec) {
  return Call(__func__, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(spec, codec));
    ISTHMUS_ASSIGN_OR_RETURN(auto parsed, isthmus::Codec::Parse(spec));
    std::string full_text = parsed->canonical();
    *codec = new isthmus_codec{std::move(parsed), std::move(full_text)};
    return absl::OkStatus();
  });
}

void isthmus_codec_close(isthmus_codec* codec) { delete codec; }

const char* isthmus_codec_full_text(const isthmus_codec* codec) {
  return codec == nullptr ? "" : codec->full_text.c_str();
}

int isthmus_codec_forward_only(const isthmus_codec* codec) {
  return codec != nullptr && codec->codec->ForwardOnly() ? 1 : 0;
}

isthmus_codec_status isthmus_codec_encoder_new(const isthmus_codec* codec,
                                               const isthmus_codec_edge* edge,
                                               isthmus_codec_encoder** encoder) {
  return Call(__func__, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(codec, encoder));
    ISTHMUS_ASSIGN_OR_RETURN(const isthmus::EdgeShape shape, isthmus::ShapeOf(edge));
    ISTHMUS_ASSIGN_OR_RETURN(auto made, codec->codec->MakeEncoder(shape));
    *encoder = new isthmus_codec_encoder{codec->codec, shape.width, std::move(made), {}};
    return absl::OkStatus();
  });
}

void isthmus_codec_encoder_free(isthmus_codec_encoder* encoder) { delete encoder; }

isthmus_codec_status isthmus_codec_encode(isthmus_codec_encoder* encoder, const float* values,
                                          size_t count, const isthmus_codec_frame* frame,
                                          isthmus_codec_bytes* bytes) {
  return Call(__func__, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(encoder, values, bytes));
    isthmus::Frame read;
    ISTHMUS_RETURN_IF_ERROR(isthmus::ReadFrame(frame, encoder->width, count, &read));
    encoder->bytes.clear();
    ISTHMUS_RETURN_IF_ERROR(
        encoder->end->Encode({values, count}, read.context, &encoder->bytes).status());
    *bytes = {encoder->bytes.data(), encoder->bytes.size()};
    return absl::OkStatus();
  });
}

isthmus_codec_status isthmus_codec_encoder_observe_gradient(isthmus_codec_encoder* encoder,
                                                            const float* gradient, size_t count,
                                                            const isthmus_codec_frame* frame) {
  return Call(__func__, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(encoder, gradient));
    isthmus::Frame read;
    ISTHMUS_RETURN_IF_ERROR(isthmus::ReadFrame(frame, encoder->width, count, &read));
    return encoder->end->ObserveGradient({gradient, count}, read.context);
  });
}

isthmus_codec_status isthmus_codec_encoder_set_quality_offset(isthmus_codec_encoder* encoder,
                                                              double db) {
  return Call(__func__, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(encoder));
    if (!(db >= -100.0 && db <= 100.0))
      return isthmus::InvalidArgument("expected -100 to 100 dB, got ", db);
    encoder->end->SetQualityOffset(db);
    return absl::OkStatus();
  });
}

isthmus_codec_status isthmus_codec_decoder_new(const isthmus_codec* codec,
                                               const isthmus_codec_edge* edge,
                                               isthmus_codec_decoder** decoder) {
  return Call(__func__, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(codec, decoder));
    ISTHMUS_ASSIGN_OR_RETURN(const isthmus::EdgeShape shape, isthmus::ShapeOf(edge));
    ISTHMUS_ASSIGN_OR_RETURN(auto made, codec->codec->MakeDecoder(shape));
    *decoder = new isthmus_codec_decoder{codec->codec, shape.width, std::move(made), {}};
    return absl::OkStatus();
  });
}

void isthmus_codec_decoder_free(isthmus_codec_decoder* decoder) { delete decoder; }

isthmus_codec_status isthmus_codec_decode(isthmus_codec_decoder* decoder, const uint8_t* bytes,
                                          size_t size, const isthmus_codec_frame* frame,
                                          float* values, size_t count) {
  return Call(__func__, [&]() -> absl::Status {
    ISTHMUS_RETURN_IF_ERROR(NotNull(decoder, values));
    if (size > 0) ISTHMUS_RETURN_IF_ERROR(NotNull(bytes));
    isthmus::Frame read;
    ISTHMUS_RETURN_IF_ERROR(isthmus::ReadFrame(frame, decoder->width, count, &read));
    return decoder->end->Decode({bytes, size}, read.context, {values, count});
  });
}

isthmus_codec_status isthmus_codec_encoder_commit(isthmus_codec_encoder* encoder, uint64_t step) {
  return isthmus::Commit(__func__, encoder, step);
}

isthmus_codec_status isthmus_codec_encoder_rollback(isthmus_codec_encoder* encoder) {
  return isthmus::Rollback(__func__, encoder);
}

isthmus_codec_status isthmus_codec_encoder_request_key_frames(isthmus_codec_encoder* encoder) {
  return isthmus::RequestKeyFrames(__func__, encoder);
}

isthmus_codec_status isthmus_codec_encoder_snapshot(isthmus_codec_encoder* encoder,
                                                    isthmus_codec_bytes* bytes) {
  return isthmus::Snapshot(__func__, encoder, bytes);
}

isthmus_codec_status isthmus_codec_encoder_restore(isthmus_codec_encoder* encoder,
                                                   const uint8_t* bytes, size_t size) {
  return isthmus::Restore(__func__, encoder, bytes, size);
}

uint64_t isthmus_codec_encoder_state_hash(const isthmus_codec_encoder* encoder) {
  return isthmus::StateHash(encoder);
}

int64_t isthmus_codec_encoder_state_bytes(const isthmus_codec_encoder* encoder) {
  return isthmus::StateBytes(encoder);
}

isthmus_codec_status isthmus_codec_decoder_commit(isthmus_codec_decoder* decoder, uint64_t step) {
  return isthmus::Commit(__func__, decoder, step);
}

isthmus_codec_status isthmus_codec_decoder_rollback(isthmus_codec_decoder* decoder) {
  return isthmus::Rollback(__func__, decoder);
}

isthmus_codec_status isthmus_codec_decoder_request_key_frames(isthmus_codec_decoder* decoder) {
  return isthmus::RequestKeyFrames(__func__, decoder);
}

isthmus_codec_status isthmus_codec_decoder_snapshot(isthmus_codec_decoder* decoder,
                                                    isthmus_codec_bytes* bytes) {
  return isthmus::Snapshot(__func__, decoder, bytes);
}

isthmus_codec_status isthmus_codec_decoder_restore(isthmus_codec_decoder* decoder,
                                                   const uint8_t* bytes, size_t size) {
  return isthmus::Restore(__func__, decoder, bytes, size);
}

uint64_t isthmus_codec_decoder_state_hash(const isthmus_codec_decoder* decoder) {
  return isthmus::StateHash(decoder);
}

int64_t isthmus_codec_decoder_state_bytes(const isthmus_codec_decoder* decoder) {
  return isthmus::StateBytes(decoder);
}
