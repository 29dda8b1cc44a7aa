#include "client/run_output.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "base/file.h"
#include "base/status.h"
#include "client/tensorboard.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr char kJob[] = "job.json";
constexpr char kSteps[] = "steps.jsonl";
constexpr char kReport[] = "report.json";
constexpr char kCheckpoints[] = "checkpoints";
constexpr char kLogs[] = "logs";

// Everything a run makes, apart from event files. One of the first four says that a run was here.
constexpr std::array<const char*, 8> kOwnNames = {
    kJob, kSteps, kReport, kCheckpoints, "adapter", kLogs, "model.safetensors", "state"};

bool HoldsRun(const std::string& folder) {
  std::error_code error;
  for (size_t i = 0; i < 4; ++i) {
    if (fs::exists(fs::path(folder) / kOwnNames[i], error)) return true;
  }
  return false;
}

absl::Status RemoveRun(const std::string& folder) {
  std::error_code error;
  for (const char* name : kOwnNames) {
    fs::remove_all(fs::path(folder) / name, error);
    if (error) {
      return absl::FailedPreconditionError(absl::StrCat(
          folder, "/", name, ": expected to remove an earlier run's, got ", error.message()));
    }
  }
  std::vector<fs::path> events;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (absl::StartsWith(entry.path().filename().string(), TensorboardWriter::kPrefix)) {
      events.push_back(entry.path());
    }
  }
  for (const fs::path& path : events) fs::remove(path, error);
  return absl::OkStatus();
}

// The lock is on the folder itself and leaves nothing behind; the kernel frees it with the process.
absl::StatusOr<int> LockFolder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(folder, ": expected to open the folder, got ", std::strerror(errno)));
  }
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  ::close(fd);
  return InvalidArgument(folder, ": expected a folder that no run writes now, got a running one");
}

// Of a line of steps.jsonl, without its newline; -1 for a torn one.
int64_t StepOfLine(absl::string_view line) {
  const Json json = Json::parse(line.begin(), line.end(), nullptr, false);
  if (!json.is_object()) return -1;
  const auto step = json.find("step");
  return step != json.end() && step->is_number_integer() ? step->get<int64_t>() : -1;
}

// The lines up to `step`, byte for byte; a line without its newline was torn.
std::string LinesUpTo(absl::string_view text, int64_t step) {
  std::string kept;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == absl::string_view::npos) break;
    const int64_t at = StepOfLine(text.substr(0, end));
    if (at >= 1 && at <= step) kept.append(text.data(), end + 1);
    text.remove_prefix(end + 1);
  }
  return kept;
}

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace

std::string StepRecord::ToJson() const {
  const Json json = {{"step", step},
                     {"loss", Number(loss)},
                     {"lr", Number(lr)},
                     {"grad_norm", Number(grad_norm)},
                     {"clipped", clipped},
                     {"tokens", tokens},
                     {"tokens_per_s", Number(tokens_per_s)},
                     {"wire_bytes", wire_bytes},
                     {"bits_per_element_forward", Number(bits_per_element_forward)},
                     {"bits_per_element_backward", Number(bits_per_element_backward)}};
  return json.dump();
}

