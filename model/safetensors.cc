#include "model/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/bytes.h"
#include "base/done_reading.h"
#include "base/file.h"
#include "base/status.h"
#include "model/config_fields.h"

namespace isthmus {
namespace {

//   0        8                        8 + N                    end of file
//   +--------+------------------------+-------------------------+
//   | N, u64 | JSON header, N bytes   | tensor bytes, no gaps   |
//   +--------+------------------------+-------------------------+
// Offsets in the header count from 8 + N.

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own reader
constexpr size_t kMaxDimensions = 16;

struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// A name from outside in a message: printable and short.
std::string Quoted(const std::string& name) {
  return absl::StrCat("tensor \"", absl::CHexEscape(name.substr(0, 120)), "\"");
}

std::optional<DType> ParseDType(const std::string& name) {
  if (name == "BOOL") return DType::kU8;
  for (DType d : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kI64, DType::kU8,
                  DType::kF64}) {
    if (Name(d) == name) return d;
  }
  return std::nullopt;
}

std::optional<uint64_t> AsSize(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const uint64_t size = value.get<uint64_t>();
  if (size > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return size;
}

absl::Status ParseShape(const nlohmann::json& value, Entry* entry) {
  const bool is_list = value.is_array() && value.size() <= kMaxDimensions;
  for (size_t i = 0; is_list && i < value.size(); ++i) {
    const std::optional<uint64_t> size = AsSize(value[i]);
    if (!size.has_value()) break;
    entry->shape.push_back(static_cast<int64_t>(*size));
  }
  if (!is_list || entry->shape.size() != value.size()) {
    return InvalidArgument(Quoted(entry->name), ": expected a shape of up to ", kMaxDimensions,
                           " sizes, got ", Excerpt(value));
  }
  return absl::OkStatus();
}

// Bytes that dtype and shape ask for; nothing when the product does not fit in 63 bits.
std::optional<uint64_t> SizeInBytes(const Entry& entry) {
  int64_t bytes = SizeOf(entry.dtype);
  for (int64_t size : entry.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return static_cast<uint64_t>(bytes);
}

absl::Status ParseOffsets(const nlohmann::json& value, uint64_t buffer_bytes, Entry* entry) {
  std::optional<uint64_t> begin, end;
  if (value.is_array() && value.size() == 2) {
    begin = AsSize(value[0]);
    end = AsSize(value[1]);
  }
  if (!begin.has_value() || !end.has_value() || *begin > *end || *end > buffer_bytes) {
    return InvalidArgument(Quoted(entry->name), ": expected data_offsets within ", buffer_bytes,
                           " bytes, got ", Excerpt(value));
  }
  entry->begin = *begin;
  entry->end = *end;
  const std::optional<uint64_t> bytes = SizeInBytes(*entry);
  if (!bytes.has_value() || *bytes != *end - *begin) {
    return InvalidArgument(
        Quoted(entry->name), ": expected ", bytes.has_value() ? absl::StrCat(*bytes) : "too many",
        " bytes for ", Name(entry->dtype), " ", ToString(entry->shape), ", got ", *end - *begin);
  }
  return absl::OkStatus();
}

absl::StatusOr<Entry> ParseEntry(const std::string& name, const nlohmann::json& value,
                                 uint64_t buffer_bytes) {
  Entry entry;
  entry.name = name;
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    return InvalidArgument(Quoted(name), ": expected dtype, shape and data_offsets, got ",
                           Excerpt(value));
  }
  const nlohmann::json& dtype_name = value["dtype"];
  std::optional<DType> dtype;
  if (dtype_name.is_string()) dtype = ParseDType(dtype_name.get_ref<const std::string&>());
  if (!dtype.has_value()) {
    return InvalidArgument(Quoted(name),
                           ": expected dtype F32, F16, BF16, F64, I32, I64, U8 or BOOL, got ",
                           Excerpt(dtype_name));
  }
  entry.dtype = *dtype;
  ISTHMUS_RETURN_IF_ERROR(ParseShape(value["shape"], &entry));
  ISTHMUS_RETURN_IF_ERROR(ParseOffsets(value["data_offsets"], buffer_bytes, &entry));
  return entry;
}

absl::Status ParseMetadata(const nlohmann::json& value,
                           std::map<std::string, std::string>* metadata) {
  bool good = value.is_object();
  if (good) {
    for (const auto& [key, text] : value.items()) {
      good = good && text.is_string();
      if (good) (*metadata)[key] = text.get<std::string>();
    }
  }
  if (good) return absl::OkStatus();
  return InvalidArgument("__metadata__: expected an object of strings, got ", Excerpt(value));
}

// Tensors must follow each other without overlap or gap and end with the file.
absl::Status CheckLayout(std::vector<Entry>* entries, uint64_t buffer_bytes) {
  std::sort(entries->begin(), entries->end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (const Entry& entry : *entries) {
    if (entry.begin != at) {
      return InvalidArgument(Quoted(entry.name), ": expected to begin at byte ", at, ", got ",
                             entry.begin, entry.begin < at ? " (overlap)" : " (gap)");
    }
    at = entry.end;
  }
  if (at != buffer_bytes) {
    return InvalidArgument("tensor bytes: expected ", at, ", got ", buffer_bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::json> ParseHeader(absl::Span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  const absl::StatusOr<uint64_t> length = reader.Get<uint64_t>();
  if (!length.ok()) {
    return InvalidArgument("header length: expected 8 bytes, got ", bytes.size());
  }
  if (*length > kMaxHeaderBytes || *length > reader.remaining()) {
    return InvalidArgument("header length: expected at most ",
                           std::min<uint64_t>(kMaxHeaderBytes, reader.remaining()), ", got ",
                           *length);
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data() + 8);
  if (*length == 0 || text[0] != '{') {
    return InvalidArgument("header: expected a JSON object, got something else");
  }
  nlohmann::json header = nlohmann::json::parse(text, text + *length, nullptr, false);
  if (!header.is_object()) {
    return InvalidArgument("header: expected a JSON object, got text that does not parse");
  }
  return header;
}

Tensor MakeView(const Entry& entry, const uint8_t* data, const std::shared_ptr<const void>& owner) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  if (address % static_cast<uintptr_t>(SizeOf(entry.dtype)) == 0) {
    return Tensor::View(entry.dtype, entry.shape, data, owner);
  }
  Tensor copy(entry.dtype, entry.shape);
  std::memcpy(copy.mutable_data(), data, entry.end - entry.begin);
  return copy;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Safetensors>> Safetensors::Parse(
    absl::Span<const uint8_t> bytes, std::shared_ptr<const void> owner, const std::string& where) {
  const auto at_file = [&](const absl::Status& status) {
    return InvalidArgument(status.message(), " (", where, ")");
  };
  const absl::StatusOr<nlohmann::json> header = ParseHeader(bytes);
  if (!header.ok()) return at_file(header.status());
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const absl::Span<const uint8_t> buffer = bytes.subspan(8 + header_bytes);

  auto file = std::make_shared<Safetensors>();
  std::vector<Entry> entries;
  for (const auto& [name, value] : header->items()) {
    if (name == "__metadata__") {
      const absl::Status status = ParseMetadata(value, &file->metadata_);
      if (!status.ok()) return at_file(status);
      continue;
    }
    absl::StatusOr<Entry> entry = ParseEntry(name, value, buffer.size());
    if (!entry.ok()) return at_file(entry.status());
    entries.push_back(*std::move(entry));
  }
  const absl::Status layout = CheckLayout(&entries, buffer.size());
  if (!layout.ok()) return at_file(layout);
  for (const Entry& entry : entries) {
    file->tensors_[entry.name] = MakeView(entry, buffer.data() + entry.begin, owner);
  }
  return std::shared_ptr<const Safetensors>(std::move(file));
}

absl::StatusOr<std::shared_ptr<const Safetensors>> Safetensors::Open(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> map, MappedFile::Open(path));
  return Parse(map->bytes(), map, path);
}

namespace {

std::string MakeHeader(absl::Span<const TensorHeader> headers,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  int64_t at = 0;
  for (const TensorHeader& header : headers) {
    int64_t bytes = SizeOf(header.dtype);
    for (int64_t size : header.shape) bytes *= size;
    json[header.name] = {{"dtype", std::string(Name(header.dtype))},
                         {"shape", header.shape},
                         {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  // The tensors begin at a multiple of 64 bytes of the file.
  text.append((64 - (8 + text.size()) % 64) % 64, ' ');
  return text;
}

// A file that takes its name only when all of it is on the disk.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path)
      : path_(path), temporary_(absl::StrCat(path, ".tmp.", ::getpid())) {
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  }
  ~AtomicFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  absl::Status Append(const void* data, size_t size) {
    if (fd_ < 0) return Failed();
    const char* at = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t n = ::write(fd_, at, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Failed();
      at += n;
      size -= static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  absl::Status Commit() {
    if (fd_ < 0 || ::fsync(fd_) != 0) return Failed();
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) return Failed();
    ::close(fd_);
    fd_ = -1;
    return absl::OkStatus();
  }

 private:
  absl::Status Failed() const {
    const int error = errno;
    const std::string text =
        absl::StrCat(path_, ": expected to write the file, got ", std::strerror(error));
    if (error == ENOENT) return absl::NotFoundError(text);
    if (error == ENOSPC) return absl::ResourceExhaustedError(text);
    return absl::FailedPreconditionError(text);
  }

  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace

absl::Status WriteSafetensors(const std::string& path, absl::Span<const TensorHeader> headers,
                              absl::FunctionRef<absl::StatusOr<Tensor>(size_t)> load,
                              const std::map<std::string, std::string>& metadata) {
  AtomicFile file(path);
  const std::string header = MakeHeader(headers, metadata);
  const uint64_t length = header.size();
  ISTHMUS_RETURN_IF_ERROR(file.Append(&length, sizeof(length)));
  ISTHMUS_RETURN_IF_ERROR(file.Append(header.data(), header.size()));
  for (size_t i = 0; i < headers.size(); ++i) {
    ISTHMUS_ASSIGN_OR_RETURN(const Tensor tensor, load(i));
    if (tensor.dtype() != headers[i].dtype || tensor.shape() != headers[i].shape) {
      return Internal(Quoted(headers[i].name), ": expected ", Name(headers[i].dtype), " ",
                      ToString(headers[i].shape), ", got ", Name(tensor.dtype()), " ",
                      ToString(tensor.shape()), " (", path, ")");
    }
    ISTHMUS_RETURN_IF_ERROR(file.Append(tensor.data(), static_cast<size_t>(tensor.num_bytes())));
    DoneReading(tensor.bytes());
  }
  return file.Commit();
}

TensorStream StreamOf(std::vector<NamedTensor> tensors) {
  TensorStream stream;
  for (const NamedTensor& t : tensors)
    stream.headers.push_back({t.name, t.tensor.dtype(), t.tensor.shape()});
  stream.load = [tensors = std::move(tensors)](size_t i) -> absl::StatusOr<Tensor> {
    return tensors[i].tensor;
  };
  return stream;
}

absl::Status WriteSafetensors(const std::string& path, absl::Span<const NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata) {
  const TensorStream stream = StreamOf({tensors.begin(), tensors.end()});
  return WriteSafetensors(path, stream.headers, stream.load, metadata);
}

}  // namespace isthmus
