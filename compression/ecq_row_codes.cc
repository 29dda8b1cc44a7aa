// Highway forms of ecq_row_codes.h: a vector of places at a time, all chunks of a row in one call.
// What is rare (codes beyond a table, ends of rows and of the stream) goes place by place.
#include "compression/ecq_row_codes.h"

#include <array>

#include "compression/ecq_row_places.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compression/ecq_row_codes.cc"
#include "hwy/foreach_target.h"
//
#include "compression/ecq_learn-inl.h"
#include "hwy/highway.h"

#ifndef ISTHMUS_COMPRESSION_ECQ_ROW_CODES_ONCE_
#define ISTHMUS_COMPRESSION_ECQ_ROW_CODES_ONCE_
namespace isthmus {

// By mask of 8 lanes: the how manieth set bit a lane is. Lanes that are not set have any.
inline constexpr auto kEcqRankOfLane = [] {
  std::array<std::array<uint8_t, 8>, 256> ranks{};
  for (size_t mask = 0; mask < ranks.size(); ++mask) {
    uint8_t rank = 0;
    for (size_t lane = 0; lane < 8; ++lane) {
      ranks[mask][lane] = rank & 7;
      rank = static_cast<uint8_t>(rank + (mask >> lane & 1));
    }
  }
  return ranks;
}();

}  // namespace isthmus
#endif

HWY_BEFORE_NAMESPACE();
namespace isthmus {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What happens to a chunk whose codes are known.
struct LearnNothing {
  HWY_INLINE void operator()(size_t, size_t) {}
  uint32_t Largest() const { return 0; }
};
template <bool kSlot>
struct LearnChunk {
  static constexpr bool kHasSlot = kSlot;
  explicit LearnChunk(const EcqFusedLesson& fused)
      : lesson(*fused.lesson), out(fused.x_hat), next(fused.next), most(hn::Zero(ecq::DU())) {}
  HWY_INLINE void operator()(size_t begin, size_t end) {
    for (size_t i = begin; i < end; i += 64 / sizeof(float)) {
      for (const float* row : next) __builtin_prefetch(row + i, 1);
    }
    ecq::LearnRange<kSlot, true>(lesson, begin, end, out, &most);
  }
  uint32_t Largest() const { return hn::GetLane(hn::MaxOfLanes(ecq::DU(), most)); }

