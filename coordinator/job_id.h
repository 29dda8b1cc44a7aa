// "job-17" and 17.
#ifndef ISTHMUS_COORDINATOR_JOB_ID_H_
#define ISTHMUS_COORDINATOR_JOB_ID_H_

#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace isthmus {

inline std::string JobId(int64_t number) { return absl::StrCat("job-", number); }

// 0 when `id` is not one of ours.
inline int64_t JobNumber(absl::string_view id) {
  int64_t number = 0;
  if (!absl::ConsumePrefix(&id, "job-") || !absl::SimpleAtoi(id, &number) || number < 1) return 0;
  return number;
}

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_JOB_ID_H_
