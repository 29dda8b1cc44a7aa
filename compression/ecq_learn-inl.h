// What a decoded row leaves behind, a vector of channels at a time: included by the kernels that
// do it by whole rows and by those that do it chunk by chunk while they code.
#if defined(ISTHMUS_COMPRESSION_ECQ_LEARN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ISTHMUS_COMPRESSION_ECQ_LEARN_INL_H_
#undef ISTHMUS_COMPRESSION_ECQ_LEARN_INL_H_
#else
#define ISTHMUS_COMPRESSION_ECQ_LEARN_INL_H_
#endif

#include <algorithm>
#include <bit>

#include "compression/ecq_learn_places.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace ecq {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;  // no more than the chunks that are fused
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using D8 = hn::Rebind<uint8_t, DI>;
using VF = hn::Vec<DF>;

// Entry class mod 32 of 32.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
// Two instructions; a gather is 16 loads, and Highway has no lookup in two vectors yet.
HWY_INLINE VF OfClass(const float* entries, hn::Vec<DI> cls) {
  const DF d;
  const auto low = hn::LoadU(d, entries), high = hn::LoadU(d, entries + 16);
  return VF{_mm512_permutex2var_ps(low.raw, cls.raw, high.raw)};
}
#endif
template <class V>
HWY_INLINE hn::Vec<hn::RebindToFloat<hn::DFromV<V>>> OfClass(const float* entries, V cls) {
  const hn::DFromV<V> di;
  return hn::GatherIndex(hn::RebindToFloat<decltype(di)>(), entries, hn::And(cls, hn::Set(di, 31)));
}

// mean + (slot - mean) * blend, or mean
template <bool kSlot>
HWY_INLINE VF BaseOf(const EcqPredictor& from, size_t i, VF mean) {
  const DF d;
  if (!kSlot) return mean;
  const auto distance = hn::Sub(hn::LoadU(d, from.slot + i), mean);
  return hn::Add(mean, hn::Mul(distance, hn::Set(d, from.blend)));
}
template <bool kSlot>
HWY_INLINE VF BaseOf(const EcqPredictor& from, size_t i) {
  return BaseOf<kSlot>(from, i, hn::LoadU(DF(), from.mean + i));
}

// base + factor * before
HWY_INLINE VF PredictedOf(const EcqPredictor& from, size_t i, VF base) {
  const DF d;
  return hn::Add(base, hn::Mul(hn::LoadU(d, from.factor + i), hn::LoadU(d, from.before + i)));
}
template <bool kSlot>
HWY_INLINE VF PredictedOf(const EcqPredictor& from, size_t i) {
  return PredictedOf(from, i, BaseOf<kSlot>(from, i));
}

// x += (to - x) * share
HWY_INLINE VF Moved(VF x, VF to, float share) {
  const DF d;
  return hn::Add(x, hn::Mul(hn::Sub(to, x), hn::Set(d, share)));
}

HWY_INLINE VF Learned(VF expected, VF magnitude, float share) {
  const DF d;
  return hn::Max(Moved(expected, magnitude, share), hn::Set(d, kEcqLeastExpected));
}

// How far below their level codes of |q| = level lie, in steps.
HWY_INLINE VF GapsOf(const float* gaps, hn::Vec<DI> cls, hn::Vec<DI> level) {
  const DF d;
  const DI di;
  const auto more = hn::RebindMask(d, hn::Gt(level, hn::Set(di, 1)));
  const auto most = hn::RebindMask(d, hn::Gt(level, hn::Set(di, 2)));
  const auto one = OfClass(gaps, cls), two = OfClass(gaps + 32, cls),
             rest = OfClass(gaps + 64, cls);
  const auto gap = hn::IfThenElse(most, rest, hn::IfThenElse(more, two, one));
  return hn::IfThenElseZero(hn::RebindMask(d, hn::Gt(level, hn::Zero(di))), gap);
}

// prediction + sign(q) * (level - gap) * step
HWY_INLINE VF Decoded(const EcqLesson& l, size_t i, VF prediction, VF* magnitude) {
  const DF d;
  const DI di;
  const D8 d8;
  const auto q = hn::LoadU(di, l.q + i), level = hn::Abs(q);
  const auto cls = hn::PromoteTo(di, hn::LoadU(d8, l.classes + i));
  *magnitude = hn::ConvertTo(d, level);
  const auto inner = hn::Sub(*magnitude, GapsOf(l.gaps, cls, level));
  const auto change = hn::Mul(inner, hn::LoadU(d, l.step + i));
  const auto sign = hn::And(hn::BitCast(d, q), hn::SignBit(d));
  return hn::Add(prediction, hn::Xor(change, sign));
}

// One vector of a row. kSlot: the row has one. kShift: its distance from its base is kept, and
// where no prediction is given, it is made here.
template <bool kSlot, bool kShift>
HWY_INLINE VF LearnVector(const EcqLesson& l, size_t i, float* out) {
  const DF d;
  VF magnitude;
  const auto mean = hn::LoadU(d, l.mean + i), base = BaseOf<kSlot>(l.from, i, mean);
  const auto prediction = kShift && l.prediction == nullptr ? PredictedOf(l.from, i, base)
                                                            : hn::LoadU(d, l.prediction + i);
  const auto x = Decoded(l, i, prediction, &magnitude);
  hn::StoreU(x, d, out + i);
  const auto expected = hn::LoadU(d, l.expected + i);
  hn::StoreU(Learned(expected, magnitude, l.expected_share), d, l.expected + i);
  if (kShift) {
    const auto y = hn::Sub(x, base);
    if (l.sum_dd != nullptr) {
      const auto scale = hn::Set(d, l.inverse_step);
      const auto before = hn::Mul(hn::LoadU(d, l.before + i), scale), now = hn::Mul(y, scale);
      hn::StoreU(hn::Add(hn::LoadU(d, l.sum_dd + i), hn::Mul(before, before)), d, l.sum_dd + i);
      hn::StoreU(hn::Add(hn::LoadU(d, l.sum_de + i), hn::Mul(before, now)), d, l.sum_de + i);
    }
    hn::StoreU(y, d, l.before + i);
  }
  if (kSlot) hn::StoreU(Moved(hn::LoadU(d, l.slot + i), x, l.slot_share), d, l.slot + i);
  hn::StoreU(Moved(mean, x, l.mean_share), d, l.mean + i);
  return hn::Abs(x);
}

// Channels [begin, end); *most grows to the bits of the largest magnitude, lane by lane.
template <bool kSlot, bool kShift>
HWY_INLINE void LearnRange(const EcqLesson& l, size_t begin, size_t end, float* out,
                           hn::Vec<DU>* most) {
  const DU du;
  size_t i = begin;
  for (; i + hn::Lanes(du) <= end; i += hn::Lanes(du))
    *most = hn::Max(*most, hn::BitCast(du, LearnVector<kSlot, kShift>(l, i, out)));
  uint32_t rest = 0;
  for (; i < end; ++i) rest = std::max(rest, std::bit_cast<uint32_t>(EcqLearnPlace(l, i, out)));
  *most = hn::Max(*most, hn::Set(du, rest));
}

}  // namespace ecq
}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#endif  // ISTHMUS_COMPRESSION_ECQ_LEARN_INL_H_
