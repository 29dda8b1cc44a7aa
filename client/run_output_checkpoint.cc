#include "client/run_output_checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/crc32c.h"
#include "base/done_reading.h"
#include "base/file.h"
#include "base/status.h"
#include "client/report.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr char kManifest[] = "manifest.json";
constexpr char kTrained[] = "trained.safetensors";
constexpr char kOptimizer[] = "optimizer.safetensors";
constexpr char kStepPrefix[] = "step-";
constexpr char kMakingPrefix[] = ".making-";
constexpr char kLeavingPrefix[] = ".leaving-";

uint32_t Crc32cOf(absl::string_view text) {
  return Crc32c({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

// Size and CRC-32C of a file, read in blocks: a checkpoint is several times the size of the model.
struct FileSum {
  int64_t bytes = 0;
  uint32_t crc32c = 0;
};

absl::StatusOr<FileSum> SumOf(const std::string& path) {
  constexpr size_t kBlockBytes = size_t{8} << 20;
  ISTHMUS_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  FileSum sum;
  for (auto rest = file->bytes(); !rest.empty();) {
    const auto block = rest.first(std::min(rest.size(), kBlockBytes));
    sum.crc32c = Crc32c(block, sum.crc32c);
    sum.bytes += static_cast<int64_t>(block.size());
    DoneReading(block);
    rest.remove_prefix(block.size());
  }
  return sum;
}

// Files and folders alike: after it, a crash of the machine keeps them.
absl::Status SyncPath(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (synced) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": expected to sync it, got ", std::strerror(error)));
}

absl::Status Rename(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (!error) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(to, ": expected to rename a checkpoint to it, got ", error.message()));
}

// A folder that goes away loses its final name first: what is half removed is never taken for
// whole.
absl::Status RemoveFolder(const std::string& path) {
  const fs::path leaving = fs::path(path).parent_path() /
                           absl::StrCat(kLeavingPrefix, fs::path(path).filename().string());
  std::error_code error;
  fs::remove_all(leaving, error);
  ISTHMUS_RETURN_IF_ERROR(Rename(path, leaving.string()));
  fs::remove_all(leaving, error);
  if (!error) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": expected to remove the checkpoint, got ", error.message()));
}

// Size and checksum of every file below `directory` but the manifest, synced on the way; paths are
// relative, in name order.
absl::StatusOr<Json> ListFiles(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_directory(error)) {
      ISTHMUS_RETURN_IF_ERROR(SyncPath(it->path().string()));
    } else {
      names.push_back(fs::relative(it->path(), directory, error).string());
    }
  }
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, ": expected to list the folder, got ", error.message()));
  }
  std::sort(names.begin(), names.end());
  Json files = Json::object();
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(directory, "/", name);
    ISTHMUS_ASSIGN_OR_RETURN(const FileSum sum, SumOf(path));
    ISTHMUS_RETURN_IF_ERROR(SyncPath(path));
    files[name] = {{"bytes", sum.bytes}, {"crc32c", sum.crc32c}};
  }
  return files;
}

std::string ManifestText(const Checkpoint& checkpoint, Json files) {
  Json codecs = Json::object();
  for (const auto& [party, hash] : checkpoint.codec_hashes) codecs[absl::StrCat(party)] = hash;
  Json extra = Json::parse(checkpoint.extra_json, nullptr, false);
  Json manifest = {{"format", kFormat},
                   {"isthmus_version", std::string(IsthmusVersion())},
                   {"step", checkpoint.step},
                   {"files", std::move(files)},
                   {"codecs", std::move(codecs)},
                   {"extra", extra.is_object() ? std::move(extra) : Json::object()}};
  // The checksum covers the text without itself.
  manifest["crc32c"] = Crc32cOf(manifest.dump());
  return manifest.dump(1) + "\n";
}