  const EcqLesson lesson;
  float* const out;
  const std::array<const float*, 2> next;
  hn::Vec<ecq::DU> most;
};

// Sums over the vectors of one chunk.
template <class DI>
struct ChunkSums {
  hn::Vec<DI> expected, active;
  // Above 0, or a class with low bits: a place needs a closer look, and `active` is not bounded.
  hn::Vec<DI> excess, cls;
};

template <class DI>
HWY_INLINE ChunkSums<DI> NoSums(DI di) {
  return {hn::Zero(di), hn::Zero(di), hn::Zero(di), hn::Zero(di)};
}
template <class DI>
HWY_INLINE bool IsFar(DI di, const ChunkSums<DI>& sums) {
  const auto low_bits = hn::Gt(sums.cls, hn::Set(di, kEcqPlainClasses - 1));
  return !hn::AllFalse(di, hn::Or(hn::Gt(sums.excess, hn::Zero(di)), low_bits));
}

template <class DF>
HWY_INLINE hn::Vec<hn::RebindToSigned<DF>> Nearest(DF df, hn::Vec<DF> v) {
  const hn::RebindToSigned<DF> di;
  const auto whole = hn::Set(df, kEcqWhole);
  return hn::Sub(hn::BitCast(di, hn::Add(v, whole)), hn::BitCast(di, whole));
}

// Classes of a vector of places.
template <class DF>
HWY_INLINE hn::Vec<hn::RebindToSigned<DF>> Classes(DF df, const EcqRow& row, size_t i, int shift,
                                                   ChunkSums<hn::RebindToSigned<DF>>* sums) {
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint8_t, DF> d8;
  const auto expected = hn::LoadU(df, row.expected + i);
  const auto bounded = hn::Min(expected, hn::Set(df, kEcqMostCounted));
  const auto units = hn::Mul(bounded, hn::Set(df, kEcqActivityUnits));
  sums->expected = hn::Add(sums->expected, Nearest(df, units));
  const auto octaves = hn::BitCast(di, hn::ShiftRight<22>(hn::BitCast(du, expected)));
  const auto moved = hn::Add(octaves, hn::Set(di, shift - 236));
  const auto cls =
      hn::Min(hn::Max(moved, hn::Zero(di)), hn::Set(di, static_cast<int32_t>(kEcqClasses - 1)));
  hn::StoreU(hn::U8FromU32(hn::BitCast(du, cls)), d8, row.classes + i);
  return cls;
}

template <class DI>
HWY_INLINE void AddSums(DI di, const ChunkSums<DI>& sums, EcqActivity* activity) {
  activity->expected += hn::GetLane(hn::SumOfLanes(di, sums.expected));
  activity->active += int64_t{hn::GetLane(hn::SumOfLanes(di, sums.active))} << 12;
}

// ---------------------------------------------------------------- the sender

// What is coded: (x - prediction) / step, or x / step + dither.
struct Dithered {
  static constexpr bool kDithered = true;
  const EcqRowInput& input;
  template <class DF>
  HWY_INLINE hn::Vec<DF> Steps(DF df, size_t i) const {
    const auto x = hn::LoadU(df, input.x + i), inverse = hn::LoadU(df, input.inverse_step + i);
    return hn::Add(hn::Mul(x, inverse), hn::LoadU(df, input.dither + i));
  }
  float StepsAt(size_t i) const { return EcqStepsAt(input, i, 0.0f); }
};
struct Predicted {
  static constexpr bool kDithered = false;
  const EcqRowInput& input;
  template <class DF>
  HWY_INLINE hn::Vec<DF> Steps(DF df, size_t i) const {
    const auto distance = hn::Sub(hn::LoadU(df, input.x + i), hn::LoadU(df, input.prediction + i));
    return hn::Mul(distance, hn::LoadU(df, input.inverse_step + i));
  }
  float StepsAt(size_t i) const { return EcqStepsAt(input, i, input.prediction[i]); }
};
template <bool kSlot>
struct PredictedHere {
  static constexpr bool kDithered = false;
  const EcqRowInput& input;
  const EcqPredictor from;
  template <class DF>
  HWY_INLINE hn::Vec<DF> Steps(DF df, size_t i) const {
    const auto distance = hn::Sub(hn::LoadU(df, input.x + i), ecq::PredictedOf<kSlot>(from, i));
    return hn::Mul(distance, hn::LoadU(df, input.inverse_step + i));
  }
  float StepsAt(size_t i) const { return EcqStepsAt(input, i, EcqPredictedAt(from, i)); }
};

template <class DF, class Input>
HWY_INLINE void CodeLanes(DF df, const Input& input, const EcqLimits& limits, const EcqRow& row,
                          size_t i, int shift, uint16_t* ops,
                          ChunkSums<hn::RebindToSigned<DF>>* sums,
                          hn::Vec<hn::RebindToUnsigned<DF>>* most) {
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint16_t, DF> d16;
  const auto cls = Classes(df, row, i, shift, sums);
  const auto of_class = hn::Min(cls, hn::Set(di, 31));
  const auto limit = hn::BitCast(di, ecq::OfClass(limits.data(), of_class));
  const auto v = input.Steps(df, i);
  const auto magnitude = hn::Abs(v);
  *most = hn::Max(*most, hn::BitCast(du, magnitude));
  const auto reach = hn::Set(df, kEcqReach);
  const auto bounded = hn::IfThenElse(hn::Lt(magnitude, reach), magnitude, reach);
  auto code = Nearest(df, bounded);
  if (!Input::kDithered) {
    const auto threshold = hn::BitCast(df, hn::AndNot(hn::Set(di, 63), limit));
    code = hn::IfThenElseZero(hn::RebindMask(di, hn::Ge(bounded, threshold)), code);
  }
  const auto beyond = hn::And(limit, hn::Set(di, 63));
  const auto excess = hn::Add(hn::Sub(code, beyond), hn::Set(di, 1));
  sums->excess = hn::Max(sums->excess, excess);
  sums->active = hn::Add(sums->active, code);
  const auto negative = hn::RebindMask(di, hn::Lt(v, hn::Zero(df)));
  const auto q = hn::IfThenElse(negative, hn::Neg(code), code);
  hn::StoreU(q, di, row.q + i);
  const auto op = hn::Add(hn::ShiftLeft<6>(cls), hn::Add(q, hn::Set(di, kEcqZero)));
  hn::StoreU(hn::TruncateTo(d16, hn::BitCast(du, op)), d16, ops + i);
}

// Places that fill no vector.
template <class Input>
HWY_INLINE void CodePlaces(const Input& input, const EcqLimits& limits, const EcqRow& row,
                           size_t from, size_t to, int shift, EcqActivity* activity,
                           uint32_t* most) {
  for (size_t i = from; i < to; ++i) {
    row.classes[i] = static_cast<uint8_t>(EcqClassOf(row.expected[i], shift));
    activity->expected += EcqExpectedUnits(row.expected[i]);
    const float threshold = EcqThreshold(input.input, EcqLimitOf(limits, row.classes[i]));
    row.q[i] = EcqCodeOf(input.StepsAt(i), threshold, most);
  }
}

// Symbols of a chunk some of whose codes are beyond their tables. Returns the chunk's activity.
HWY_INLINE int64_t PutFarCodes(const EcqRow& row, size_t from, size_t to, RawBitWriter* raw,
                               uint16_t* ops) {
  int64_t active = 0;
  for (size_t i = from; i < to; ++i) {
    ops[i] = EcqOpOf(row.classes[i], row.q[i], raw);
    active += int64_t{EcqActivityOf(row.q[i])} << 12;
  }
  return active;
}

template <class DF, class Input, class Learn>
uint32_t CodeRowBy(DF df, const Input& input, const EcqLimits& limits, const EcqRow& row,
                   EcqActivity* activity, RawBitWriter* raw, uint16_t* ops, Learn* learn) {
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const size_t lanes = hn::Lanes(df);
  auto most_of_lanes = hn::Zero(du);
  uint32_t most = 0;
  for (size_t column = 0, end = 0; column < row.width; column = end) {
    end = column + EcqChunkAt(row.width, column);
    const int shift = activity->Shift();
    const int64_t active = activity->active;
    auto sums = NoSums(di);
    size_t i = column;
    for (; i + lanes <= end; i += lanes)
      CodeLanes(df, input, limits, row, i, shift, ops, &sums, &most_of_lanes);
    AddSums(di, sums, activity);
    if (HWY_UNLIKELY(IsFar(di, sums) || i < end)) {
      CodePlaces(input, limits, row, i, end, shift, activity, &most);
      activity->active = active + PutFarCodes(row, column, end, raw, ops);
    }
    (*learn)(column, end);
  }
  return std::max(most, hn::GetLane(hn::MaxOfLanes(du, most_of_lanes)));
}

template <class Input>
uint32_t CodeRowOf(const Input& input, const EcqLimits& limits, const EcqRow& row,
                   EcqActivity* activity, RawBitWriter* raw, uint16_t* ops) {
  const hn::CappedTag<float, 8> df8;  // the least chunk
  LearnNothing nothing;
  if (EcqLeastChunk(row.width) < hn::Lanes(ecq::DF()))
    return CodeRowBy(df8, input, limits, row, activity, raw, ops, &nothing);
  return CodeRowBy(ecq::DF(), input, limits, row, activity, raw, ops, &nothing);
}

uint32_t CodeRow(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                 EcqActivity* activity, RawBitWriter* raw, uint16_t* ops) {
  if (input.dither != nullptr) return CodeRowOf(Dithered{input}, limits, row, activity, raw, ops);
  return CodeRowOf(Predicted{input}, limits, row, activity, raw, ops);
}

template <bool kSlot>
uint32_t CodeAndLearnOf(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                        EcqActivity* activity, RawBitWriter* raw, uint16_t* ops,
                        const EcqFusedLesson& fused) {
  const PredictedHere<kSlot> here{input, fused.lesson->from};
  LearnChunk<kSlot> learn(fused);
  const uint32_t reach = CodeRowBy(ecq::DF(), here, limits, row, activity, raw, ops, &learn);
  *fused.largest = learn.Largest();
  return reach;
}

uint32_t CodeAndLearnRow(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                         EcqActivity* activity, RawBitWriter* raw, uint16_t* ops,
                         const EcqFusedLesson& fused) {
  if (fused.lesson->slot != nullptr)
    return CodeAndLearnOf<true>(input, limits, row, activity, raw, ops, fused);
  return CodeAndLearnOf<false>(input, limits, row, activity, raw, ops, fused);
}

// ---------------------------------------------------------------- the receiver

// The next words of the stream, each in the next lane that `needs` one.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
// One instruction, which Highway does not have yet.
HWY_INLINE hn::Vec<ecq::DU> SpreadWords(ecq::DU du, hn::Vec<ecq::DU> words, hn::Mask<ecq::DU> needs,
                                        size_t* count) {
  *count = hn::CountTrue(du, needs);
  return hn::Vec<ecq::DU>{_mm512_maskz_expand_epi32(needs.raw, words.raw)};
}
#endif
template <class DU>
HWY_INLINE hn::Vec<DU> SpreadWords(DU du, hn::Vec<DU> words, hn::Mask<DU> needs, size_t* count) {
  const hn::RebindToSigned<DU> di;
  const hn::Rebind<uint8_t, DU> d8;
  uint8_t bits[8] = {};
  hn::StoreMaskBits(du, needs, bits);
  const uint32_t mask = bits[0] & ((1u << hn::Lanes(du)) - 1);
  *count = static_cast<size_t>(std::popcount(mask));
  const auto ranks = hn::PromoteTo(di, hn::LoadU(d8, kEcqRankOfLane[mask].data()));
  const auto last = hn::Set(di, static_cast<int32_t>(hn::Lanes(du) - 1));
  return hn::TableLookupLanes(words, hn::IndicesFromVec(du, hn::And(ranks, last)));
}

template <class DF>
HWY_INLINE void ReadLanes(DF df, const uint32_t* slots, const EcqRow& row, size_t i, int shift,
                          RansDecoder::Cursor* at, ChunkSums<hn::RebindToSigned<DF>>* sums) {
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint16_t, DF> d16;
  const auto cls = Classes(df, row, i, shift, sums);
  // Classes with low bits share the last two tables.
  const auto shared = hn::Or(hn::And(cls, hn::Set(di, 1)), hn::Set(di, kEcqPlainClasses));
  const auto table = hn::Min(cls, shared);
  uint32_t* const state = at->state.data() + (i & (at->states - 1));
  auto x = hn::LoadU(du, state);
  const auto slot = hn::BitCast(di, hn::And(x, hn::Set(du, kRansScale - 1)));
  const auto entry =
      hn::BitCast(du, hn::GatherIndex(di, reinterpret_cast<const int32_t*>(slots),
                                      hn::Add(hn::ShiftLeft<kRansScaleBits>(table), slot)));
  const auto frequency = hn::And(hn::ShiftRight<6>(entry), hn::Set(du, 0x1FFFu));
  x = hn::Add(hn::Mul(frequency, hn::ShiftRight<kRansScaleBits>(x)), hn::ShiftRight<19>(entry));
  const auto needs = hn::Lt(x, hn::Set(du, kRansLow));
  const auto words = hn::PromoteTo(du, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(at->next)));
  size_t count = 0;
  const auto spread = SpreadWords(du, words, needs, &count);
  at->next += 2 * count;
  hn::StoreU(hn::IfThenElse(needs, hn::Or(hn::ShiftLeft<16>(x), spread), x), du, state);
  const auto symbol = hn::BitCast(di, hn::And(entry, hn::Set(du, 63u)));
  const auto q = hn::Sub(symbol, hn::Set(di, kEcqZero));
  const auto level = hn::Abs(q);
  // The escape is farther from zero than any code of a table.
  static_assert(kEcqZero - kEcqEscape >
                *std::max_element(kEcqLargestPlain.begin(), kEcqLargestPlain.end()));
  sums->excess = hn::Max(sums->excess, hn::Sub(level, hn::Set(di, kEcqZero - kEcqEscape - 1)));
  sums->cls = hn::Max(sums->cls, cls);
  sums->active = hn::Add(sums->active, level);
  hn::StoreU(q, di, row.q + i);
}

