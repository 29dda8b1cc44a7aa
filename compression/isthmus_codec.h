/* The codec library for C: text in, opaque handles out, no exceptions, no other header of ours.
 *
 *   isthmus_codec *codec;
 *   isthmus_codec_encoder *encoder;
 *   isthmus_codec_edge edge = ISTHMUS_CODEC_EDGE_INIT;
 *   edge.width = 64;
 *   if (isthmus_codec_open("int4", &codec) || isthmus_codec_encoder_new(codec, &edge, &encoder))
 *     fprintf(stderr, "%s\n", isthmus_codec_last_error());
 *
 * A codec is an immutable description ("int4", "ecq(db=20)", "aqsgd(bits=4)", any composition). An
 * encoder and a decoder hold the state of the two ends of one direction of one edge; they see the
 * same frames in the same order. A frame is rows of `width` fp32 values, row-major, of one or more
 * samples. What is decoded is the same on every machine, bit for bit.
 *
 * Errors: functions return a status; isthmus_codec_last_error() has the words of this thread's last
 * failed call. A failed call leaves the state as it was. NULL where a value must be, a size that
 * does not fit and bytes that no encoder wrote are errors, never a crash.
 *
 * Threads: a codec may be shared; an encoder or decoder belongs to one thread at a time.
 *
 * Versions: semantic. Structs begin with their size, so that members can be added at their end; the
 * _INIT macros set it. Before 1.0.0 a minor version may break; the shared library's name has it. */
#ifndef ISTHMUS_CODEC_H_
#define ISTHMUS_CODEC_H_

#include <stddef.h>
#include <stdint.h>

#define ISTHMUS_CODEC_VERSION_MAJOR 0
#define ISTHMUS_CODEC_VERSION_MINOR 1
#define ISTHMUS_CODEC_VERSION_PATCH 0

#if defined(__GNUC__)
#define ISTHMUS_CODEC_API __attribute__((visibility("default")))
#else
#define ISTHMUS_CODEC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum isthmus_codec_status {
  ISTHMUS_CODEC_OK = 0,
  ISTHMUS_CODEC_INVALID_ARGUMENT = 1, /* a wrong spec, shape or value; bytes that are no frame */
  ISTHMUS_CODEC_DATA_LOSS = 2, /* the frame does not follow this state: ask for a key frame */
  ISTHMUS_CODEC_RESOURCE_EXHAUSTED = 3, /* memory, or the file of a store */
  ISTHMUS_CODEC_INTERNAL = 4
} isthmus_codec_status;

typedef struct isthmus_codec isthmus_codec;
typedef struct isthmus_codec_encoder isthmus_codec_encoder;
typedef struct isthmus_codec_decoder isthmus_codec_decoder;

/* The fixed facts of one direction of one edge; both ends give the same. Zero is a valid value of
 * all but `width`. */
typedef struct isthmus_codec_edge {
  size_t struct_size;
  int64_t width;             /* values of a row */
  uint32_t edge;             /* a number for error texts */
  int32_t backward;          /* 1: gradients, 0: activations */
  uint64_t seed;             /* keys of dither and stochastic rounding derive from it */
  int64_t num_samples;       /* distinct training samples: sizes a store; 0: unknown */
  int64_t max_sample_tokens; /* rows of the longest sample: sizes a store; 0: unknown */
  int64_t total_steps;       /* of the run, for schedules; 0: unknown */
  const char* state_dir;     /* of memory-mapped stores; NULL: none */
  int32_t shared_row_ids;    /* 1: the decoder is given `row_ids`, too */
  int32_t shared_earlier;    /* 1: both ends are given `earlier` */
} isthmus_codec_edge;
#define ISTHMUS_CODEC_EDGE_INIT \
  { sizeof(isthmus_codec_edge), 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0 }

/* Rows [begin, begin + tokens) of a frame are of one sample. */
typedef struct isthmus_codec_rows {
  uint64_t sample; /* an id that is the same on every visit */
  int64_t begin;
  int64_t tokens;
} isthmus_codec_rows;

/* What both ends know about a frame. No samples: the rows are one sample of id 0. */
typedef struct isthmus_codec_frame {
  size_t struct_size;
  uint64_t step; /* the optimizer update it belongs to */
  uint32_t micro_batch;
  int32_t frozen;                    /* 1: state is read, never changed (evaluation, generation) */
  const isthmus_codec_rows* samples; /* in row order, covering all rows */
  size_t num_samples;
  const uint32_t* row_ids; /* NULL, or an id for each row: rows of equal ids tend to be alike */
  size_t num_row_ids;
  const float* earlier; /* NULL, or the decoded frame of an earlier edge, of the same size */
  size_t num_earlier;
} isthmus_codec_frame;
#define ISTHMUS_CODEC_FRAME_INIT \
  { sizeof(isthmus_codec_frame), 0, 0, 0, NULL, 0, NULL, 0, NULL, 0 }

