// What a page of measurements says about where it was measured.
#ifndef ISTHMUS_BENCH_MACHINE_H_
#define ISTHMUS_BENCH_MACHINE_H_

#include <string>

#include "nlohmann/json.hpp"

namespace isthmus::bench {

// {"date","processor","cores","kernel","version","revision"}
nlohmann::json Machine();
// "2026-11-21: PROCESSOR, 2 cores, isthmus VERSION (REVISION)"
std::string MachineLine(const nlohmann::json& machine);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_MACHINE_H_
