// Rows of JSON objects as a Markdown table.
#ifndef ISTHMUS_BENCH_TABLE_H_
#define ISTHMUS_BENCH_TABLE_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace isthmus::bench {

// One line per object of the array `rows`, one column per path in `columns` ("step_s",
// "link.gb_per_s": a member of a member; missing ones are empty). Numbers get three significant
// digits.
std::string MarkdownTable(const nlohmann::json& rows, const std::vector<std::string>& columns);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_TABLE_H_