// Places that fill no vector, or lie too near to the stream's end for one.
HWY_INLINE void ReadPlaces(const RansTables& tables, const EcqRow& row, size_t from, size_t to,
                           int shift, RansDecoder* coder, EcqActivity* activity) {
  uint8_t table_of[kEcqMostChunk], symbols[kEcqMostChunk];
  for (size_t i = from; i < to; ++i) {
    row.classes[i] = static_cast<uint8_t>(EcqClassOf(row.expected[i], shift));
    activity->expected += EcqExpectedUnits(row.expected[i]);
    table_of[i - from] = static_cast<uint8_t>(EcqTableOf(row.classes[i]));
  }
  coder->Read(tables, table_of, from, to - from, symbols);
  for (size_t i = from; i < to; ++i) row.q[i] = symbols[i - from] - kEcqZero;
}

// Codes of a chunk whose symbols say that something lies beside the coder, and its activity.
HWY_INLINE bool ReadFarCodes(const EcqRow& row, size_t from, size_t to, RawBitReader* raw,
                             int64_t* active) {
  *active = 0;
  for (size_t i = from; i < to; ++i) {
    const int symbol = row.q[i] + kEcqZero;
    const bool far = symbol == kEcqEscape || row.classes[i] >= kEcqPlainClasses;
    if (far && !EcqReadFarCode(row.classes[i], symbol, raw, &row.q[i])) return false;
    *active += int64_t{EcqActivityOf(row.q[i])} << 12;
  }
  return true;
}

