#include "model/npy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"

// A file of version 1 (version 2 has a u32 length):
//
//   0      6   8        10
//   \x93NUMPY  1 0  u16 header length  "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4),
//   }" spaces and a line feed up to a multiple of 64, then the values
namespace isthmus {
namespace {

constexpr absl::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;
constexpr uint32_t kMaxHeaderBytes = 1 << 16;
constexpr int64_t kMaxElements = int64_t{1} << 32;

absl::Status Not(const std::string& path, absl::string_view expected, absl::string_view got) {
  return InvalidArgument(path, ": expected ", expected, ", got ", got);
}

absl::string_view AsText(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What stands behind 'key': in the header's Python dictionary, up to `end`.
absl::string_view ValueOf(absl::string_view header, absl::string_view key, char end) {
  const size_t at = header.find(absl::StrCat("'", key, "':"));
  if (at == absl::string_view::npos) return {};
  const absl::string_view rest = header.substr(at + key.size() + 3);
  return absl::StripAsciiWhitespace(rest.substr(0, rest.find(end)));
}

absl::StatusOr<absl::string_view> ReadHeader(const std::string& path, ByteReader* reader) {
  const auto magic = reader->GetBytes(kMagic.size());
  if (!magic.ok() || AsText(*magic) != kMagic) return Not(path, "a .npy file", "another");
  const auto major = reader->Get<uint8_t>(), minor = reader->Get<uint8_t>();
  if (!minor.ok() || *major < 1 || *major > 2)
    return Not(path, "a .npy file of version 1 or 2", "another");
  uint32_t size = 0;
  const auto length = reader->GetBytes(*major == 1 ? 2 : 4);
  if (length.ok()) std::memcpy(&size, length->data(), length->size());
  const auto header = reader->GetBytes(size);
  if (!length.ok() || size > kMaxHeaderBytes || !header.ok())
    return Not(path, "a .npy header of at most 64 KiB", "another length or a cut one");
  return AsText(*header);
}

absl::StatusOr<DType> ReadType(const std::string& path, absl::string_view header) {
  const absl::string_view type = ValueOf(header, "descr", ',');
  if (type == "'<f4'") return DType::kF32;
  if (type == "'<i4'") return DType::kI32;
  return Not(path, "'<f4' values", type.empty() ? "none" : absl::CHexEscape(type));
}

// "(12, 64" to dimensions.
absl::StatusOr<Shape> ReadShape(const std::string& path, absl::string_view text) {
  Shape shape;
  int64_t elements = 1;
  if (text.empty() || text[0] != '(') return Not(path, "a shape", "none");
  for (const absl::string_view part : absl::StrSplit(text.substr(1), ',')) {
    int64_t size = 0;
    if (absl::StripAsciiWhitespace(part).empty()) continue;
    if (!absl::SimpleAtoi(part, &size) || size < 1 || size > kMaxElements / elements)
      return Not(path, "dimensions from 1, 2^32 values in all", absl::CHexEscape(part));
    elements *= size;
    shape.push_back(size);
  }
  if (shape.empty()) return Not(path, "at least one dimension", "none");
  return shape;
}

std::string HeaderText(const Tensor& tensor) {
  std::string header = absl::StrCat("{'descr': '", tensor.dtype() == DType::kF32 ? "<f4" : "<i4",
                                    "', 'fortran_order': False, 'shape': (",
                                    absl::StrJoin(tensor.shape(), ", "), ",), }");
  const size_t before = kMagic.size() + 4;
  header.resize((before + header.size() + kAlignment) / kAlignment * kAlignment - before - 1, ' ');
  return header + "\n";
}

absl::Status FromErrno(const std::string& path) {
  const int error = errno;
  const std::string text =
      absl::StrCat(path, ": expected to write the file, got ", std::strerror(error));
  if (error == EEXIST) return absl::AlreadyExistsError(text);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    return absl::ResourceExhaustedError(text);
  return absl::FailedPreconditionError(text);
}

bool WriteAll(int fd, const void* data, size_t size) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

absl::StatusOr<Tensor> ParseNpy(absl::Span<const uint8_t> bytes, std::shared_ptr<const void> owner,
                                const std::string& path) {
  ByteReader reader(bytes);
  absl::StatusOr<absl::string_view> header = ReadHeader(path, &reader);
  if (!header.ok()) return header.status();
  ISTHMUS_ASSIGN_OR_RETURN(const DType dtype, ReadType(path, *header));
  if (ValueOf(*header, "fortran_order", ',') != "False")
    return Not(path, "values in C order", "others");
  ISTHMUS_ASSIGN_OR_RETURN(Shape shape, ReadShape(path, ValueOf(*header, "shape", ')')));
  uint64_t size = static_cast<uint64_t>(SizeOf(dtype));
  for (const int64_t dim : shape) size *= static_cast<uint64_t>(dim);
  if (reader.remaining() != size)
    return Not(path, absl::StrCat(size, " bytes of values behind the header"),
               absl::StrCat(reader.remaining()));
  const uint8_t* values = bytes.data() + reader.position();
  if (reinterpret_cast<uintptr_t>(values) % alignof(float) == 0)
    return Tensor::View(dtype, std::move(shape), values, std::move(owner));
  Tensor copy(dtype, std::move(shape));
  std::memcpy(copy.mutable_data(), values, size);
  return copy;
}

absl::StatusOr<Tensor> ReadNpy(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  return ParseNpy(file->bytes(), file, path);
}

absl::Status WriteNpy(const std::string& path, const Tensor& tensor) {
  ISTHMUS_CHECK(tensor.dtype() == DType::kF32 || tensor.dtype() == DType::kI32);
  const std::string header = HeaderText(tensor);
  Bytes start;
  ByteWriter writer(&start);
  for (const char c : kMagic) writer.Put(c);
  writer.Put<uint16_t>(1);  // version 1.0
  writer.Put(static_cast<uint16_t>(header.size()));
  for (const char c : header) writer.Put(c);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return FromErrno(path);
  absl::Status status;
  if (!WriteAll(fd, start.data(), start.size()) ||
      !WriteAll(fd, tensor.data(), static_cast<size_t>(tensor.num_bytes())))
    status = FromErrno(path);
  if (::close(fd) != 0 && status.ok()) status = FromErrno(path);
  if (!status.ok()) ::unlink(path.c_str());
  return status;
}

}  // namespace isthmus
