#include "model/model_folder.h"

#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/status.h"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

// Everything beside the weights that Hugging Face reads from a model directory.
constexpr absl::string_view kCopiedFiles[] = {
    "config.json",       "generation_config.json", "tokenizer.json",     "tokenizer.model",
    "vocab.json",        "tokenizer_config.json",  "merges.txt",         "special_tokens_map.json",
    "added_tokens.json", "chat_template.json",     "chat_template.jinja"};

absl::Status CopyFiles(const std::string& from, const std::string& to) {
  for (absl::string_view name : kCopiedFiles) {
    const fs::path source = fs::path(from) / std::string(name);
    std::error_code error;
    if (!fs::exists(source, error)) continue;
    fs::copy_file(source, fs::path(to) / std::string(name), error);
    if (error) {
      return absl::FailedPreconditionError(
          absl::StrCat(source.string(), ": expected to copy the file, got ", error.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOut(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return absl::OkStatus();
  if (fs::is_directory(path, error) && fs::is_empty(path, error)) return absl::OkStatus();
  return InvalidArgument("out: expected a new or empty folder, got one that is in use (", path,
                         ")");
}

}  // namespace

absl::Status BuildModelFolder(const std::string& from, const std::string& out,
                              absl::FunctionRef<absl::Status(const std::string& folder)> write) {
  ISTHMUS_RETURN_IF_ERROR(CheckOut(out));
  const fs::path path = fs::path(out).lexically_normal();
  const std::string name = (path.has_filename() ? path : path.parent_path()).string();
  const std::string temporary = absl::StrCat(name, ".tmp.", ::getpid());
  absl::Status status = MakeDirectories(temporary);
  if (status.ok()) status = write(temporary);
  if (status.ok()) status = CopyFiles(from, temporary);
  std::error_code error;
  if (status.ok()) {
    fs::rename(temporary, name, error);
    if (error) {
      status = absl::FailedPreconditionError(
          absl::StrCat(name, ": expected to make the folder, got ", error.message()));
    }
  }
  if (!status.ok()) fs::remove_all(temporary, error);
  return status;
}

}  // namespace isthmus
