// What rows of fine-tuning runs say: which spec of a family reaches the uncompressed run's loss,
// and with how many bytes. Pure.
#ifndef ISTHMUS_BENCH_TRAINING_OUTCOME_H_
#define ISTHMUS_BENCH_TRAINING_OUTCOME_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/training_families.h"
#include "nlohmann/json.hpp"

namespace isthmus::bench {

// A run reaches the loss when it ends at most this far above the uncompressed run of its seed.
inline constexpr double kLossShare = 0.005;

// Rows of one cell: {cell, family, forward, backward, seed} and what TrainInRing returns; the
// uncompressed runs' family is "none".
class CellRuns {
 public:
  explicit CellRuns(const std::vector<nlohmann::json>& rows);

  // Runs of one spec that have an uncompressed run beside them.
  struct Spec {
    CodecPair codec;
    std::vector<double> above;  // (loss - uncompressed loss) / uncompressed loss, by seed
    double bits = 0.0, bits_forward = 0.0, bits_backward = 0.0, bits_first_epoch = 0.0;  // means
    double mean_above() const;
    // Half of the 95 % interval of the mean (Student's t); nothing below two seeds.
    std::optional<double> interval() const;
    bool reaches() const { return !above.empty() && mean_above() <= kLossShare; }
  };
  // More bits first.
  std::vector<Spec> SpecsOf(const std::string& family) const;
  // The one with the fewest bits of those that reach the loss over at least `seeds` seeds.
  std::optional<Spec> Best(const std::string& family, size_t seeds) const;

  std::vector<double> UncompressedLosses() const;  // by seed
  bool empty() const { return uncompressed_.empty(); }

 private:
  std::map<int, double> uncompressed_;              // by seed
  std::map<std::string, std::vector<Spec>> specs_;  // by family
};

// Rows by their cell's name.
std::map<std::string, std::vector<nlohmann::json>> RowsByCell(
    const std::vector<nlohmann::json>& rows);

}  // namespace isthmus::bench

#endif  // ISTHMUS_BENCH_TRAINING_OUTCOME_H_
