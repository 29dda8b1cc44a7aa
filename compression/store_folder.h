// Where the file of a memory-mapped store goes.
#ifndef ISTHMUS_COMPRESSION_STORE_FOLDER_H_
#define ISTHMUS_COMPRESSION_STORE_FOLDER_H_

#include <string>

namespace isthmus {

// For EdgeShape::state_dir: `state_dir`, or the system's folder for temporary files for a party
// that keeps no state. The file has no name there and ends with the process. "" where the system
// has no such folder: a codec that needs one then says so.
std::string StoreFolder(const std::string& state_dir);

}  // namespace isthmus

#endif  // ISTHMUS_COMPRESSION_STORE_FOLDER_H_
