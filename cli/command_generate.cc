// isthmus generate: streams text from a model, whole or through cuts.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/engine.h"
#include "cli/local_model.h"
#include "cli/output.h"
#include "cli/security_flags.h"
#include "client/generate.h"
#include "client/interrupt.h"
#include "client/progress.h"
#include "client/split_generate.h"
#include "compression/codec.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

GenerateOptions OptionsOf(const Invocation& in, const LocalModel& model) {
  GenerateOptions options;
  options.max_new_tokens = in.Integer("max-new-tokens");
  options.max_positions = model.config().max_positions;
  options.sampler.temperature = in.Number("temperature");
  options.sampler.top_k = in.Integer("top-k");
  options.sampler.top_p = in.Number("top-p");
  options.sampler.seed = static_cast<uint64_t>(in.Integer("seed"));
  if (in.On("ignore-eos")) return options;
  options.eos_ids = model.config().eos_ids;
  if (options.eos_ids.empty() && model.tokenizer->eos_id() >= 0) {
    options.eos_ids = {model.tokenizer->eos_id()};
  }
  return options;
}

std::string ToJson(const LocalModel& model, const std::vector<int32_t>& prompt,
                   const Generation& generation) {
  const double rate = generation.seconds > 0.0 ? generation.num_new / generation.seconds : 0.0;
  const Json json = {{"prompt_ids", prompt},
                     {"ids", generation.ids},
                     {"text", model.tokenizer->Decode(generation.ids)},
                     {"tokens_per_s", rate}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// The prompt and every new id as text, as soon as later ids cannot change it.
absl::StatusOr<Generation> Stream(LogitsSource* source, const LocalModel& model,
                                  const std::vector<int32_t>& prompt,
                                  const GenerateOptions& options, bool print) {
  StreamDecoder decoder(model.tokenizer.get());
  const auto show = [&](int32_t id) { return !print || Print(decoder.Push(id)); };
  for (const int32_t id : prompt) show(id);
  auto generation = Generate(source, prompt, options,
                             [&](int32_t id) { return show(id) && Interrupt::Signal() == 0; });
  if (print) Print(absl::StrCat(decoder.Flush(), "\n"));
  return generation;
}

absl::StatusOr<Generation> GenerateHere(const Invocation& in, const LocalModel& model,
                                        const std::vector<int32_t>& prompt, Engine* engine) {
  ISTHMUS_ASSIGN_OR_RETURN(CutModel::Options options, CutOptions(in, model));
  options.num_samples = 1;
  options.max_sample_tokens = model.config().max_positions;
  ISTHMUS_ASSIGN_OR_RETURN(const auto cut_model,
                           CutModel::Open(engine, model.config(), model.directory.get(), options));
  return Stream(cut_model.get(), model, prompt, OptionsOf(in, model), !in.On("json"));
}

absl::StatusOr<Generation> GenerateSplit(const Invocation& in, const LocalModel& model,
                                         const std::vector<int32_t>& prompt, Engine* engine) {
  if (in.Given("cut-after")) {
    return InvalidArgument("--cut-after, --coordinator: expected one of them, got both");
  }
  SplitGenerateOptions options;
  ISTHMUS_ASSIGN_OR_RETURN(options.coordinator, CoordinatorOf(in));
  options.tls = TlsOf(in);
  options.wait_s = in.Number("wait");
  if (in.Given("codec")) options.codec = in.Text("codec");
  options.adapter = model.adapter.get();
  options.threads = in.Integer("threads");
  options.device = in.Text("device");
  ISTHMUS_ASSIGN_OR_RETURN(const auto source,
                           SplitLogits::Open(engine, model.directory.get(), options));
  auto generation = Stream(source.get(), model, prompt, OptionsOf(in, model), !in.On("json"));
  if (generation.ok()) ISTHMUS_RETURN_IF_ERROR(source->Close());
  return generation;
}

// Generation sends one token at a time: a transform along a sequence has none there.
absl::Status CheckCodec(const Invocation& in) {
  if (!in.Given("codec")) return absl::OkStatus();
  ISTHMUS_ASSIGN_OR_RETURN(const auto codec, Codec::Parse(in.Text("codec")));
  if (!codec->NeedsSequences()) return absl::OkStatus();
  return InvalidArgument("--codec: expected one that serves single tokens, got ", codec->text(),
                         ", which transforms whole sequences");
}

absl::Status RunGenerate(const Invocation& in) {
  ISTHMUS_RETURN_IF_ERROR(CheckCodec(in));
  ISTHMUS_ASSIGN_OR_RETURN(const auto engine, MakeEngine(in, in.Text("kv-cache")));
  ISTHMUS_ASSIGN_OR_RETURN(LocalModel model, OpenLocalModel(in, engine.get()));
  if (model.tokenizer == nullptr) {
    return InvalidArgument(in.Text("model"),
                           ": expected tokenizer.json or tokenizer.model, got neither");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const auto prompt, model.tokenizer->Encode(in.Text("prompt")));
  ISTHMUS_ASSIGN_OR_RETURN(const Generation generation,
                           in.Given("coordinator") ? GenerateSplit(in, model, prompt, engine.get())
                                                   : GenerateHere(in, model, prompt, engine.get()));
  if (Interrupt::Signal() != 0) return absl::CancelledError("generate: stopped");
  if (generation.end == Generation::End::kContext) {
    Progress(Progress::Choose(false))
        .Note(absl::StrCat("stopped at the model's context of ", model.config().max_positions,
                           " tokens"));
  }
  if (in.On("json")) Print(ToJson(model, prompt, generation));
  return absl::OkStatus();
}

}  // namespace

CliCommand GenerateCommand() {
  CliCommand command = {.name = "generate",
                        .summary = "text from a model, streamed: whole, cut, or split over workers",
                        .flags = LocalModelFlags(),
                        .ends_orderly = true,
                        .run = RunGenerate};
  const std::vector<Flag> own = {
      {.name = "prompt", .value = "TEXT", .help = "what to go on from", .required = true},
      {.name = "max-new-tokens",
       .kind = FlagKind::kInteger,
       .value = "N",
       .help = "at most so many",
       .fallback = "128"},
      {.name = "temperature",
       .kind = FlagKind::kNumber,
       .value = "T",
       .help = "0: the likeliest token",
       .fallback = "0",
       .most = 1000},
      {.name = "top-k",
       .kind = FlagKind::kInteger,
       .value = "N",
       .help = "draw among the N likeliest, 0: all",
       .fallback = "0"},
      {.name = "top-p",
       .kind = FlagKind::kNumber,
       .value = "P",
       .help = "draw among the likeliest that reach P",
       .fallback = "1",
       .least = 1e-6,
       .most = 1},
      {.name = "seed",
       .kind = FlagKind::kInteger,
       .value = "N",
       .help = "of the draws",
       .fallback = "0"},
      {.name = "ignore-eos",
       .kind = FlagKind::kSwitch,
       .help = "does not stop at the end-of-sequence token"},
      {.name = "json",
       .kind = FlagKind::kSwitch,
       .help = "one JSON document at the end, nothing streamed"},
      KvCacheFlag(),
      CoordinatorFlag(false),
      {.name = "wait",
       .kind = FlagKind::kSeconds,
       .value = "TIME",
       .help = "for a coordinator with a ready worker",
       .fallback = "60s"}};
  for (const auto& more : {own, DialFlags()}) {
    command.flags.insert(command.flags.end(), more.begin(), more.end());
  }
  return command;
}

}  // namespace isthmus