template <class DF, class Learn>
bool ReadRowBy(DF df, const RansTables& tables, const EcqRow& row, EcqActivity* activity,
               RansDecoder* coder, RawBitReader* raw, Learn* learn) {
  const hn::RebindToSigned<DF> di;
  const size_t lanes = hn::Lanes(df);
  RansDecoder::Cursor* const at = coder->cursor();
  for (size_t column = 0, end = 0; column < row.width; column = end) {
    end = column + EcqChunkAt(row.width, column);
    const int shift = activity->Shift();
    const int64_t active = activity->active;
    auto sums = NoSums(di);
    size_t i = column;
    // A place takes a word at most, and a vector of them is read at once.
    if (HWY_LIKELY(static_cast<size_t>(at->end - at->next) >= 2 * (end - column + lanes))) {
      for (; i + lanes <= end; i += lanes) ReadLanes(df, tables.slots(), row, i, shift, at, &sums);
    }
    AddSums(di, sums, activity);
    if (HWY_UNLIKELY(IsFar(di, sums) || i < end)) {
      ReadPlaces(tables, row, i, end, shift, coder, activity);
      int64_t exact = 0;
      if (!ReadFarCodes(row, column, end, raw, &exact)) return false;
      activity->active = active + exact;
    }
    (*learn)(column, end);
  }
  return true;
}