absl::StatusOr<Json> ReadManifest(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kManifest);
  const auto text = ReadFile(path, int64_t{64} << 20);
  if (!text.ok()) return DataLoss(path, ": expected a manifest, got ", text.status().message());
  Json manifest = Json::parse(*text, nullptr, false);
  if (!manifest.is_object()) return DataLoss(path, ": expected a JSON object, got something else");
  const auto crc = manifest.find("crc32c");
  if (crc == manifest.end() || !crc->is_number_unsigned()) {
    return DataLoss(path, ": expected a checksum, got none");
  }
  const uint64_t expected = crc->get<uint64_t>();
  manifest.erase("crc32c");
  const uint32_t got = Crc32cOf(manifest.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (got != expected) return DataLoss(path, ": expected checksum ", expected, ", got ", got);
  const auto format = manifest.find("format");
  if (format == manifest.end() || *format != kFormat) {
    return DataLoss(path, ": expected format ", kFormat, ", got another one");
  }
  return manifest;
}

absl::Status CheckFile(const std::string& path, const Json& entry) {
  const auto sum = SumOf(path);
  if (!sum.ok()) return DataLoss(path, ": expected the file, got ", sum.status().message());
  const int64_t expected = entry.value("bytes", int64_t{-1});
  if (sum->bytes != expected) {
    return DataLoss(path, ": expected ", expected, " bytes, got ", sum->bytes,
                    " (damaged checkpoint)");
  }
  const uint32_t expected_crc = entry.value("crc32c", uint32_t{0});
  if (sum->crc32c != expected_crc) {
    return DataLoss(path, ": expected checksum ", expected_crc, ", got ", sum->crc32c,
                    " (damaged checkpoint)");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NamedTensor>> ReadTensors(const std::string& path) {
  const auto file = Safetensors::Open(path);
  if (!file.ok()) return DataLoss(file.status().message());
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : (*file)->tensors()) tensors.push_back({name, tensor});
  return tensors;
}

absl::Status ReadCodecHashes(const Json& manifest, std::map<uint32_t, std::string>* hashes) {
  const auto codecs = manifest.find("codecs");
  if (codecs == manifest.end() || !codecs->is_object()) {
    return DataLoss("manifest: expected codecs, got none");
  }
  for (const auto& [party, hash] : codecs->items()) {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(party, &number) || !hash.is_string()) {
      return DataLoss("manifest: expected codec hashes by party, got ", party);
    }
    (*hashes)[number] = hash.get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

// --- writing

CheckpointWriter::~CheckpointWriter() {
  std::error_code error;
  if (!committed_) fs::remove_all(making_path_, error);
}

absl::StatusOr<std::string> CheckpointWriter::CodecDirectory(uint32_t party) {
  const std::string path = absl::StrCat(making_path_, "/codecs/party-", party);
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(path));
  return path;
}

absl::Status CheckpointWriter::Commit(const Checkpoint& facts, const TensorStream& trained,
                                      const TensorStream& optimizer) {
  ISTHMUS_RETURN_IF_ERROR(
      WriteSafetensors(absl::StrCat(making_path_, "/", kTrained), trained.headers, trained.load));
  ISTHMUS_RETURN_IF_ERROR(WriteSafetensors(absl::StrCat(making_path_, "/", kOptimizer),
                                           optimizer.headers, optimizer.load));
  ISTHMUS_ASSIGN_OR_RETURN(Json files, ListFiles(making_path_));
  ISTHMUS_RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(making_path_, "/", kManifest),
                                          ManifestText(facts, std::move(files))));
  ISTHMUS_RETURN_IF_ERROR(SyncPath(making_path_));
  std::error_code error;
  if (fs::exists(final_path_, error)) ISTHMUS_RETURN_IF_ERROR(RemoveFolder(final_path_));
  ISTHMUS_RETURN_IF_ERROR(Rename(making_path_, final_path_));
  committed_ = true;
  return SyncPath(fs::path(final_path_).parent_path().string());
}

// --- reading

