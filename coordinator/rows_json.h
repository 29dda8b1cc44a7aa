// Workers and jobs as JSON, the same in the HTTP API and in `isthmus workers`, `jobs` and `status`:
// plain units in the keys, null where there is nothing to say.
#ifndef ISTHMUS_COORDINATOR_ROWS_JSON_H_
#define ISTHMUS_COORDINATOR_ROWS_JSON_H_

#include <nlohmann/json_fwd.hpp>

#include "isthmus/v1/control.pb.h"

namespace isthmus {

// {"name","state","job","stages","memory_bytes",…}
nlohmann::ordered_json JsonOf(const v1::WorkerRow& row);
// {"id","name","status","step",…}
nlohmann::ordered_json JsonOf(const v1::JobRow& row);

}  // namespace isthmus

#endif  // ISTHMUS_COORDINATOR_ROWS_JSON_H_
