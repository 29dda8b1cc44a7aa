#include "engine/edge/packed_model.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/done_reading.h"
#include "base/status.h"
#include "model/architecture.h"
#include "model/content_id.h"
#include "model/convert.h"
#include "model/model_folder.h"

namespace isthmus {
namespace {

constexpr char kFile[] = "packed.safetensors";
constexpr char kFormat[] = "isthmus-packed-1";

std::string FileIn(const std::string& directory) { return directory + "/" + kFile; }

// A tensor of the file to make: packed, or as it is.
struct Entry {
  TensorInfo info;
  bool packed = false;
  bool outer = false;       // embedding or head
  bool transposed = false;  // stored [in, out]
  WeightFormatSpec spec;
  int64_t out() const { return info.shape[transposed ? 1 : 0]; }
  int64_t in() const { return info.shape[transposed ? 0 : 1]; }
};

// Every tensor of the model, packed ones first.
std::vector<Entry> Entries(const ModelConfig& config, const WeightFormatSpec& spec) {
  std::map<std::string, bool> linears;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (const LinearName& linear : BlockLinears(config)) {
      linears[absl::StrCat(BlockPrefix(config, layer), linear.module, ".weight")] = true;
    }
  }
  std::vector<Entry> packed, plain;
  bool first = true;  // the token embedding comes first
  for (const TensorInfo& info : ModelTensors(config)) {
    Entry entry;
    entry.info = info;
    entry.outer = std::exchange(first, false) || info.name == kHeadTensor;
    const bool linear = linears.count(info.name) > 0;
    entry.packed = entry.outer || linear;
    entry.transposed = linear && config.transposed_linear;
    entry.spec = entry.outer ? OuterFormat(spec) : spec;
    (entry.packed ? packed : plain).push_back(std::move(entry));
  }
  packed.insert(packed.end(), plain.begin(), plain.end());
  return packed;
}

Tensor Transposed(const Tensor& tensor) {
  const int64_t rows = tensor.dim(0), columns = tensor.dim(1);
  Tensor turned(DType::kF32, {columns, rows});
  const float* from = tensor.floats().data();
  float* to = turned.mutable_floats().data();
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  }
  return turned;
}

absl::StatusOr<PackedMatrix> RoundedToNearest(const Entry& entry, WeightSource* source) {
  ISTHMUS_ASSIGN_OR_RETURN(const Tensor stored, source->Load(entry.info.name));
  ISTHMUS_ASSIGN_OR_RETURN(Tensor values, ToF32(stored));
  if (entry.transposed) values = Transposed(values);
  absl::StatusOr<PackedMatrix> packed =
      PackedMatrix::Pack(values.floats(), entry.out(), entry.in(), entry.spec);
  DoneReading(stored.bytes());
  return packed;
}

absl::StatusOr<Tensor> PackTensor(const Entry& entry, const BlockRounding& rounding,
                                  WeightSource* source) {
  if (!entry.packed) return source->Load(entry.info.name);
  absl::StatusOr<PackedMatrix> packed =
      rounding != nullptr && !entry.outer ? rounding(entry.info) : RoundedToNearest(entry, source);
  if (!packed.ok()) return Annotate(packed.status(), entry.info.name);
  const auto owner = std::make_shared<PackedMatrix>(*std::move(packed));
  const absl::Span<const uint8_t> bytes = owner->bytes();
  return Tensor::View(DType::kU8, {static_cast<int64_t>(bytes.size())}, bytes.data(), owner);
}

absl::Status WritePacked(ModelDirectory* model, const WeightFormatSpec& spec,
                         const BlockRounding& rounding, const std::string& path) {
  const std::vector<Entry> entries = Entries(model->config(), spec);
  std::vector<TensorHeader> headers;
  std::map<std::string, std::string> metadata = {{"format", kFormat}};
  for (const Entry& entry : entries) {
    if (entry.packed) {
      ISTHMUS_ASSIGN_OR_RETURN(const int64_t bytes,
                               PackedMatrix::PackedBytes(entry.out(), entry.in(), entry.spec));
      headers.push_back({entry.info.name, DType::kU8, {bytes}});
      metadata[entry.info.name] =
          absl::StrCat(WeightFormatText(entry.spec), " ", entry.out(), " ", entry.in());
    } else {
      ISTHMUS_ASSIGN_OR_RETURN(const Tensor tensor, model->Load(entry.info.name));
      headers.push_back({entry.info.name, tensor.dtype(), tensor.shape()});
    }
  }
  const auto load = [&](size_t i) { return PackTensor(entries[i], rounding, model); };
  return WriteSafetensors(path, headers, load, metadata);
}

// "int4g64 2048 2048" and the bytes.
absl::StatusOr<PackedMatrix> ParseMatrix(const Tensor& tensor, const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  int64_t out = 0, in = 0;
  if (words.size() != 3 || !absl::SimpleAtoi(words[1], &out) || !absl::SimpleAtoi(words[2], &in)) {
    return InvalidArgument("expected 'FORMAT OUT IN', got '", text, "'");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const WeightFormatSpec spec, ParseWeightFormat(words[0]));
  if (tensor.dtype() != DType::kU8) {
    return InvalidArgument("expected U8 bytes of a packed matrix, got ", Name(tensor.dtype()));
  }
  return PackedMatrix::View(tensor.bytes(), out, in, spec, tensor.owner());
}

std::string MatrixText(const WeightFormatSpec& spec, int64_t out, int64_t in) {
  return absl::StrCat(WeightFormatText(spec), " ", out, " ", in);
}

// Every floating type will do.
std::string TensorText(const Tensor& tensor) {
  const DType dtype = tensor.dtype();
  const bool floating = dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
  return absl::StrCat(floating ? "floats " : "integers ", ToString(tensor.shape()));
}

