/* Isthmus for programs: a device trains its part of a split model, with its own data, and generates
 * text through the split. Plain C: text in, opaque handles out, no exceptions, no other header.
 *
 *   isthmus_run *run;
 *   isthmus_run_options options = ISTHMUS_RUN_OPTIONS_INIT;
 *   options.coordinator = "server:7600";
 *   options.batches = next_batch;
 *   if (isthmus_run_new(job_yaml, &options, &run) || isthmus_run_train(run))
 *     fprintf(stderr, "%s\n", isthmus_last_error());
 *   isthmus_run_free(run);
 *
 * The job is the text of a job file: model, split, optimizer, codec, output folder. Embedding,
 * first and last blocks, labels and loss stay in this process; the middle runs on the workers of
 * the coordinator.
 *
 * Errors: functions return a status; isthmus_last_error() has one line about this thread's last
 * failed call. NULL where a value must be, and values out of range, are errors, never a crash.
 *
 * Threads: a handle belongs to one thread at a time, but for isthmus_run_stop. Callbacks come on
 * the thread that called isthmus_run_train or isthmus_generate, notes on others as well.
 *
 * Versions: semantic. Structs begin with their size, set by the _INIT macros, so that members can
 * be added at their end. Before 1.0.0 a minor version may break; the shared library's name has it.
 */
#ifndef ISTHMUS_H_
#define ISTHMUS_H_

#include <stddef.h>
#include <stdint.h>

#define ISTHMUS_VERSION_MAJOR 0
#define ISTHMUS_VERSION_MINOR 1
#define ISTHMUS_VERSION_PATCH 0

#if defined(__GNUC__)
#define ISTHMUS_API __attribute__((visibility("default")))
#else
#define ISTHMUS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers of the command line's exit statuses where it has one. */
typedef enum isthmus_status {
  ISTHMUS_OK = 0,
  ISTHMUS_INTERNAL = 1,
  ISTHMUS_INVALID_ARGUMENT = 2, /* a wrong job, file, id or value */
  ISTHMUS_UNAVAILABLE = 3,      /* no coordinator, a lost worker, the network */
  ISTHMUS_DATA_LOSS = 4,        /* a damaged checkpoint or store */
  ISTHMUS_RESOURCE_EXHAUSTED = 5,
  ISTHMUS_CANCELLED = 6, /* isthmus_run_stop, `isthmus stop`, the traffic budget */
  ISTHMUS_CALLBACK = 7   /* a callback returned another number than 0 */
} isthmus_status;

/* "0.1.0" of the library in use; the macros above are of the header. */
ISTHMUS_API const char* isthmus_version(void);
/* One line; "" when no call of this thread failed. Valid until the thread's next failed call. */
ISTHMUS_API const char* isthmus_last_error(void);

/* ---- Training ---- */

/* The samples of one step, or of the evaluation, while a callback fills them. */
typedef struct isthmus_batch isthmus_batch;

/* One sample of `count` ids; all are copied. `targets`: what is to be predicted at each place, -100
 * for nothing; NULL: the ids themselves, each from those before it, which makes count - 1 places.
 * `sample`: an id that is the same whenever the sample comes again (codecs remember by it). */
ISTHMUS_API isthmus_status isthmus_batch_add(isthmus_batch* batch, const int32_t* ids,
                                             const int32_t* targets, size_t count, uint64_t sample);

/* Adds the samples of step `step` (1-based; 0: the evaluation's, asked once). Adds none: the data
 * have ended. Returns 0; anything else ends the run with ISTHMUS_CALLBACK. */
typedef int (*isthmus_batch_fn)(void* user, int64_t step, isthmus_batch* batch);

typedef struct isthmus_progress {
  size_t struct_size;
  int64_t step; /* finished */
  int64_t total_steps;
  double loss; /* nats a predicted token, before the step's update */
  double tokens_per_s;
  double bits_per_element_forward; /* on the wire, everything included */
  double bits_per_element_backward;
} isthmus_progress;
typedef void (*isthmus_progress_fn)(void* user, const isthmus_progress* progress);
/* A line for people: "goes on from step 20". */
typedef void (*isthmus_note_fn)(void* user, const char* line);

