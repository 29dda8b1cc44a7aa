// Base + adapter -> a plain model directory.
#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/match.h"
#include "base/done_reading.h"
#include "base/status.h"
#include "model/adapter.h"
#include "model/convert.h"
#include "model/model_folder.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace isthmus {
namespace {

// The two matrices of one linear of one layer.
struct LowRank {
  Tensor a;  // [r, in]
  Tensor b;  // [out, r]
};

// Weight name -> its matrices.
std::map<std::string, LowRank> ByWeight(const Adapter& adapter) {
  std::map<std::string, LowRank> pairs;
  const std::string prefix = "base_model.model.";
  const std::string a_suffix = ".lora_A.weight", b_suffix = ".lora_B.weight";
  for (const NamedTensor& t : adapter.tensors) {
    const size_t length = t.name.size() - prefix.size() - a_suffix.size();
    LowRank& pair = pairs[absl::StrCat(t.name.substr(prefix.size(), length), ".weight")];
    (absl::EndsWith(t.name, b_suffix) ? pair.b : pair.a) = t.tensor;
  }
  return pairs;
}

// One row of scale * B A: row[i] = scale * sum_k b[k] A[k, i].
void DeltaRow(const float* b, const Tensor& a, double scale, std::vector<float>* row) {
  const int64_t rank = a.dim(0), in = a.dim(1);
  std::fill(row->begin(), row->end(), 0.0f);
  for (int64_t k = 0; k < rank; ++k) {
    const float factor = b[k];
    const float* values = a.floats().data() + k * in;
    for (int64_t i = 0; i < in; ++i) (*row)[static_cast<size_t>(i)] += factor * values[i];
  }
  for (float& value : *row) value = static_cast<float>(scale * value);
}

// W + scale * B A in fp32, as the base stores it: [out, in], or [in, out] when `transposed`.
absl::StatusOr<Tensor> MergeLinear(const Tensor& base, const LowRank& lora, double scale,
                                   bool transposed) {
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor weight, ToF32(base));
  const int64_t out = lora.b.dim(0), rank = lora.b.dim(1), in = lora.a.dim(1);
  Tensor merged = Tensor::FromFloats(weight.shape(), weight.floats());
  float* values = merged.mutable_floats().data();
  std::vector<float> row(static_cast<size_t>(in));
  for (int64_t o = 0; o < out; ++o) {
    DeltaRow(lora.b.floats().data() + o * rank, lora.a, scale, &row);
    for (int64_t i = 0; i < in; ++i) {
      values[transposed ? i * out + o : o * in + i] += row[static_cast<size_t>(i)];
    }
  }
  const float largest = base.dtype() == DType::kF16 ? 65504.0f : 3.38953139e38f;
  for (float value : merged.floats()) {
    if (!(std::fabs(value) <= largest)) {
      return InvalidArgument("merged weight: expected a finite ", Name(base.dtype()), ", got ",
                             value);
    }
  }
  return FromF32(merged, base.dtype());
}

absl::Status WriteWeights(ModelDirectory* model, const Adapter& adapter, const std::string& path) {
  const ModelConfig& config = model->config();
  std::vector<TensorHeader> headers;
  for (const TensorInfo& info : ModelTensors(config)) {
    ISTHMUS_ASSIGN_OR_RETURN(const Tensor tensor, model->Load(info.name));
    headers.push_back({info.name, tensor.dtype(), tensor.shape()});
  }
  const std::map<std::string, LowRank> pairs = ByWeight(adapter);
  const auto load = [&](size_t i) -> absl::StatusOr<Tensor> {
    const std::string& name = headers[i].name;
    ISTHMUS_ASSIGN_OR_RETURN(Tensor tensor, model->Load(name));
    const auto it = pairs.find(name);
    if (it == pairs.end()) return tensor;
    absl::StatusOr<Tensor> merged =
        MergeLinear(tensor, it->second, adapter.lora.scale(), config.transposed_linear);
    DoneReading(tensor.bytes());
    if (!merged.ok()) return Annotate(merged.status(), name);
    return merged;
  };
  return WriteSafetensors(path, headers, load, {{"format", "pt"}});
}

}  // namespace

absl::Status MergeAdapter(const std::string& model_directory, const std::string& adapter_directory,
                          const std::string& out_directory) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::unique_ptr<ModelDirectory> model,
                           ModelDirectory::Open(model_directory));
  ISTHMUS_ASSIGN_OR_RETURN(const Adapter adapter, ReadAdapter(adapter_directory, model->config()));
  return BuildModelFolder(model_directory, out_directory, [&](const std::string& folder) {
    return WriteWeights(model.get(), adapter, folder + "/model.safetensors");
  });
}

}  // namespace isthmus
