#include "cli/local_model.h"

#include "base/status.h"
#include "cli/engine.h"

namespace isthmus {

std::vector<Flag> LocalModelFlags() {
  std::vector<Flag> flags = {
      {.name = "model", .value = "DIR", .help = "Hugging Face model folder", .required = true},
      {.name = "adapter", .value = "DIR", .help = "PEFT adapter on top"},
      {.name = "cut-after",
       .value = "K[,K..]",
       .help = "cut after these blocks (0: after the embedding)"},
      {.name = "codec", .value = "SPEC", .help = "what crosses the cuts is coded with it"}};
  const std::vector<Flag> compute = ComputeFlags();
  flags.insert(flags.end(), compute.begin(), compute.end());
  return flags;
}

absl::StatusOr<LocalModel> OpenLocalModel(const Invocation& invocation, Engine* engine) {
  LocalModel model;
  ISTHMUS_ASSIGN_OR_RETURN(model.directory,
                           engine->OpenModel(invocation.Text("model"), /*weights=*/true));
  auto tokenizer = Tokenizer::Open(invocation.Text("model"));
  if (tokenizer.ok()) {
    model.tokenizer = *std::move(tokenizer);
  } else if (!absl::IsNotFound(tokenizer.status())) {
    return tokenizer.status();
  }
  if (invocation.Given("adapter")) {
    ISTHMUS_ASSIGN_OR_RETURN(Adapter adapter,
                             ReadAdapter(invocation.Text("adapter"), model.config()));
    model.adapter = std::make_unique<Adapter>(std::move(adapter));
  }
  return model;
}

absl::StatusOr<CutModel::Options> CutOptions(const Invocation& invocation,
                                             const LocalModel& model) {
  CutModel::Options options;
  options.adapter = model.adapter.get();
  options.threads = invocation.Integer("threads");
  options.device = invocation.Text("device");
  if (invocation.Given("cut-after") != invocation.Given("codec")) {
    return InvalidArgument("--cut-after, --codec: expected both or none, got one of them");
  }
  if (invocation.Given("codec")) {
    ISTHMUS_ASSIGN_OR_RETURN(options.cuts.after,
                             ParseCuts(invocation.Text("cut-after"), model.config().num_layers));
    options.cuts.codec = invocation.Text("codec");
  }
  return options;
}

}  // namespace isthmus
