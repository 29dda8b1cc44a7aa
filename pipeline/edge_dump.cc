#include "pipeline/edge_dump.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "model/npy.h"

namespace isthmus {
namespace {

constexpr char kWhat[] = "--dump-edges";

std::string IndexLine(const std::string& file, const std::string& row_ids, const EdgeShape& shape,
                      const MicroBatch& mb, const Tensor& x_TD) {
  return absl::StrCat(
      "{\"file\":\"", file, "\",\"edge\":", shape.edge, ",\"direction\":\"", Name(shape.direction),
      "\",\"step\":", mb.step, ",\"micro_batch\":", mb.index, ",\"shape\":[",
      absl::StrJoin(x_TD.shape(), ","), "],\"samples\":[", absl::StrJoin(mb.samples, ","),
      "],\"lengths\":[", absl::StrJoin(mb.lengths, ","),
      "],\"row_ids\":", row_ids.empty() ? "null" : absl::StrCat("\"", row_ids, "\""),
      ",\"row_ids_shared\":", shape.shared_row_ids ? "true" : "false", "}\n");
}

}  // namespace

absl::Status EdgeDump::Check(const EdgeDumpOptions& options) {
  if (options.directory.empty()) return absl::OkStatus();
  std::error_code error;
  if (std::filesystem::exists(options.directory, error) &&
      !std::filesystem::is_empty(options.directory, error)) {
    return InvalidArgument(kWhat, ": expected a new or empty folder, got ",
                           error ? error.message() : "one with files", " (", options.directory,
                           ")");
  }
  return absl::OkStatus();
}

absl::Status EdgeDump::Prepare(const EdgeDumpOptions& options) {
  ISTHMUS_RETURN_IF_ERROR(Check(options));
  if (options.directory.empty()) return absl::OkStatus();
  return Annotate(MakeDirectories(options.directory), kWhat);
}

absl::Status EdgeDump::Keep(const EdgeShape& shape, const MicroBatch& mb, const Tensor& x_TD,
                            absl::Span<const uint32_t> row_ids) {
  if (!first_step_.has_value()) first_step_ = mb.step;
  if (mb.step >= *first_step_ + static_cast<uint64_t>(options_.steps)) return absl::OkStatus();
  const std::string name = absl::StrFormat("edge%d_%s_step%06d_mb%02d", shape.edge,
                                           Name(shape.direction), mb.step, mb.index);
  const std::string path = absl::StrCat(options_.directory, "/", name);
  ISTHMUS_RETURN_IF_ERROR(Annotate(WriteNpy(path + ".npy", x_TD), kWhat));
  std::string ids_file;
  if (!row_ids.empty()) {
    const Tensor ids =
        Tensor::View(DType::kI32, {static_cast<int64_t>(row_ids.size())}, row_ids.data(), nullptr);
    ISTHMUS_RETURN_IF_ERROR(Annotate(WriteNpy(path + "_row_ids.npy", ids), kWhat));
    ids_file = name + "_row_ids.npy";
  }
  return Append(IndexLine(name + ".npy", ids_file, shape, mb, x_TD));
}

// One write at the file's end: lines of several processes do not mix.
absl::Status EdgeDump::Append(const std::string& line) {
  const std::string path = options_.directory + "/index.jsonl";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const ssize_t written = fd < 0 ? -1 : ::write(fd, line.data(), line.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (written == static_cast<ssize_t>(line.size())) return absl::OkStatus();
  return ResourceExhausted(kWhat, ": ", path, ": expected to add a line, got ",
                           written < 0 ? std::strerror(error) : "a part of it written");
}

}  // namespace isthmus
