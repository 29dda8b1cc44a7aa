#include "model/tokenizer_sibling.h"

#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "model/json.h"
#include "nlohmann/json.hpp"

namespace isthmus {
namespace {

namespace fs = std::filesystem;

// config.json without what a change of number format changes; nullopt when there is none that can
// be read.
std::optional<nlohmann::json> ComparableConfig(const fs::path& folder) {
  const absl::StatusOr<std::string> text = ReadFile((folder / "config.json").string(), 1 << 20);
  if (!text.ok()) return std::nullopt;
  nlohmann::json config = nlohmann::json::parse(*text, nullptr, false);
  if (!config.is_object()) return std::nullopt;
  config.erase("torch_dtype");
  config.erase("dtype");
  return config;
}

}  // namespace

std::optional<std::string> SiblingWithTokenizer(const std::string& model_directory) {
  std::error_code error;
  const fs::path folder = fs::weakly_canonical(model_directory, error);
  const std::optional<nlohmann::json> config = ComparableConfig(folder);
  if (error || !config.has_value()) return std::nullopt;
  std::string name = folder.filename().string();
  for (size_t dash = name.rfind('-'); dash != std::string::npos && dash > 0;
       dash = name.rfind('-', dash - 1)) {
    const fs::path sibling = folder.parent_path() / name.substr(0, dash);
    const bool has_tokenizer = fs::exists(sibling / "tokenizer.json", error) ||
                               fs::exists(sibling / "tokenizer.model", error);
    if (has_tokenizer && ComparableConfig(sibling) == config) return sibling.string();
  }
  return std::nullopt;
}

}  // namespace isthmus
