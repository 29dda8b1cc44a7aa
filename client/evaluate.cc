#include "client/evaluate.h"

#include <cmath>

#include "base/status.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

using Json = nlohmann::ordered_json;

MicroBatch OneWindow(const Window& window) {
  MicroBatch mb;
  mb.samples = {window.sample};
  mb.lengths = {static_cast<int32_t>(window.inputs.size())};
  mb.ids = window.inputs;
  mb.targets = window.targets;
  return mb;
}

// Null where nothing is predicted, and for what is not a number: JSON has no word for it.
Json Mean(const DocumentLoss& loss) {
  const double mean = loss.loss_sum / static_cast<double>(loss.tokens);
  return loss.tokens > 0 && std::isfinite(mean) ? Json(mean) : Json(nullptr);
}

Json Perplexity(const DocumentLoss& loss) {
  const double value = std::exp(loss.loss_sum / static_cast<double>(loss.tokens));
  return loss.tokens > 0 && std::isfinite(value) ? Json(value) : Json(nullptr);
}

}  // namespace

DocumentLoss Evaluation::total() const {
  DocumentLoss sum;
  for (const DocumentLoss& document : documents) {
    sum.loss_sum += document.loss_sum;
    sum.tokens += document.tokens;
  }
  return sum;
}

std::string Evaluation::ToJson() const {
  Json rows = Json::array(), uses = Json::array();
  for (const DocumentLoss& document : documents) {
    rows.push_back({{"loss", Mean(document)}, {"tokens", document.tokens}});
  }
  for (const CutUse& cut : cuts) {
    uses.push_back({{"after", cut.after},
                    {"codec", cut.codec},
                    {"elements", cut.elements},
                    {"wire_bytes", cut.wire_bytes},
                    {"bits_per_element", BitsPerElement(cut.wire_bytes, cut.elements)}});
  }
  const DocumentLoss sum = total();
  const Json json = {{"loss", Mean(sum)},
                     {"perplexity", Perplexity(sum)},
                     {"tokens", sum.tokens},
                     {"documents", std::move(rows)},
                     {"cuts", std::move(uses)}};
  return json.dump() + "\n";
}

absl::StatusOr<Evaluation> Evaluate(CutModel* model, const std::vector<Window>& windows,
                                    int64_t num_documents,
                                    const std::function<bool(int64_t)>& progress) {
  Evaluation evaluation;
  evaluation.documents.resize(num_documents);
  for (size_t i = 0; i < windows.size(); ++i) {
    const Window& window = windows[i];
    ISTHMUS_ASSIGN_OR_RETURN(const StageOutput out, model->Evaluate(OneWindow(window)));
    DocumentLoss& document = evaluation.documents[window.document];
    document.loss_sum += out.loss_sum;
    document.tokens += out.predicted;
    if (!progress(static_cast<int64_t>(i) + 1)) return absl::CancelledError("eval: stopped");
  }
  evaluation.cuts = model->cuts();
  return evaluation;
}

}  // namespace isthmus
