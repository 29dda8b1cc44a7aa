// What the rows of `./dev bench codecs training` say, as Markdown tables and curves.
#ifndef ISTHMUS_BENCH_TRAINING_TABLES_H_
#define ISTHMUS_BENCH_TRAINING_TABLES_H_

#include <string>
#include <vector>

#include "bench/codec_tables.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

// A line a cell: bits at which `ecq` reaches the loss, beside AQ-SGD as published and the best
// other family; then a table of all families for each cell.
std::string TrainingTables(const Rows& rows);
// Seconds to the loss at every rate, by the simulator, and what real runs over shaped links took.
std::string TrainingTimeTables(const Rows& rows);

// Loss against true bits, a picture a cell; time to the loss against the rate, likewise.
std::vector<NamedPlot> TrainingPlots(const Rows& rows);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_TRAINING_TABLES_H_