bool ReadRow(const RansTables& tables, const EcqRow& row, EcqActivity* activity, RansDecoder* coder,
             RawBitReader* raw) {
  const hn::CappedTag<float, 8> df8;
  const size_t most = std::min(EcqLeastChunk(row.width), coder->cursor()->states);
  LearnNothing nothing;
  if (most >= hn::Lanes(ecq::DF()))
    return ReadRowBy(ecq::DF(), tables, row, activity, coder, raw, &nothing);
  if (most >= hn::Lanes(df8)) return ReadRowBy(df8, tables, row, activity, coder, raw, &nothing);
  return EcqReadRowScalar(tables, row, activity, coder, raw);
}

template <bool kSlot>
bool ReadAndLearnOf(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                    RansDecoder* coder, RawBitReader* raw, const EcqFusedLesson& fused) {
  LearnChunk<kSlot> learn(fused);
  const bool vectors = coder->cursor()->states >= hn::Lanes(ecq::DF());
  const bool good = vectors ? ReadRowBy(ecq::DF(), tables, row, activity, coder, raw, &learn)
                            : ReadRow(tables, row, activity, coder, raw);
  if (!good) return false;
  if (!vectors) learn(0, row.width);
  *fused.largest = learn.Largest();
  return true;
}

bool ReadAndLearnRow(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                     RansDecoder* coder, RawBitReader* raw, const EcqFusedLesson& fused) {
  if (fused.lesson->slot != nullptr)
    return ReadAndLearnOf<true>(tables, row, activity, coder, raw, fused);
  return ReadAndLearnOf<false>(tables, row, activity, coder, raw, fused);
}

}  // namespace HWY_NAMESPACE
}  // namespace isthmus
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace isthmus {
namespace {
HWY_EXPORT(CodeRow);
HWY_EXPORT(ReadRow);
HWY_EXPORT(CodeAndLearnRow);
HWY_EXPORT(ReadAndLearnRow);
}  // namespace

uint32_t EcqCodeRow(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                    EcqActivity* activity, RawBitWriter* raw, uint16_t* ops) {
  return HWY_DYNAMIC_DISPATCH(CodeRow)(input, limits, row, activity, raw, ops);
}
bool EcqReadRow(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                RansDecoder* coder, RawBitReader* raw) {
  return HWY_DYNAMIC_DISPATCH(ReadRow)(tables, row, activity, coder, raw);
}
uint32_t EcqCodeAndLearnRow(const EcqRowInput& input, const EcqLimits& limits, const EcqRow& row,
                            EcqActivity* activity, RawBitWriter* raw, uint16_t* ops,
                            const EcqFusedLesson& learn) {
  return HWY_DYNAMIC_DISPATCH(CodeAndLearnRow)(input, limits, row, activity, raw, ops, learn);
}
bool EcqReadAndLearnRow(const RansTables& tables, const EcqRow& row, EcqActivity* activity,
                        RansDecoder* coder, RawBitReader* raw, const EcqFusedLesson& learn) {
  return HWY_DYNAMIC_DISPATCH(ReadAndLearnRow)(tables, row, activity, coder, raw, learn);
}

}  // namespace isthmus
#endif  // HWY_ONCE