absl::Status CheckTensor(const PackedTensors& contents, const Entry& entry,
                         const std::string& where) {
  const std::string& name = entry.info.name;
  const std::string expected = entry.packed ? MatrixText(entry.spec, entry.out(), entry.in())
                                            : absl::StrCat("floats ", ToString(entry.info.shape));
  std::string got = "nothing";
  if (const auto matrix = contents.matrices.find(name); matrix != contents.matrices.end()) {
    const PackedMatrix& held = matrix->second;
    got = MatrixText(held.spec(), held.out(), held.in());
  } else if (const auto tensor = contents.tensors.find(name); tensor != contents.tensors.end()) {
    got = TensorText(tensor->second);
  }
  if (got == expected) return absl::OkStatus();
  return InvalidArgument(where, ": expected ", expected, " for ", name, ", got ", got);
}

// That of the first block's first matrix; CheckTensor holds the others against it.
absl::StatusOr<WeightFormatSpec> FormatOf(const PackedTensors& contents, const ModelConfig& config,
                                          const std::string& where) {
  const std::string name =
      absl::StrCat(BlockPrefix(config, 0), BlockLinears(config).front().module, ".weight");
  const auto matrix = contents.matrices.find(name);
  if (matrix != contents.matrices.end()) return matrix->second.spec();
  return InvalidArgument(where, ": expected a packed matrix ", name, ", got none");
}

// The tensors as they lie in the file.
class StoredTensors : public WeightSource {
 public:
  explicit StoredTensors(const PackedTensors& contents) : contents_(contents) {}
  absl::StatusOr<Tensor> Load(const std::string& name) override {
    const auto matrix = contents_.matrices.find(name);
    if (matrix == contents_.matrices.end()) return contents_.tensors.at(name);
    const absl::Span<const uint8_t> bytes = matrix->second.bytes();
    return Tensor::View(DType::kU8, {static_cast<int64_t>(bytes.size())}, bytes.data(),
                        std::make_shared<PackedMatrix>(matrix->second));
  }

 private:
  const PackedTensors& contents_;
};

}  // namespace

absl::StatusOr<PackedTensors> ParsePackedTensors(const Safetensors& file,
                                                 const std::string& where) {
  const auto& metadata = file.metadata();
  const auto format = metadata.find("format");
  if (format == metadata.end() || format->second != kFormat) {
    return InvalidArgument(where, ": expected the format ", kFormat, ", got ",
                           format == metadata.end() ? "none" : format->second);
  }
  PackedTensors contents;
  for (const auto& [name, tensor] : file.tensors()) {
    const auto text = metadata.find(name);
    if (text == metadata.end() || name == "format") {
      contents.tensors[name] = tensor;
      continue;
    }
    absl::StatusOr<PackedMatrix> matrix = ParseMatrix(tensor, text->second);
    if (!matrix.ok()) return Annotate(matrix.status(), absl::StrCat(where, ": ", name));
    contents.matrices[name] = *std::move(matrix);
  }
  return contents;
}

WeightFormatSpec OuterFormat(const WeightFormatSpec& format) {
  return CodeBits(format.format) >= 16 ? format : WeightFormatSpec{WeightFormat::kInt8, 0};
}

bool PackedModel::IsPacked(const std::string& directory) {
  std::error_code error;
  return std::filesystem::exists(FileIn(directory), error);
}

absl::StatusOr<std::unique_ptr<PackedModel>> PackedModel::Open(const std::string& directory) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto plain, ModelDirectory::Open(directory, /*weights=*/false));
  const std::string path = FileIn(directory);
  ISTHMUS_ASSIGN_OR_RETURN(const auto file, Safetensors::Open(path));
  ISTHMUS_ASSIGN_OR_RETURN(PackedTensors contents, ParsePackedTensors(*file, path));
  ISTHMUS_ASSIGN_OR_RETURN(const WeightFormatSpec format,
                           FormatOf(contents, plain->config(), path));
  for (const Entry& entry : Entries(plain->config(), format)) {
    ISTHMUS_RETURN_IF_ERROR(CheckTensor(contents, entry, path));
  }
  return std::unique_ptr<PackedModel>(
      new PackedModel(directory, plain->config(), format, std::move(contents)));
}

absl::StatusOr<std::string> PackedModel::ContentId() {
  if (content_id_.empty()) {
    StoredTensors stored(contents_);
    ISTHMUS_ASSIGN_OR_RETURN(content_id_, ComputeContentId(config_, &stored));
  }
  return content_id_;
}

const PackedMatrix* PackedModel::Find(const std::string& name) const {
  const auto it = contents_.matrices.find(name);
  return it == contents_.matrices.end() ? nullptr : &it->second;
}

absl::StatusOr<Tensor> PackedModel::Load(const std::string& name) {
  const auto plain = contents_.tensors.find(name);
  if (plain != contents_.tensors.end()) return plain->second;
  const PackedMatrix* matrix = Find(name);
  if (matrix == nullptr) return NotFound("packed model: expected a tensor, got ", name);
  Tensor values(DType::kF32, {matrix->out(), matrix->in()});
  matrix->Dequantize(0, matrix->out(), values.mutable_floats().data());
  for (const Entry& entry : Entries(config_, {})) {
    if (entry.info.name == name && entry.transposed) return Transposed(values);
  }
  return values;
}

absl::Status QuantizeModel(const std::string& from, const std::string& out,
                           const WeightFormatSpec& spec, const BlockRounding& rounding) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto model, ModelDirectory::Open(from));
  return BuildModelFolder(from, out, [&](const std::string& folder) {
    return WritePacked(model.get(), spec, rounding, FileIn(folder));
  });
}

}  // namespace isthmus
