#include "compression/ecq_learn_places.h"
#include "compression/ecq_row_codes.h"
#include "compression/ecq_row_places.h"

namespace isthmus {
namespace {

// Classes of the chunk at `column`; the activity then has what was expected of it.
void Classify(const EcqRow& row, size_t column, size_t n, EcqActivity* activity) {
  const int shift = activity->Shift();
  for (size_t i = column; i < column + n; ++i) {
    row.classes[i] = static_cast<uint8_t>(EcqClassOf(row.expected[i], shift));
    activity->expected += EcqExpectedUnits(row.expected[i]);
  }
}

void Count(const EcqRow& row, size_t column, size_t n, EcqActivity* activity) {
  for (size_t i = column; i < column + n; ++i)
    activity->active += int64_t{EcqActivityOf(row.q[i])} << 12;
}

}  // namespace

EcqLimits MakeEcqLimits(const std::array<float, kEcqPlainClasses>& thresholds) {
  EcqLimits limits;
  limits.fill(0.5f);
  for (size_t cls = 0; cls < thresholds.size(); ++cls) {
    const uint32_t beyond = static_cast<uint32_t>(EcqLargestPlain(cls) + 1);
    limits[cls] =
        std::bit_cast<float>((std::bit_cast<uint32_t>(thresholds[cls]) & ~uint32_t{63}) | beyond);
  }
  return limits;
}

uint32_t EcqCodeRowScalar(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                          EcqActivity* activity, RawBitWriter* raw, uint16_t* ops) {
  uint32_t most = 0;
  for (size_t column = 0, n = 0; column < row.width; column += n) {
    n = EcqChunkAt(row.width, column);
    Classify(row, column, n, activity);
    for (size_t i = column; i < column + n; ++i) {
      const float prediction = input.prediction == nullptr ? 0.0f : input.prediction[i];
      const float threshold = EcqThreshold(input, EcqLimitOf(limits, row.classes[i]));
      row.q[i] = EcqCodeOf(EcqStepsAt(input, i, prediction), threshold, &most);
      ops[i] = EcqOpOf(row.classes[i], row.q[i], raw);
    }
    Count(row, column, n, activity);
  }
  return most;
}

bool EcqReadRowScalar(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                      RansDecoder* coder, RawBitReader* raw) {
  uint8_t table_of[kEcqMostChunk], symbols[kEcqMostChunk];
  for (size_t column = 0, n = 0; column < row.width; column += n) {
    n = EcqChunkAt(row.width, column);
    Classify(row, column, n, activity);
    const uint8_t* classes = row.classes + column;
    for (size_t i = 0; i < n; ++i) table_of[i] = static_cast<uint8_t>(EcqTableOf(classes[i]));
    coder->Read(tables, table_of, column, n, symbols);
    for (size_t i = 0; i < n; ++i) {
      int32_t* q = row.q + column + i;
      *q = symbols[i] - kEcqZero;
      const bool far = symbols[i] == kEcqEscape || classes[i] >= kEcqPlainClasses;
      if (far && !EcqReadFarCode(classes[i], symbols[i], raw, q)) return false;
    }
    Count(row, column, n, activity);
  }
  return true;
}

uint32_t EcqLearnRowScalar(const EcqLesson& lesson, size_t n, float* out) {
  uint32_t largest = 0;
  for (size_t i = 0; i < n; ++i)
    largest = std::max(largest, std::bit_cast<uint32_t>(EcqLearnPlace(lesson, i, out)));
  return largest;
}

void EcqCountSymbols(const EcqRow& row, uint32_t* counts) {
  for (size_t i = 0; i < row.width; ++i) {
    const int cls = row.classes[i];
    const int symbol = EcqIsFar(cls, row.q[i]) ? EcqSymbolOf(cls, row.q[i]) : row.q[i] + kEcqZero;
    const int at = EcqTableOf(cls) * static_cast<int>(kRansSymbols) + symbol;
    ++counts[(i % 2) * kEcqCounters + static_cast<size_t>(at)];
  }
}

void EcqFoldCounts(uint32_t* counts) {
  for (size_t i = 0; i < kEcqCounters; ++i) counts[i] += counts[kEcqCounters + i];
}

}  // namespace isthmus
