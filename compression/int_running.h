// int(range=running): groups that outlive a frame, so their ranges need not be sent with each.
#ifndef ISTHMUS_COMPRESSION_INT_RUNNING_H_
#define ISTHMUS_COMPRESSION_INT_RUNNING_H_

#include <memory>

#include "compression/int_options.h"

namespace isthmus {

std::unique_ptr<ValueFormat> MakeRunningInt(const IntOptions& options, const EdgeShape& shape);
int64_t RunningIntStateBytes(const IntOptions& options, const EdgeShape& shape);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_INT_RUNNING_H_
