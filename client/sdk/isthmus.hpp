// Isthmus for C++ programs, over isthmus.h, which has the contract. Header only; C++17.
//
//   isthmus::sdk::Run run(job_yaml, {.coordinator = "server:7600"});     (C++20 designators)
//   run.OnBatch([&](int64_t step, isthmus::sdk::Batch& batch) { batch.Add(ids, sample); });
//   run.Train();
//
// Errors are thrown as isthmus::sdk::Error. An exception of a callback ends the run and comes out
// of Train.
#ifndef ISTHMUS_HPP_
#define ISTHMUS_HPP_

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "isthmus.h"

namespace isthmus::sdk {

class Error : public std::runtime_error {
 public:
  Error(isthmus_status status, const std::string& text)
      : std::runtime_error(text), status_(status) {}
  isthmus_status status() const { return status_; }

 private:
  isthmus_status status_;
};

inline void Check(isthmus_status status) {
  if (status != ISTHMUS_OK) throw Error(status, isthmus_last_error());
}

// The samples of one step; valid during the callback.
class Batch {
 public:
  explicit Batch(isthmus_batch* batch) : batch_(batch) {}
  // Each id but the first is predicted from those before it.
  void Add(const std::vector<int32_t>& ids, uint64_t sample) {
    Check(isthmus_batch_add(batch_, ids.data(), nullptr, ids.size(), sample));
  }
  // `targets`: what is predicted at each place, -100 for nothing.
  void Add(const std::vector<int32_t>& ids, const std::vector<int32_t>& targets, uint64_t sample) {
    if (targets.size() != ids.size())
      throw Error(ISTHMUS_INVALID_ARGUMENT, "batch: expected a target for each id");
    Check(isthmus_batch_add(batch_, ids.data(), targets.data(), ids.size(), sample));
  }

 private:
  isthmus_batch* batch_;
};

struct RunOptions {
  std::string coordinator;  // HOST:PORT
  std::string directory;    // relative paths of the job start here
  std::vector<std::string> settings;
  std::string tls_ca, tls_cert, tls_key;
  bool insecure = false, resume = false, overwrite = false;
  double wait_s = 0.0, reconnect_s = 0.0;
  int64_t threads = 0, max_bytes = 0, num_samples = 0;
};

// One thread at a time but for Stop.
class Run {
 public:
  using BatchCallback = std::function<void(int64_t step, Batch& batch)>;

  Run(std::string job_yaml, RunOptions options)
      : job_(std::move(job_yaml)), options_(std::move(options)) {}

  // In place of data.train and data.eval. A step without samples: the data have ended.
  void OnBatch(BatchCallback callback) { batches_ = std::move(callback); }
  void OnEvaluation(BatchCallback callback) { evaluation_ = std::move(callback); }
  void OnProgress(std::function<void(const isthmus_progress&)> callback) {
    progress_ = std::move(callback);
  }
  void OnNote(std::function<void(const std::string&)> callback) { note_ = std::move(callback); }

  // The whole run; once. Returns report.json. Stopped: Error with ISTHMUS_CANCELLED.
  std::string Train() {
    Open();
    const isthmus_status status = isthmus_run_train(run_.get());
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    Check(status);
    return isthmus_run_report(run_.get());
  }
  // From a callback, or from another thread while Train runs: the step ends, a checkpoint is
  // written.
  void Stop() { isthmus_run_stop(run_.get()); }

 private:
  struct Closer {
    void operator()(isthmus_run* run) const { isthmus_run_free(run); }
  };

  void Open() {
    std::vector<const char*> settings;
    for (const std::string& setting : options_.settings) settings.push_back(setting.c_str());
    isthmus_run_options options = ISTHMUS_RUN_OPTIONS_INIT;
    options.directory = OrNull(options_.directory);
    options.settings = settings.data();
    options.num_settings = settings.size();
    options.coordinator = OrNull(options_.coordinator);
    options.tls_ca = OrNull(options_.tls_ca);
    options.tls_cert = OrNull(options_.tls_cert);
    options.tls_key = OrNull(options_.tls_key);
    options.insecure = options_.insecure;
    options.resume = options_.resume;
    options.overwrite = options_.overwrite;
    options.wait_s = options_.wait_s;
    options.reconnect_s = options_.reconnect_s;
    options.threads = options_.threads;
    options.max_bytes = options_.max_bytes;
    options.num_samples = options_.num_samples;
    if (batches_)
      options.batches = [](void* user, int64_t step, isthmus_batch* batch) {
        auto* self = static_cast<Run*>(user);
        return self->Ask(self->batches_, step, batch);
      };
    if (evaluation_)
      options.evaluation = [](void* user, int64_t step, isthmus_batch* batch) {
        auto* self = static_cast<Run*>(user);
        return self->Ask(self->evaluation_, step, batch);
      };
    if (progress_)
      options.progress = [](void* user, const isthmus_progress* progress) {
        auto* self = static_cast<Run*>(user);
        self->Guard([&] { self->progress_(*progress); });
      };
    if (note_)
      options.note = [](void* user, const char* line) { static_cast<Run*>(user)->note_(line); };
    options.user = this;
    isthmus_run* run = nullptr;
    Check(isthmus_run_new(job_.c_str(), &options, &run));
    run_.reset(run);
  }

  int Ask(const BatchCallback& callback, int64_t step, isthmus_batch* batch) {
    Batch samples(batch);
    return Guard([&] { callback(step, samples); }) ? 0 : 1;
  }
  // False when `work` threw: the run stops and Train throws it again.
  template <typename Work>
  bool Guard(const Work& work) {
    try {
      work();
      return true;
    } catch (...) {
      if (!thrown_) thrown_ = std::current_exception();
      Stop();
      return false;
    }
  }
  static const char* OrNull(const std::string& text) {
    return text.empty() ? nullptr : text.c_str();
  }

  const std::string job_;
  const RunOptions options_;
  BatchCallback batches_, evaluation_;
  std::function<void(const isthmus_progress&)> progress_;
  std::function<void(const std::string&)> note_;
  std::exception_ptr thrown_;
  std::unique_ptr<isthmus_run, Closer> run_;
};

class Tokenizer {
 public:
  explicit Tokenizer(const std::string& model_folder) {
    isthmus_tokenizer* tokenizer = nullptr;
    Check(isthmus_tokenizer_open(model_folder.c_str(), &tokenizer));
    tokenizer_.reset(tokenizer);
  }
  std::vector<int32_t> Encode(const std::string& text, bool add_special = true) {
    const int32_t* ids = nullptr;
    size_t count = 0;
    Check(isthmus_tokenizer_encode(tokenizer_.get(), text.c_str(), add_special, &ids, &count));
    return {ids, ids + count};
  }
  std::string Decode(const std::vector<int32_t>& ids) {
    const char* text = nullptr;
    Check(isthmus_tokenizer_decode(tokenizer_.get(), ids.data(), ids.size(), &text));
    return text;
  }
  int32_t eos() const { return isthmus_tokenizer_eos(tokenizer_.get()); }

 private:
  struct Closer {
    void operator()(isthmus_tokenizer* tokenizer) const { isthmus_tokenizer_free(tokenizer); }
  };
  std::unique_ptr<isthmus_tokenizer, Closer> tokenizer_;
};

}  // namespace isthmus::sdk

#endif  // ISTHMUS_HPP_
