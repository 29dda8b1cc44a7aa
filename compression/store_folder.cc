#include "compression/store_folder.h"

#include <filesystem>

namespace isthmus {

std::string StoreFolder(const std::string& state_dir) {
  if (!state_dir.empty()) return state_dir;
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  return error ? "" : folder.string();
}

}  // namespace isthmus
