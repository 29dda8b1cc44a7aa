// History: jobs and events in an SQLite file, so that they outlive the coordinator. One thread.
#ifndef ISTHMUS_COORDINATOR_HISTORY_H_
#define ISTHMUS_COORDINATOR_HISTORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "isthmus/v1/control.pb.h"

namespace isthmus {

class History {
 public:
  // Opens or makes DIR/coordinator.db. kInvalidArgument when the folder cannot be used, another
  // coordinator has it open, or a newer program wrote it; kDataLoss when the file is damaged: it is
  // left as it is.
  static absl::StatusOr<std::unique_ptr<History>> Open(const std::string& directory);
  virtual ~History() = default;

  // Adds the row or replaces the one with its id. kUnavailable when the disk refuses.
  virtual absl::Status SaveJob(const v1::JobRow& row) = 0;
  virtual absl::Status SaveEvent(int64_t unix_us, const std::string& job_id,
                                 const std::string& text) = 0;
  // At most `limit` rows, oldest first.
  virtual absl::StatusOr<std::vector<v1::JobRow>> NewestJobs(int limit) = 0;
  // The first number that no job has had.
  virtual absl::StatusOr<int64_t> NextJob() = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_HISTORY_H_
