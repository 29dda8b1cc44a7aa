#include "compression/ecq_side_coder.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace isthmus {
namespace {

constexpr uint64_t kLow = uint64_t{1} << 40;
constexpr uint32_t kPlaces = 1u << 24;
constexpr size_t kStateBytes = 6;

}  // namespace

AdaptiveCounts::AdaptiveCounts(size_t n, uint32_t increment, uint32_t limit)
    : n_(n), increment_(increment), limit_(limit), tree_(n + 1) {
  ISTHMUS_CHECK(n > 0 && limit < kPlaces / 2 && increment < limit);
}

uint64_t AdaptiveCounts::Below(size_t symbol) const {
  uint64_t sum = 0;
  for (size_t i = symbol; i > 0; i &= i - 1) sum += tree_[i];
  return sum;
}

uint32_t AdaptiveCounts::Count(size_t symbol) const {
  return static_cast<uint32_t>(Below(symbol + 1) - Below(symbol));
}

void AdaptiveCounts::Add(size_t symbol, int64_t delta) {
  delta = std::max(delta, -static_cast<int64_t>(Count(symbol)));
  for (size_t i = symbol + 1; i <= n_; i += i & (~i + 1))
    tree_[i] = static_cast<uint32_t>(tree_[i] + delta);
  total_ = static_cast<uint64_t>(static_cast<int64_t>(total_) + delta);
}

void AdaptiveCounts::Bump(size_t symbol) {
  Add(symbol, increment_);
  if (total_ <= limit_) return;
  for (size_t s = 0; s < n_; ++s) Add(s, -static_cast<int64_t>(Count(s) / 2));
}

// Rounding down both ends of a range keeps ranges adjacent; with a total below 2^23 no counted
// symbol's is empty.
AdaptiveCounts::Range AdaptiveCounts::RangeOf(size_t symbol) const {
  const uint64_t below = Below(symbol), end = below + Count(symbol);
  const uint32_t start = static_cast<uint32_t>(below * kPlaces / total_);
  return {start, static_cast<uint32_t>(end * kPlaces / total_) - start};
}

size_t AdaptiveCounts::SymbolAt(uint32_t place) const {
  // The last symbol whose sum below it is at most this.
  uint64_t left = ((uint64_t{place} + 1) * total_ + kPlaces - 1) / kPlaces - 1;
  size_t at = 0, step = 1;
  while (step * 2 <= n_) step *= 2;
  for (; step > 0; step /= 2) {
    if (at + step <= n_ && tree_[at + step] <= left) {
      at += step;
      left -= tree_[at];
    }
  }
  return std::min(at, n_ - 1);
}

void AdaptiveCounts::Write(Bytes* out) const {
  ByteWriter writer(out);
  for (size_t s = 0; s < n_; ++s) writer.PutVarint(Count(s));
}

bool AdaptiveCounts::Read(ByteReader* in) {
  std::vector<uint32_t> counts(n_);
  uint64_t total = 0;
  for (uint32_t& count : counts) {
    const auto value = in->GetVarint();
    if (!value.ok() || *value > limit_) return false;
    count = static_cast<uint32_t>(*value);
    total += count;
  }
  if (total > limit_) return false;
  std::fill(tree_.begin(), tree_.end(), 0u);
  total_ = 0;
  for (size_t s = 0; s < n_; ++s) Add(s, counts[s]);
  return true;
}

void SideEncoder::Put(AdaptiveCounts* counts, size_t symbol) {
  ranges_.push_back(counts->RangeOf(symbol));
  counts->Bump(symbol);
}

void SideEncoder::Finish(Bytes* out) {
  reversed_.clear();
  uint64_t state = kLow;
  for (size_t i = ranges_.size(); i-- > 0;) {
    const AdaptiveCounts::Range range = ranges_[i];
    while (state >= uint64_t{range.size} << 24) {
      reversed_.push_back(static_cast<uint8_t>(state));
      state >>= 8;
    }
    state = (state / range.size << 24) + state % range.size + range.start;
  }
  for (size_t i = 0; i < kStateBytes; ++i) out->push_back(static_cast<uint8_t>(state >> (8 * i)));
  out->insert(out->end(), reversed_.rbegin(), reversed_.rend());
  ranges_.clear();
}

double SideEncoder::Bits() const {
  double bits = 8 * kStateBytes;
  for (const AdaptiveCounts::Range& range : ranges_)
    bits += 24 - std::log2(static_cast<double>(range.size));
  return bits;
}

bool SideDecoder::Begin(absl::Span<const uint8_t> bytes) {
  bytes_ = bytes;
  overrun_ = bytes.size() < kStateBytes;
  if (overrun_) return false;
  state_ = 0;
  for (size_t i = 0; i < kStateBytes; ++i) state_ |= uint64_t{bytes[i]} << (8 * i);
  at_ = kStateBytes;
  overrun_ = state_ < kLow;
  return !overrun_;
}

size_t SideDecoder::Get(AdaptiveCounts* counts) {
  const size_t symbol = counts->SymbolAt(Place());
  Take(counts->RangeOf(symbol));
  counts->Bump(symbol);
  return symbol;
}

void SideDecoder::Take(AdaptiveCounts::Range range) {
  state_ = (state_ >> 24) * range.size + Place() - range.start;
  while (state_ < kLow) {
    if (at_ == bytes_.size()) {
      overrun_ = true;
      state_ = kLow;
      return;
    }
    state_ = state_ << 8 | bytes_[at_++];
  }
}

bool SideDecoder::Finish(size_t* used) const {
  *used = at_;
  return !overrun_ && state_ == kLow;
}

}  // namespace isthmus