/* Bytes that a handle owns, valid until its next call. */
typedef struct isthmus_codec_bytes {
  const uint8_t* data;
  size_t size;
} isthmus_codec_bytes;

/* "0.1.0" of the library in use; the macros above are of the header. */
ISTHMUS_CODEC_API const char* isthmus_codec_version(void);
/* One line; "" when no call of this thread failed. Valid until the thread's next call. */
ISTHMUS_CODEC_API const char* isthmus_codec_last_error(void);
/* An example spec of each codec of this library; NULL from the end on. */
ISTHMUS_CODEC_API const char* isthmus_codec_example(size_t index);

ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_open(const char* spec, isthmus_codec** codec);
/* Closing NULL does nothing. Encoders and decoders outlive their codec. */
ISTHMUS_CODEC_API void isthmus_codec_close(isthmus_codec* codec);
/* The full composition; valid while the codec is. */
ISTHMUS_CODEC_API const char* isthmus_codec_full_text(const isthmus_codec* codec);
/* 1: a codec of activations alone. */
ISTHMUS_CODEC_API int isthmus_codec_forward_only(const isthmus_codec* codec);

ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_encoder_new(const isthmus_codec* codec,
                                                                 const isthmus_codec_edge* edge,
                                                                 isthmus_codec_encoder** encoder);
ISTHMUS_CODEC_API void isthmus_codec_encoder_free(isthmus_codec_encoder* encoder);
/* `count` = rows x width values. */
ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_encode(isthmus_codec_encoder* encoder,
                                                            const float* values, size_t count,
                                                            const isthmus_codec_frame* frame,
                                                            isthmus_codec_bytes* bytes);
/* The decoded gradient that came back for a frame of this step; codecs without gates ignore it. */
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_encoder_observe_gradient(isthmus_codec_encoder* encoder, const float* gradient,
                                       size_t count, const isthmus_codec_frame* frame);
/* Moves a quality target in decibels from the next frame on; codecs without one ignore it. */
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_encoder_set_quality_offset(isthmus_codec_encoder* encoder, double db);

ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_decoder_new(const isthmus_codec* codec,
                                                                 const isthmus_codec_edge* edge,
                                                                 isthmus_codec_decoder** decoder);
ISTHMUS_CODEC_API void isthmus_codec_decoder_free(isthmus_codec_decoder* decoder);
ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_decode(isthmus_codec_decoder* decoder,
                                                            const uint8_t* bytes, size_t size,
                                                            const isthmus_codec_frame* frame,
                                                            float* values, size_t count);

/* The end of an optimizer step: what happened since the last one becomes permanent, or is undone
 * bit for bit. */
ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_encoder_commit(isthmus_codec_encoder* encoder,
                                                                    uint64_t step);
ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_decoder_commit(isthmus_codec_decoder* decoder,
                                                                    uint64_t step);
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_encoder_rollback(isthmus_codec_encoder* encoder);
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_decoder_rollback(isthmus_codec_decoder* decoder);

/* Start again: the next frame of every sample needs no earlier one; the decoder takes no other. */
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_encoder_request_key_frames(isthmus_codec_encoder* encoder);
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_decoder_request_key_frames(isthmus_codec_decoder* decoder);

/* State at a step's end, to go on with later; the hash is equal at both ends after the same frames.
 */
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_encoder_snapshot(isthmus_codec_encoder* encoder, isthmus_codec_bytes* bytes);
ISTHMUS_CODEC_API isthmus_codec_status
isthmus_codec_decoder_snapshot(isthmus_codec_decoder* decoder, isthmus_codec_bytes* bytes);
ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_encoder_restore(isthmus_codec_encoder* encoder,
                                                                     const uint8_t* bytes,
                                                                     size_t size);
ISTHMUS_CODEC_API isthmus_codec_status isthmus_codec_decoder_restore(isthmus_codec_decoder* decoder,
                                                                     const uint8_t* bytes,
                                                                     size_t size);
ISTHMUS_CODEC_API uint64_t isthmus_codec_encoder_state_hash(const isthmus_codec_encoder* encoder);
ISTHMUS_CODEC_API uint64_t isthmus_codec_decoder_state_hash(const isthmus_codec_decoder* decoder);
ISTHMUS_CODEC_API int64_t isthmus_codec_encoder_state_bytes(const isthmus_codec_encoder* encoder);
ISTHMUS_CODEC_API int64_t isthmus_codec_decoder_state_bytes(const isthmus_codec_decoder* decoder);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ISTHMUS_CODEC_H_ */