/* Zero is a valid value of every member but struct_size. */
typedef struct isthmus_run_options {
  size_t struct_size;
  const char* directory;       /* relative paths of the job start here; NULL: the working folder */
  const char* const* settings; /* "KEY=VALUE" over the job's keys, with dots */
  size_t num_settings;
  const char* coordinator; /* HOST:PORT */
  const char* tls_ca;      /* PEM files; NULL: the job's security.tls */
  const char* tls_cert;
  const char* tls_key;
  int32_t insecure;   /* 1: allows an address beyond this machine without TLS */
  int32_t resume;     /* 1: go on from the output folder's newest checkpoint */
  int32_t overwrite;  /* 1: replace an earlier run there */
  double wait_s;      /* for a coordinator with enough workers; 0: 60 */
  double reconnect_s; /* after a lost cluster or a sleep: go on from the newest checkpoint, until no
                         step has finished for that long; `batches` is asked for the steps after it
                         once more. 0: the run ends */
  int64_t threads;    /* compute threads; 0: chosen */
  int64_t max_bytes;  /* stop before a step that takes the run's traffic beyond; 0: no limit */
  int64_t num_samples;      /* distinct samples that `batches` will give; 0: unknown */
  isthmus_batch_fn batches; /* NULL: the job's data.train; else the job has none, and train.steps */
  isthmus_batch_fn evaluation;  /* NULL: the job's data.eval */
  isthmus_progress_fn progress; /* after every step; may be NULL */
  isthmus_note_fn note;         /* may be NULL */
  void* user;
} isthmus_run_options;
#define ISTHMUS_RUN_OPTIONS_INIT                                                                \
  {                                                                                             \
    sizeof(isthmus_run_options), NULL, NULL, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, \
        NULL, NULL, NULL, NULL, NULL                                                            \
  }

typedef struct isthmus_run isthmus_run;

/* Reads and checks the job's text; touches neither files nor network. */
ISTHMUS_API isthmus_status isthmus_run_new(const char* job_yaml, const isthmus_run_options* options,
                                           isthmus_run** run);
/* The whole run: connect, train, checkpoints, result. Once. ISTHMUS_CANCELLED leaves a checkpoint
 * that `resume` goes on from. */
ISTHMUS_API isthmus_status isthmus_run_train(isthmus_run* run);
/* From any thread, a callback or a signal handler: the step ends, a checkpoint is written,
 * isthmus_run_train returns. */
ISTHMUS_API void isthmus_run_stop(isthmus_run* run);
/* report.json of a run that ended; "" before. Valid while the handle is. */
ISTHMUS_API const char* isthmus_run_report(const isthmus_run* run);
/* Freeing NULL does nothing. */
ISTHMUS_API void isthmus_run_free(isthmus_run* run);

/* ---- Text ---- */

typedef struct isthmus_tokenizer isthmus_tokenizer;

/* tokenizer.json or tokenizer.model of a model folder. */
ISTHMUS_API isthmus_status isthmus_tokenizer_open(const char* model_folder,
                                                  isthmus_tokenizer** tokenizer);
ISTHMUS_API void isthmus_tokenizer_free(isthmus_tokenizer* tokenizer);
/* Ids that the handle owns, valid until its next encode. `add_special`: BOS and EOS as the model's
 * files say. */
ISTHMUS_API isthmus_status isthmus_tokenizer_encode(isthmus_tokenizer* tokenizer, const char* text,
                                                    int add_special, const int32_t** ids,
                                                    size_t* count);
/* Text that the handle owns, valid until its next decode. */
ISTHMUS_API isthmus_status isthmus_tokenizer_decode(isthmus_tokenizer* tokenizer,
                                                    const int32_t* ids, size_t count,
                                                    const char** text);
/* -1: none */
ISTHMUS_API int32_t isthmus_tokenizer_eos(const isthmus_tokenizer* tokenizer);

/* A piece of new text, whole characters. Returns 0 to go on; anything else stops in good order. */
typedef int (*isthmus_text_fn)(void* user, const char* text);

typedef struct isthmus_generate_options {
  size_t struct_size;
  const char* model;       /* folder */
  const char* adapter;     /* PEFT folder; NULL: none */
  const char* coordinator; /* the middle on its workers; NULL: the whole model here */
  const char* codec;       /* of the activations; NULL: none */
  const char* tls_ca;
  const char* tls_cert;
  const char* tls_key;
  int32_t insecure;
  int32_t ignore_eos;
  double wait_s;          /* 0: 60 */
  int64_t threads;        /* 0: chosen */
  int64_t max_new_tokens; /* 0: 128 */
  double temperature;     /* 0: the likeliest token */
  int64_t top_k;          /* 0: all */
  double top_p;           /* 0: all */
  uint64_t seed;
  isthmus_text_fn text; /* hears the new text; may be NULL */
  void* user;
} isthmus_generate_options;
#define ISTHMUS_GENERATE_OPTIONS_INIT                                                             \
  {                                                                                               \
    sizeof(isthmus_generate_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, \
        0, 0, 0, NULL, NULL                                                                       \
  }

/* Goes on from `prompt`. `num_new` (may be NULL): new tokens, an end-of-sequence one included. */
ISTHMUS_API isthmus_status isthmus_generate(const isthmus_generate_options* options,
                                            const char* prompt, int64_t* num_new);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ISTHMUS_H_ */
