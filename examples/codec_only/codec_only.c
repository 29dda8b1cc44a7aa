/* Codes one tensor with each codec named on the command line (default: one of each of this library)
 * and says what it cost: true bits per element, and the signal to noise of what was decoded. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "isthmus_codec.h"

enum { kTokens = 256, kWidth = 128, kElements = kTokens * kWidth };

/* Rows that drift slowly, with a few channels larger than the rest. */
static void fill(float *values) {
  uint32_t state = 1;
  for (int token = 0; token < kTokens; ++token) {
    for (int channel = 0; channel < kWidth; ++channel) {
      state = state * 1664525u + 1013904223u;
      const float noise = (float)(state >> 8) / (1 << 24) - 0.5f;
      const float scale = channel % 32 == 0 ? 20.0f : 1.0f;
      values[token * kWidth + channel] = scale * (noise + 0.5f * sinf(0.1f * (float)token));
    }
  }
}

static double snr_db(const float *x, const float *y) {
  double signal = 0, noise = 0;
  for (int i = 0; i < kElements; ++i) {
    signal += (double)x[i] * x[i];
    noise += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
  }
  return noise > 0 ? 10 * log10(signal / noise) : INFINITY;
}

/* Both ends of an edge in one process. */
static int code(const char *spec, const float *values) {
  isthmus_codec *codec = NULL;
  isthmus_codec_encoder *encoder = NULL;
  isthmus_codec_decoder *decoder = NULL;
  isthmus_codec_edge edge = ISTHMUS_CODEC_EDGE_INIT;
  isthmus_codec_frame frame = ISTHMUS_CODEC_FRAME_INIT;
  isthmus_codec_bytes bytes = {NULL, 0};
  float *decoded = malloc(kElements * sizeof(float));
  edge.width = kWidth;
  edge.num_samples = 1;
  edge.max_sample_tokens = kTokens;
  const int failed =
      decoded == NULL || isthmus_codec_open(spec, &codec) ||
      isthmus_codec_encoder_new(codec, &edge, &encoder) ||
      isthmus_codec_decoder_new(codec, &edge, &decoder) ||
      isthmus_codec_encode(encoder, values, kElements, &frame, &bytes) ||
      isthmus_codec_decode(decoder, bytes.data, bytes.size, &frame, decoded, kElements);
  if (failed) {
    fprintf(stderr, "codec_only: %s: %s\n", spec, isthmus_codec_last_error());
  } else {
    printf("%-28s %7.3f bits/element %7.2f dB  %s\n", spec, 8.0 * (double)bytes.size / kElements,
           snr_db(values, decoded), isthmus_codec_full_text(codec));
  }
  isthmus_codec_decoder_free(decoder);
  isthmus_codec_encoder_free(encoder);
  isthmus_codec_close(codec);
  free(decoded);
  return failed;
}

int main(int argc, char **argv) {
  static float values[kElements];
  int failed = 0;
  fill(values);
  printf("isthmus codec library %s\n", isthmus_codec_version());
  for (int i = 1; i < argc; ++i) failed |= code(argv[i], values);
  if (argc == 1) {
    for (size_t i = 0; isthmus_codec_example(i) != NULL; ++i)
      failed |= code(isthmus_codec_example(i), values);
  }
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
