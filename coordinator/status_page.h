// The status page: one self-contained HTML document, light and dark, that reloads itself.
#ifndef ISTHMUS_COORDINATOR_STATUS_PAGE_H_
#define ISTHMUS_COORDINATOR_STATUS_PAGE_H_

#include <string>
#include <vector>

#include "isthmus/v1/control.pb.h"

namespace isthmus {

std::string StatusPage(const std::vector<v1::WorkerRow>& workers,
                       const std::vector<v1::JobRow>& jobs, const std::string& version);

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_STATUS_PAGE_H_
