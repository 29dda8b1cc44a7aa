// The encoder of rans.h, a vector of states at a time.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "compression/rans.h"
#include "compression/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/rans_encoder.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

#ifndef ISTHMUS_COMPRESSION_RANS_ENCODER_ONCE_
#define ISTHMUS_COMPRESSION_RANS_ENCODER_ONCE_
namespace isthmus {

// One symbol into one state.
inline uint16_t* PutOne(const RansTables& tables, uint16_t op, uint32_t* state, uint16_t* next) {
  const uint32_t packed = static_cast<uint32_t>(tables.codes()[op]);
  const uint32_t frequency = packed >> 16, start = packed & 0xFFFFu;
  uint32_t x = *state;
  if (x >> (32 - kRansScaleBits) >= frequency) {
    *--next = static_cast<uint16_t>(x);
    x >>= 16;
  }
  *state = (x / frequency << kRansScaleBits) + x % frequency + start;
  return next;
}

}  // namespace isthmus
#endif

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;

#if HWY_TARGET == HWY_SCALAR

uint16_t* PutColumns(const RansTables& tables, const uint16_t* row, size_t columns, size_t states,
                     uint32_t* state, uint16_t* next) {
  for (size_t c = columns; c-- > 0;)
    next = PutOne(tables, row[c], state + (c & (states - 1)), next);
  return next;
}

#else

// One symbol in every lane: the words of states that are full go before `next`, which is returned
// where it then is.
//
// The division is exact: the float quotient of x / 2 and f / 2 is less than 1 off, as x < 2^20 f
// and f < 2^12, and the remainder says which way.
template <class D>
HWY_INLINE uint16_t* PutLanes(D df, const RansTables& tables, const uint16_t* ops, uint32_t* state,
                              uint16_t* next) {
  const hn::RebindToSigned<D> di;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, decltype(di)> d16;
  // Half as many loads as two gathers of half the size.
  const hn::Repartition<int64_t, decltype(di)> d64;
  const hn::Half<decltype(di)> half;
  const auto op = hn::BitCast(di, hn::PromoteTo(du, hn::LoadU(d16, ops)));
  const auto* codes = reinterpret_cast<const int64_t*>(tables.codes());
  const auto lower = hn::GatherIndex(d64, codes, hn::PromoteTo(d64, hn::LowerHalf(half, op)));
  const auto upper = hn::GatherIndex(d64, codes, hn::PromoteTo(d64, hn::UpperHalf(half, op)));
  const auto packed = hn::ConcatEven(du, hn::BitCast(du, upper), hn::BitCast(du, lower));
  const auto inverse = hn::ConcatOdd(df, hn::BitCast(df, upper), hn::BitCast(df, lower));
  const auto frequency = hn::ShiftRight<16>(packed);
  const auto start = hn::And(packed, hn::Set(du, 0xFFFFu));
  const auto x = hn::LoadU(du, state);
  // x >= f << (32 - kRansScaleBits), which does not fit where f is the whole scale
  const auto full = hn::Not(hn::Lt(hn::ShiftRight<32 - kRansScaleBits>(x), frequency));
  const size_t words = hn::CountTrue(du, full);
  next -= words;
  const auto low = hn::TruncateTo(d16, hn::Compress(x, full));
  hn::BlendedStore(low, hn::FirstN(d16, words), d16, next);
  const auto v = hn::IfThenElse(full, hn::ShiftRight<16>(x), x);
  const auto about = hn::Mul(hn::ConvertTo(df, hn::BitCast(di, hn::ShiftRight<1>(v))), inverse);
  // The lower bits of a sum beyond 2^23: the nearest whole number.
  const auto whole = hn::Set(df, 8388608.0f);
  const auto quotient = hn::Sub(hn::BitCast(di, hn::Add(about, whole)), hn::BitCast(di, whole));
  const auto f = hn::BitCast(di, frequency);
  const auto rest = hn::Sub(hn::BitCast(di, v), hn::Mul(quotient, f));
  const auto below = hn::VecFromMask(di, hn::Lt(rest, hn::Zero(di)));  // -1: one too many
  const auto above = hn::VecFromMask(di, hn::Not(hn::Lt(rest, f)));    // -1: one too few
  const auto exact = hn::Sub(hn::Add(quotient, below), above);
  const auto remainder = hn::Add(hn::Sub(rest, hn::And(above, f)), hn::And(below, f));
  const auto scaled = hn::ShiftLeft<kRansScaleBits>(hn::BitCast(du, exact));
  hn::StoreU(hn::Add(hn::Add(scaled, hn::BitCast(du, remainder)), start), du, state);
  return next;
}