absl::Status RunOutput::Check(const std::string& folder, OutputMode mode) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error)) {
    return InvalidArgument("output: expected a folder, got a file (", folder, ")");
  }
  if (mode == OutputMode::kNew && HoldsRun(folder)) {
    return InvalidArgument(
        "output: expected a folder without a run, or --resume or --overwrite, "
        "got one that holds an earlier run (",
        folder, ")");
  }
  // A model's or an adapter's own folder is not ours to write over.
  for (const char* name : {"model.safetensors", "adapter"}) {
    if (!HoldsRun(folder) && fs::exists(fs::path(folder) / name, error)) {
      return InvalidArgument("output: expected a folder of its own, got one that holds ", name,
                             " (", folder, ")");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> RunOutput::EarlierJob(const std::string& folder) {
  auto text = ReadFile(absl::StrCat(folder, "/", kJob), int64_t{16} << 20);
  if (absl::IsNotFound(text.status())) return std::optional<std::string>();
  ISTHMUS_RETURN_IF_ERROR(text.status());
  return std::optional<std::string>(*std::move(text));
}

absl::StatusOr<std::optional<Report>> RunOutput::CompletedReport(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kReport);
  const auto text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::optional<Report>();
  ISTHMUS_RETURN_IF_ERROR(text.status());
  auto report = Report::Parse(*text);
  if (!report.ok()) return Annotate(report.status(), path);
  if (report->outcome != Report::Outcome::kCompleted) return std::optional<Report>();
  return std::optional<Report>(*std::move(report));
}

bool RunOutput::HoldsCheckpoint(const std::string& folder) {
  return !CheckpointFolder(absl::StrCat(folder, "/", kCheckpoints)).Steps().empty();
}

absl::StatusOr<std::unique_ptr<RunOutput>> RunOutput::Open(const std::string& folder,
                                                           OutputMode mode,
                                                           const std::string& job_json) {
  const std::string path = fs::absolute(folder).lexically_normal().string();
  ISTHMUS_RETURN_IF_ERROR(Check(path, mode));
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(path));
  ISTHMUS_ASSIGN_OR_RETURN(const int lock, LockFolder(path));
  std::unique_ptr<RunOutput> output(new RunOutput(path, lock));
  if (mode == OutputMode::kOverwrite && HoldsRun(path)) ISTHMUS_RETURN_IF_ERROR(RemoveRun(path));
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(output->Path(kJob), absl::StrCat(job_json, "\n")));
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(output->Path(kLogs)));
  ISTHMUS_RETURN_IF_ERROR(output->OpenFiles());
  return output;
}

RunOutput::RunOutput(std::string folder, int lock_fd)
    : folder_(std::move(folder)),
      lock_fd_(lock_fd),
      checkpoints_(absl::StrCat(folder_, "/", kCheckpoints)) {}

RunOutput::~RunOutput() {
  if (steps_fd_ >= 0) ::close(steps_fd_);
  ::close(lock_fd_);
}

absl::Status RunOutput::OpenFiles() {
  const std::string path = Path(kSteps);
  steps_fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (steps_fd_ < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected to write the file, got ", std::strerror(errno)));
  }
  ISTHMUS_ASSIGN_OR_RETURN(tensorboard_, TensorboardWriter::Open(folder_));
  return absl::OkStatus();
}

std::string RunOutput::Path(const std::string& name) const {
  return absl::StrCat(folder_, "/", name);
}

std::string RunOutput::LogPath(const std::string& process) const {
  return absl::StrCat(folder_, "/", kLogs, "/", process, ".log");
}

absl::Status RunOutput::ResumeAt(int64_t step) {
  ::close(steps_fd_);
  steps_fd_ = -1;
  tensorboard_.reset();
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(Path(kSteps)));
  const std::string kept = LinesUpTo(text, step);
  if (kept != text) ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(Path(kSteps), kept));
  ISTHMUS_RETURN_IF_ERROR(TensorboardWriter::DropAfter(folder_, step));
  ISTHMUS_RETURN_IF_ERROR(checkpoints_.DropAfter(step));
  std::error_code error;
  fs::remove(Path(kReport), error);
  return OpenFiles();
}

absl::Status RunOutput::AppendStep(const StepRecord& record) {
  const std::string line = absl::StrCat(record.ToJson(), "\n");
  const ssize_t n = ::write(steps_fd_, line.data(), line.size());
  if (n != static_cast<ssize_t>(line.size())) {
    return ResourceExhausted(Path(kSteps), ": expected to write a line, got ",
                             n < 0 ? std::strerror(errno) : "a full disk");
  }
  const std::array<Scalar, 7> scalars = {
      {{"loss/train", record.loss},
       {"lr", record.lr},
       {"grad_norm", record.grad_norm},
       {"tokens_per_s", record.tokens_per_s},
       {"wire/bytes", static_cast<double>(record.wire_bytes)},
       {"wire/bits_per_element_forward", record.bits_per_element_forward},
       {"wire/bits_per_element_backward", record.bits_per_element_backward}}};
  return tensorboard_->Append(record.step, scalars);
}

absl::Status RunOutput::AppendEval(int64_t step, double loss) {
  const Scalar scalar{"loss/eval", loss};
  return tensorboard_->Append(step, {&scalar, 1});
}

absl::Status RunOutput::Sync() {
  if (::fsync(steps_fd_) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(Path(kSteps), ": expected to sync the file, got ", std::strerror(errno)));
}

absl::Status RunOutput::WriteReport(const Report& report) {
  return WriteFileAtomic(Path(kReport), report.ToJson());
}

}  // namespace isthmus
