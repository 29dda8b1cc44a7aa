// Any bytes as a job file: an error or a job that prints and parses back.
#include <cstdint>

#include "base/check.h"
#include "client/job.h"
#include "model/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto job = isthmus::ParseJob(text, "/jobs");
  if (!job.ok()) {
    ISTHMUS_CHECK(job.status().code() == absl::StatusCode::kInvalidArgument);
    return 0;
  }
  const std::string resolved = isthmus::DumpJson(isthmus::ToJson(*job));
  const auto again = isthmus::ParseJob(resolved, "/");
  ISTHMUS_CHECK(again.ok());
  ISTHMUS_CHECK(isthmus::DumpJson(isthmus::ToJson(*again)) == resolved);
  return 0;
}