template <class D>
uint16_t* PutColumnsBy(D df, const RansTables& tables, const uint16_t* row, size_t columns,
                       size_t states, uint32_t* state, uint16_t* next) {
  const size_t lanes = hn::Lanes(df);
  for (size_t c = columns; c > 0; c -= lanes) {
    const size_t at = c - lanes;
    next = PutLanes(df, tables, row + at, state + (at & (states - 1)), next);
  }
  return next;
}

// The columns [0, columns) of a row, columns a multiple of what LanesFor says.
uint16_t* PutColumns(const RansTables& tables, const uint16_t* row, size_t columns, size_t states,
                     uint32_t* state, uint16_t* next) {
  if (states >= hn::Lanes(DF()))
    return PutColumnsBy(DF(), tables, row, columns, states, state, next);
  return PutColumnsBy(hn::CappedTag<float, 8>(), tables, row, columns, states, state, next);
}

#endif  // HWY_TARGET

// Of the widest vector that so many states fill; 0: none does.
size_t LanesFor(size_t states) {
  const size_t widest = hn::Lanes(DF()), eight = hn::Lanes(hn::CappedTag<float, 8>());
  if (states >= widest) return widest;
  return states >= eight ? eight : 0;
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {

HWY_EXPORT(PutColumns);
HWY_EXPORT(LanesFor);
}  // namespace

void RansEncoder::Begin(size_t states, size_t symbols) {
  ISTHMUS_CHECK(states > 0 && states <= kRansMaxStates && (states & (states - 1)) == 0);
  states_ = states;
  state_.fill(kRansLow);
  // A symbol of frequency 1 adds 11 bits: never more than a word a symbol. Vectors store whole.
  Room(&words_, symbols + kRansMaxStates);
  next_ = last_ = words_.data() + symbols;
}

void RansEncoder::PutScalar(const RansTables& tables, absl::Span<const uint16_t> ops,
                            size_t width) {
  for (size_t end = ops.size(); end > 0; end -= width) {
    const uint16_t* row = ops.data() + (end - width);
    for (size_t c = width; c-- > 0;)
      next_ = PutOne(tables, row[c], &state_[c & (states_ - 1)], next_);
  }
}

void RansEncoder::Put(const RansTables& tables, absl::Span<const uint16_t> ops, size_t width) {
  const size_t lanes = HWY_DYNAMIC_DISPATCH(LanesFor)(states_);
  if (lanes == 0) return PutScalar(tables, ops, width);
  const size_t whole = width / lanes * lanes;
  for (size_t end = ops.size(); end > 0; end -= width) {
    const uint16_t* row = ops.data() + (end - width);
    for (size_t c = width; c-- > whole;)
      next_ = PutOne(tables, row[c], &state_[c & (states_ - 1)], next_);
    next_ = HWY_DYNAMIC_DISPATCH(PutColumns)(tables, row, whole, states_, state_.data(), next_);
  }
}

void RansEncoder::Finish(Bytes* out) const {
  const size_t at = out->size(), word_bytes = static_cast<size_t>(last_ - next_) * 2;
  out->resize(at + FinishedBytes());
  std::memcpy(out->data() + at, state_.data(), states_ * 4);
  if (word_bytes > 0) std::memcpy(out->data() + at + states_ * 4, next_, word_bytes);
}

}  // namespace isthmus
#endif  // HWY_ONCE
