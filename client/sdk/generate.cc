// isthmus_generate: text from the whole model here, or through the split.
#include "client/generate.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cut_model.h"
#include "client/sdk/call.h"
#include "client/split_generate.h"
#include "compression/codec.h"
#include "engine/edge/engine.h"
#include "link/tls.h"
#include "model/tokenizer.h"

namespace isthmus {
namespace {

struct TextModel {
  std::unique_ptr<ModelDirectory> directory;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<Adapter> adapter;
};

absl::StatusOr<TextModel> OpenTextModel(Engine* engine, const isthmus_generate_options& options) {
  TextModel model;
  ISTHMUS_ASSIGN_OR_RETURN(model.directory, engine->OpenModel(options.model, /*weights=*/true));
  ISTHMUS_ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::Open(options.model));
  if (options.adapter != nullptr) {
    ISTHMUS_ASSIGN_OR_RETURN(model.adapter,
                             ReadAdapter(options.adapter, model.directory->config()));
  }
  return model;
}

absl::Status CheckOptions(const isthmus_generate_options& options) {
  ISTHMUS_RETURN_IF_ERROR(NotNull(options.model));
  if (options.wait_s < 0 || options.threads < 0 || options.max_new_tokens < 0 ||
      options.temperature < 0 || options.top_k < 0 || options.top_p < 0 || options.top_p > 1)
    return InvalidArgument(
        "options: expected numbers from 0, top_p at most 1, got one out of range");
  if (options.codec == nullptr) return absl::OkStatus();
  if (options.coordinator == nullptr)
    return InvalidArgument("codec: expected a coordinator beside it, got none");
  ISTHMUS_ASSIGN_OR_RETURN(const auto codec, Codec::Parse(options.codec));
  if (!codec->NeedsSequences()) return absl::OkStatus();
  return InvalidArgument("codec: expected one that serves single tokens, got ", options.codec);
}

GenerateOptions TextOptions(const isthmus_generate_options& options, const TextModel& model) {
  GenerateOptions text;
  text.max_new_tokens = options.max_new_tokens > 0 ? options.max_new_tokens : 128;
  text.max_positions = model.directory->config().max_positions;
  text.sampler = {options.temperature, options.top_k, options.top_p > 0 ? options.top_p : 1.0,
                  options.seed};
  if (options.ignore_eos != 0) return text;
  text.eos_ids = model.directory->config().eos_ids;
  if (text.eos_ids.empty() && model.tokenizer->eos_id() >= 0)
    text.eos_ids = {model.tokenizer->eos_id()};
  return text;
}

// Whole characters of the new text, to the callback.
class TextSink {
 public:
  TextSink(const isthmus_generate_options& options, const TextModel& model,
           const std::vector<int32_t>& prompt)
      : options_(options), decoder_(model.tokenizer.get()) {
    for (const int32_t id : prompt) decoder_.Push(id);
  }
  bool Push(int32_t id) { return Say(decoder_.Push(id)); }
  void Flush() { Say(decoder_.Flush()); }

 private:
  bool Say(const std::string& text) {
    return options_.text == nullptr || text.empty() ||
           options_.text(options_.user, text.c_str()) == 0;
  }
  const isthmus_generate_options& options_;
  StreamDecoder decoder_;
};

absl::StatusOr<Generation> Stream(LogitsSource* source, const isthmus_generate_options& options,
                                  const TextModel& model, const std::vector<int32_t>& prompt) {
  TextSink sink(options, model, prompt);
  auto generation = Generate(source, prompt, TextOptions(options, model),
                             [&sink](int32_t id) { return sink.Push(id); });
  if (generation.ok() && generation->end != Generation::End::kStopped) sink.Flush();
  return generation;
}

absl::StatusOr<Generation> GenerateHere(Engine* engine, const isthmus_generate_options& options,
                                        const TextModel& model,
                                        const std::vector<int32_t>& prompt) {
  CutModel::Options cut;
  cut.adapter = model.adapter.has_value() ? &*model.adapter : nullptr;
  cut.threads = options.threads;
  cut.num_samples = 1;
  cut.max_sample_tokens = model.directory->config().max_positions;
  ISTHMUS_ASSIGN_OR_RETURN(const auto whole, CutModel::Open(engine, model.directory->config(),
                                                            model.directory.get(), cut));
  return Stream(whole.get(), options, model, prompt);
}

absl::StatusOr<Generation> GenerateSplit(Engine* engine, const isthmus_generate_options& options,
                                         const TextModel& model,
                                         const std::vector<int32_t>& prompt) {
  SplitGenerateOptions split;
  split.coordinator = options.coordinator;
  ISTHMUS_ASSIGN_OR_RETURN(split.tls, TlsOf(options));
  ISTHMUS_RETURN_IF_ERROR(
      CheckAddressSecurity(split.coordinator, split.tls, options.insecure != 0, "coordinator"));
  if (options.wait_s > 0) split.wait_s = options.wait_s;
  split.codec = TextOr(options.codec, "none");
  split.adapter = model.adapter.has_value() ? &*model.adapter : nullptr;
  split.threads = options.threads;
  ISTHMUS_ASSIGN_OR_RETURN(const auto source,
                           SplitLogits::Open(engine, model.directory.get(), split));
  auto generation = Stream(source.get(), options, model, prompt);
  if (generation.ok()) ISTHMUS_RETURN_IF_ERROR(source->Close());
  return generation;
}

absl::Status RunGenerate(const isthmus_generate_options* given, const char* prompt,
                         int64_t* num_new) {
  ISTHMUS_RETURN_IF_ERROR(NotNull(prompt));
  ISTHMUS_ASSIGN_OR_RETURN(const isthmus_generate_options options, Known(given));
  ISTHMUS_RETURN_IF_ERROR(CheckOptions(options));
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEdgeEngine(options.threads));
  ISTHMUS_ASSIGN_OR_RETURN(const TextModel model, OpenTextModel(engine.get(), options));
  ISTHMUS_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, model.tokenizer->Encode(prompt));
  ISTHMUS_ASSIGN_OR_RETURN(const Generation generation,
                           options.coordinator == nullptr
                               ? GenerateHere(engine.get(), options, model, ids)
                               : GenerateSplit(engine.get(), options, model, ids));
  if (num_new != nullptr) *num_new = generation.num_new;
  return absl::OkStatus();
}

}  // namespace
}  // namespace isthmus

isthmus_status isthmus_generate(const isthmus_generate_options* options, const char* prompt,
                                int64_t* num_new) {
  return isthmus::Call("isthmus_generate",
                       [&] { return isthmus::RunGenerate(options, prompt, num_new); });
}