std::string CodecDirectory(const Checkpoint& checkpoint, uint32_t party) {
  return absl::StrCat(checkpoint.directory, "/codecs/party-", party);
}

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    return NotFound(directory, ": expected a checkpoint, got no folder");
  }
  ISTHMUS_ASSIGN_OR_RETURN(const Json manifest, ReadManifest(directory));
  const auto files = manifest.find("files");
  const auto step = manifest.find("step");
  if (files == manifest.end() || !files->is_object() || step == manifest.end() ||
      !step->is_number_integer()) {
    return DataLoss(directory, ": expected step and files in the manifest, got others");
  }
  for (const auto& [name, entry] : files->items()) {
    if (!entry.is_object()) return DataLoss(directory, ": expected size and checksum of ", name);
    ISTHMUS_RETURN_IF_ERROR(CheckFile(absl::StrCat(directory, "/", name), entry));
  }
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  checkpoint.step = step->get<int64_t>();
  ISTHMUS_ASSIGN_OR_RETURN(checkpoint.trained, ReadTensors(absl::StrCat(directory, "/", kTrained)));
  ISTHMUS_ASSIGN_OR_RETURN(checkpoint.optimizer,
                           ReadTensors(absl::StrCat(directory, "/", kOptimizer)));
  ISTHMUS_RETURN_IF_ERROR(ReadCodecHashes(manifest, &checkpoint.codec_hashes));
  checkpoint.extra_json = manifest.value("extra", Json::object()).dump();
  return checkpoint;
}

// --- the folder

std::string CheckpointFolder::StepPath(int64_t step) const {
  return absl::StrFormat("%s/%s%06d", path_, kStepPrefix, step);
}

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointFolder::BeginNamed(
    const std::string& name) {
  const std::string making = absl::StrCat(path_, "/", kMakingPrefix, name);
  std::error_code error;
  fs::remove_all(making, error);  // of a run that was killed here
  ISTHMUS_RETURN_IF_ERROR(MakeDirectories(making));
  return std::unique_ptr<CheckpointWriter>(
      new CheckpointWriter(absl::StrCat(path_, "/", name), fs::absolute(making).string()));
}

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointFolder::Begin(int64_t step) {
  return BeginNamed(fs::path(StepPath(step)).filename().string());
}

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointFolder::BeginBest() {
  return BeginNamed("best");
}

std::vector<int64_t> CheckpointFolder::Steps() const {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    const std::string name = entry.path().filename().string();
    int64_t step = 0;
    if (absl::StartsWith(name, kStepPrefix) &&
        absl::SimpleAtoi(name.substr(sizeof(kStepPrefix) - 1), &step) && step >= 0) {
      steps.push_back(step);
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

absl::StatusOr<std::optional<Checkpoint>> CheckpointFolder::Newest(
    std::vector<std::string>* warnings) const {
  std::vector<int64_t> steps = Steps();
  absl::Status damage;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    auto checkpoint = ReadCheckpoint(StepPath(*step));
    if (checkpoint.ok()) return std::optional<Checkpoint>(*std::move(checkpoint));
    damage = checkpoint.status();
    warnings->push_back(absl::StrCat("checkpoint of step ", *step,
                                     " is damaged and passed over: ", damage.message()));
  }
  if (damage.ok()) return std::optional<Checkpoint>();
  return DataLoss(path_, ": expected a readable checkpoint, got ", steps.size(),
                  " damaged, the oldest: ", damage.message());
}

absl::Status CheckpointFolder::Prune(int64_t keep) {
  const std::vector<int64_t> steps = Steps();
  const int64_t excess = static_cast<int64_t>(steps.size()) - std::max<int64_t>(keep, 1);
  for (int64_t i = 0; i < excess; ++i) ISTHMUS_RETURN_IF_ERROR(RemoveFolder(StepPath(steps[i])));
  std::error_code error;
  std::vector<fs::path> remains;
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, kMakingPrefix) || absl::StartsWith(name, kLeavingPrefix)) {
      remains.push_back(entry.path());
    }
  }
  for (const fs::path& path : remains) fs::remove_all(path, error);
  return absl::OkStatus();
}

absl::Status CheckpointFolder::DropAfter(int64_t step) {
  for (const int64_t later : Steps()) {
    if (later > step) ISTHMUS_RETURN_IF_ERROR(RemoveFolder(StepPath(later)));
  }
  return absl::OkStatus();
}

}  // namespace isthmus
