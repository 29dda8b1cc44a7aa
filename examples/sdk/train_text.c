/* Trains a device's part of a split model on a text file, in plain C. Ctrl-C ends it in good order;
 * --resume goes on.
 *
 *   train_text HOST:PORT MODEL_FOLDER TEXT_FILE OUTPUT_FOLDER [--resume] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isthmus.h"

enum { kLength = 64, kSamples = 8, kSteps = 20 };

typedef struct text_ids {
  const int32_t *ids;
  size_t count;
} text_ids;

static isthmus_run *running;

static void stop(int number) {
  (void)number;
  isthmus_run_stop(running);
}

/* Step after step the next kSamples pieces of the text, from the start again when it ends. */
static int next_batch(void *user, int64_t step, isthmus_batch *batch) {
  const text_ids *text = user;
  const size_t pieces = (text->count - 1) / kLength;
  for (size_t i = 0; i < kSamples; ++i) {
    const size_t piece = ((size_t)(step - 1) * kSamples + i) % pieces;
    if (isthmus_batch_add(batch, text->ids + piece * kLength, NULL, kLength + 1, piece)) return 1;
  }
  return 0;
}

static void show(void *user, const isthmus_progress *progress) {
  (void)user;
  printf("step %lld of %lld: loss %.3f, %.2f bits a value sent\n", (long long)progress->step,
         (long long)progress->total_steps, progress->loss, progress->bits_per_element_forward);
}

static void note(void *user, const char *line) {
  (void)user;
  printf("%s\n", line);
}

static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) return NULL;
  fseek(file, 0, SEEK_END);
  const long size = ftell(file);
  rewind(file);
  char *text = size < 0 ? NULL : malloc((size_t)size + 1);
  if (text != NULL) text[fread(text, 1, (size_t)size, file)] = '\0';
  fclose(file);
  return text;
}

static int train(const char *coordinator, const char *model, const char *output, int resume,
                 text_ids *text) {
  char job[4096];
  snprintf(job, sizeof job,
           "model: '%s'\noutput: '%s'\ndata: {sequence_length: %d}\n"
           "train: {steps: %d, micro_batch_size: 2, micro_batches: 4, optimizer: {lr: 2.0e-3}}\n"
           "checkpoint: {every_steps: 10}\n",
           model, output, kLength, kSteps);
  isthmus_run_options options = ISTHMUS_RUN_OPTIONS_INIT;
  options.coordinator = coordinator;
  options.resume = resume;
  options.batches = next_batch;
  options.num_samples = (int64_t)((text->count - 1) / kLength);
  options.progress = show;
  options.note = note;
  options.user = text;
  isthmus_status status = isthmus_run_new(job, &options, &running);
  if (status == ISTHMUS_OK) {
    signal(SIGINT, stop);
    status = isthmus_run_train(running);
    signal(SIGINT, SIG_DFL);
  }
  if (status != ISTHMUS_OK) fprintf(stderr, "%s\n", isthmus_last_error());
  isthmus_run_free(running);
  return status;
}

int main(int argc, char **argv) {
  if (argc < 5 || argc > 6 || (argc == 6 && strcmp(argv[5], "--resume") != 0)) {
    fprintf(stderr, "usage: train_text HOST:PORT MODEL_FOLDER TEXT_FILE OUTPUT_FOLDER [--resume]\n");
    return 2;
  }
  char *text = read_text(argv[3]);
  if (text == NULL) {
    fprintf(stderr, "%s: expected a text file, got none\n", argv[3]);
    return 2;
  }
  text_ids ids = {NULL, 0};
  isthmus_tokenizer *tokenizer = NULL;
  int status = isthmus_tokenizer_open(argv[2], &tokenizer);
  if (status == ISTHMUS_OK)
    status = isthmus_tokenizer_encode(tokenizer, text, 1, &ids.ids, &ids.count);
  if (status != ISTHMUS_OK) {
    fprintf(stderr, "%s\n", isthmus_last_error());
  } else if (ids.count <= kLength) {
    fprintf(stderr, "%s: expected more than %d tokens, got %zu\n", argv[3], kLength, ids.count);
    status = ISTHMUS_INVALID_ARGUMENT;
  } else {
    status = train(argv[1], argv[2], argv[4], argc == 6, &ids);
  }
  isthmus_tokenizer_free(tokenizer);
  free(text);
  return status;
}
