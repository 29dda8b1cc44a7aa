#include "client/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/status.h"

namespace isthmus {
namespace {

// Protobuf tags: field number << 3 | wire type (0 varint, 1 eight bytes, 2 bytes, 5 four bytes).
constexpr uint64_t kEventWallTime = 1 << 3 | 1;
constexpr uint64_t kEventStep = 2 << 3 | 0;
constexpr uint64_t kEventFileVersion = 3 << 3 | 2;
constexpr uint64_t kEventSummary = 5 << 3 | 2;
constexpr uint64_t kSummaryValue = 1 << 3 | 2;
constexpr uint64_t kValueTag = 1 << 3 | 2;
constexpr uint64_t kValueSimple = 2 << 3 | 5;

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void PutMessage(uint64_t tag, const Bytes& message, Bytes* out) {
  ByteWriter writer(out);
  writer.PutVarint(tag);
  writer.PutVarint(message.size());
  writer.PutBytes(message);
}

Bytes EventHead(int64_t step) {
  Bytes event;
  ByteWriter writer(&event);
  writer.PutVarint(kEventWallTime);
  writer.Put<double>(static_cast<double>(Clock::Real()->UnixUs()) * 1e-6);
  writer.PutVarint(kEventStep);
  writer.PutVarint(static_cast<uint64_t>(step));
  return event;
}

Bytes FileVersionEvent() {
  Bytes event = EventHead(0);
  ByteWriter writer(&event);
  writer.PutVarint(kEventFileVersion);
  writer.PutString("brain.Event:2");
  return event;
}

Bytes ScalarsEvent(int64_t step, absl::Span<const Scalar> scalars) {
  Bytes summary;
  for (const Scalar& scalar : scalars) {
    Bytes value;
    ByteWriter writer(&value);
    writer.PutVarint(kValueTag);
    writer.PutString(scalar.tag);
    writer.PutVarint(kValueSimple);
    writer.Put<float>(static_cast<float>(scalar.value));
    PutMessage(kSummaryValue, value, &summary);
  }
  Bytes event = EventHead(step);
  PutMessage(kEventSummary, summary, &event);
  return event;
}

// The step of an event that this writer made: wall time, then step.
absl::StatusOr<int64_t> StepOf(absl::Span<const uint8_t> event) {
  ByteReader reader(event);
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t first, reader.GetVarint());
  ISTHMUS_RETURN_IF_ERROR(reader.Get<double>().status());
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t second, reader.GetVarint());
  if (first != kEventWallTime || second != kEventStep) {
    return InvalidArgument("event: expected wall time and step, got other fields");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const uint64_t step, reader.GetVarint());
  return static_cast<int64_t>(step);
}

// The next whole record with right checksums, or an error at a torn or damaged one.
absl::StatusOr<absl::Span<const uint8_t>> NextRecord(ByteReader* reader) {
  ISTHMUS_ASSIGN_OR_RETURN(const auto head, reader->GetBytes(8));
  ISTHMUS_ASSIGN_OR_RETURN(const uint32_t head_crc, reader->Get<uint32_t>());
  if (head_crc != MaskedCrc32c(head)) return DataLoss("event record: the length is damaged");
  uint64_t length;
  std::memcpy(&length, head.data(), sizeof(length));
  ISTHMUS_ASSIGN_OR_RETURN(const auto event, reader->GetBytes(length));
  ISTHMUS_ASSIGN_OR_RETURN(const uint32_t crc, reader->Get<uint32_t>());
  if (crc != MaskedCrc32c(event)) return DataLoss("event record: the bytes are damaged");
  return event;
}

// Event files of the folder, oldest first: their names begin with the second they were made in.
std::vector<std::string> EventFiles(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, TensorboardWriter::kPrefix)) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

absl::Status WriteAll(int fd, const Bytes& bytes, const std::string& path) {
  const ssize_t n = ::write(fd, bytes.data(), bytes.size());
  if (n == static_cast<ssize_t>(bytes.size())) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(path, ": expected to write ", bytes.size(), " bytes, got ",
                   n < 0 ? std::strerror(errno) : absl::StrCat(n, " bytes written")));
}

std::string NewName() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof(host) - 1);
  return absl::StrFormat("%s%010d.%s.%d.0", TensorboardWriter::kPrefix,
                         Clock::Real()->UnixUs() / 1'000'000, host, ::getpid());
}

absl::Status DropAfterIn(const std::string& path, int64_t step) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ByteReader reader(AsBytes(text));
  Bytes kept;
  while (reader.remaining() > 0) {
    const auto event = NextRecord(&reader);
    if (!event.ok()) break;  // what follows a damaged record cannot be found
    const auto at = StepOf(*event);
    if (at.ok() && *at <= step) AppendRecord(*event, &kept);
  }
  return WriteFileAtomic(
      path, absl::string_view(reinterpret_cast<const char*>(kept.data()), kept.size()));
}

}  // namespace

uint32_t MaskedCrc32c(absl::Span<const uint8_t> bytes) {
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

void AppendRecord(absl::Span<const uint8_t> event, Bytes* out) {
  ByteWriter writer(out);
  Bytes head;
  ByteWriter(&head).Put<uint64_t>(event.size());
  writer.PutBytes(head);
  writer.Put<uint32_t>(MaskedCrc32c(head));
  writer.PutBytes(event);
  writer.Put<uint32_t>(MaskedCrc32c(event));
}

absl::StatusOr<std::unique_ptr<TensorboardWriter>> TensorboardWriter::Open(
    const std::string& folder) {
  const std::vector<std::string> earlier = EventFiles(folder);
  const std::string path = earlier.empty() ? absl::StrCat(folder, "/", NewName()) : earlier.back();
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected to write the file, got ", std::strerror(errno)));
  }
  std::unique_ptr<TensorboardWriter> writer(new TensorboardWriter(path, fd));
  if (::lseek(fd, 0, SEEK_END) == 0) {
    Bytes record;
    AppendRecord(FileVersionEvent(), &record);
    ISTHMUS_RETURN_IF_ERROR(WriteAll(fd, record, path));
  }
  return writer;
}

TensorboardWriter::~TensorboardWriter() { ::close(fd_); }

absl::Status TensorboardWriter::Append(int64_t step, absl::Span<const Scalar> scalars) {
  Bytes record;
  AppendRecord(ScalarsEvent(step, scalars), &record);
  return WriteAll(fd_, record, path_);
}

absl::Status TensorboardWriter::DropAfter(const std::string& folder, int64_t step) {
  for (const std::string& path : EventFiles(folder)) {
    ISTHMUS_RETURN_IF_ERROR(DropAfterIn(path, step));
  }
  return absl::OkStatus();
}

}  // namespace isthmus
