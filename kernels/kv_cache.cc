#include "kernels/kv_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace isthmus::kernels {
namespace {

float FromBf16(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

uint16_t TopHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>(bits >> 16);
}

// The nearest bf16 below and above. A step of the pattern is a step away from zero.
uint16_t Bf16Below(float value) {
  const uint16_t half = TopHalf(value);
  return FromBf16(half) <= value ? half : static_cast<uint16_t>(half + 1);
}
uint16_t Bf16Above(float value) {
  const uint16_t half = TopHalf(value);
  return FromBf16(half) >= value ? half : static_cast<uint16_t>(half + 1);
}

int Code(float value, const KvScale& scale, int least, int most) {
  if (scale.step == 0.0f) return 0;
  const float code = std::nearbyint((value - scale.low) / scale.step);
  return static_cast<int>(std::clamp(code, static_cast<float>(least), static_cast<float>(most)));
}

bool AllFinite(const float* row, int64_t count) {
  return std::all_of(row, row + count, [](float value) { return std::isfinite(value); });
}

// Where the codes of a row lie: neighbours for values, a block of positions apart for keys.
struct Codes {
  uint8_t* first;
  int64_t stride;
};

void StoreEight(const float* row, int64_t count, Codes codes, uint8_t* scale_at) {
  KvScale scale;
  for (int64_t i = 0; i < count; ++i) scale.step = std::max(scale.step, std::abs(row[i]));
  scale.step /= 127.0f;
  const bool finite = AllFinite(row, count);
  for (int64_t i = 0; i < count; ++i) {
    const int code = finite ? Code(row[i], scale, -127, 127) : 0;
    codes.first[i * codes.stride] = static_cast<uint8_t>(static_cast<int8_t>(code));
  }
  if (!finite) scale.step = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(scale_at, &scale.step, sizeof(scale.step));
}

// `low` rounds down and `step` up, so that the codes reach both ends of the row.
void StoreFour(const float* row, int64_t count, Codes codes, uint8_t* scale_at) {
  const int64_t columns = (count + 1) / 2;
  const auto [least, most] = std::minmax_element(row, row + count);
  uint16_t halves[2] = {Bf16Below(*least), 0};
  KvScale scale;
  scale.low = FromBf16(halves[0]);
  halves[1] = Bf16Above(*most / 15.0f - scale.low / 15.0f);
  scale.step = FromBf16(halves[1]);
  const bool finite =
      AllFinite(row, count) && std::isfinite(scale.low) && std::isfinite(scale.step);
  if (!finite) halves[0] = halves[1] = 0x7fc0;  // not a number
  for (int64_t j = 0; j < columns; ++j) {
    const int even = finite ? Code(row[j], scale, 0, 15) : 0;
    const int odd = finite && j + columns < count ? Code(row[j + columns], scale, 0, 15) : 0;
    codes.first[j * codes.stride] = static_cast<uint8_t>(even | odd << 4);
  }
  std::memcpy(scale_at, halves, sizeof(halves));
}

// The channels of one position and head, whose codes are `stride` apart.
void ReadRow(const KvLayout& layout, const uint8_t* first, int64_t stride, const KvScale& scale,
             float* row) {
  const int64_t columns = layout.columns();
  for (int64_t c = 0; c < layout.head_dim; ++c) {
    if (layout.bits == 8) {
      row[c] = static_cast<float>(static_cast<int8_t>(first[c * stride])) * scale.step;
      continue;
    }
    const uint8_t both = first[c % columns * stride];
    const int code = c < columns ? both & 15 : both >> 4;
    row[c] = static_cast<float>(code) * scale.step + scale.low;
  }
}

}  // namespace

void StoreKv(const KvLayout& layout, int64_t position, const float* k, const float* v,
             uint8_t* cache) {
  const auto store = layout.bits == 8 ? StoreEight : StoreFour;
  const int64_t at = position % kKvBlock;
  for (int64_t head = 0; head < layout.heads; ++head) {
    uint8_t* unit = cache + position / kKvBlock * layout.block_bytes() + head * layout.unit_bytes();
    store(k + head * layout.head_dim, layout.head_dim, {unit + at, kKvBlock},
          unit + layout.scales_offset() + 4 * at);
    unit += layout.values_offset();
    store(v + head * layout.head_dim, layout.head_dim, {unit + at * layout.columns(), 1},
          unit + layout.scales_offset() + 4 * at);
  }
}

void ReadKv(const KvLayout& layout, const uint8_t* cache, int64_t position, int64_t head, float* k,
            float* v) {
  const int64_t at = position % kKvBlock;
  const uint8_t* unit =
      cache + position / kKvBlock * layout.block_bytes() + head * layout.unit_bytes();
  ReadRow(layout, unit + at, kKvBlock, ReadKvScale(layout, unit + layout.scales_offset(), at), k);
  unit += layout.values_offset();
  ReadRow(layout, unit + at * layout.columns(), 1,
          ReadKvScale(layout, unit + layout.scales_offset(), at), v);
}

KvScale ReadKvScale(const KvLayout& layout, const uint8_t* scales, int64_t i) {
  KvScale scale;
  if (layout.bits == 8) {
    std::memcpy(&scale.step, scales + 4 * i, sizeof(scale.step));
    return scale;
  }
  uint16_t halves[2];
  std::memcpy(halves, scales + 4 * i, sizeof(halves));
  scale.low = FromBf16(halves[0]);
  scale.step = FromBf16(halves[1]);
  return scale;
}

}  // namespace isthmus::kernels
