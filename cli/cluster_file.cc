#include "cli/cluster_file.h"

#include "absl/strings/numbers.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/flag_value.h"
#include "cli/nearest.h"
#include "yaml-cpp/yaml.h"

namespace isthmus {
namespace {

absl::Status Set(const std::string& key, const std::string& text, v1::WorkerInfo* worker) {
  double number = 0.0;
  if (key == "name") {
    worker->set_name(text);
    return absl::OkStatus();
  }
  if (key == "memory_limit") {
    const auto bytes = ParseBytes(text);
    if (!bytes.has_value())
      return InvalidArgument(key, ": expected a size such as 8GiB, got ", text);
    worker->set_memory_limit_bytes(*bytes);
    return absl::OkStatus();
  }
  if (key != "gflops" && key != "rate_mbps") {
    return InvalidArgument(key, ": expected a known key, got an unknown one (the nearest is ",
                           Nearest(key, {"name", "gflops", "rate_mbps", "memory_limit"}), ")");
  }
  if (!absl::SimpleAtod(text, &number) || !(number > 0.0) || number > 1e9) {
    return InvalidArgument(key, ": expected a positive number, got ", text);
  }
  if (key == "gflops") {
    worker->set_flops(number * 1e9);
  } else {
    worker->set_rate_mbps(number);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::WorkerInfo>> Workers(const YAML::Node& root,
                                                    const std::string& path) {
  const YAML::Node list = root.IsMap() ? root["workers"] : YAML::Node();
  if (!list.IsDefined() || !list.IsSequence() || list.size() == 0) {
    return InvalidArgument(path, ": expected `workers:` with a list of them, got another form");
  }
  std::vector<v1::WorkerInfo> workers;
  for (const YAML::Node& item : list) {
    v1::WorkerInfo worker;
    worker.set_name(absl::StrCat("worker", workers.size()));
    if (!item.IsMap()) return InvalidArgument(path, ": expected a map for each worker");
    for (const auto& entry : item) {
      if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
        return InvalidArgument(path, ": expected plain keys and values for each worker");
      }
      const absl::Status status = Set(entry.first.Scalar(), entry.second.Scalar(), &worker);
      if (!status.ok()) return Annotate(status, path);
    }
    workers.push_back(std::move(worker));
  }
  return workers;
}

}  // namespace

absl::StatusOr<std::vector<v1::WorkerInfo>> ReadClusterFile(const std::string& path) {
  ISTHMUS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, int64_t{1} << 20));
  try {
    return Workers(YAML::Load(text), path);
  } catch (const YAML::Exception& e) {  // yaml-cpp's only way to say so
    return InvalidArgument(path, ": expected YAML, got ", e.msg, " (line ", e.mark.line + 1, ")");
  }
}

}  // namespace isthmus
