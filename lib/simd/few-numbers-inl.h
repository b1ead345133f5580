// The numbers of rows of few classes (few-inl.h), lane = row: exponentials, products and logarithms as sums of two
// floats, and vectors of rows that lie one after another.

#if defined(XENT_SIMD_FEW_NUMBERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_FEW_NUMBERS_INL_H_
#undef XENT_SIMD_FEW_NUMBERS_INL_H_
#else
#define XENT_SIMD_FEW_NUMBERS_INL_H_
#endif

#undef XENT_HAS_FEW_ROWS

#include <algorithm>
#include <cstring>
#include <limits>

#include "lib/kernels.h"
#include "lib/simd/exp-functions-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// ln 2 and the logarithms of a table in two parts each, the first so coarse that multiples of ln 2 and a logarithm add
// up without rounding; numbers close to the inverses of a place's middle; (log(1 + r) - r) / r^2, lowest degree first.
// Made by tools/coefficients.
constexpr float kFewLn2[] = {0xb172p-16f, 0xbfbe8ep-43f};
constexpr float kFewLogInverses[] = {0xaabp-11f, 0x9d9p-11f, 0x925p-11f, 0x889p-11f,
                                     0x8p-3f,    0xe39p-12f, 0xccdp-12f, 0xba3p-12f};
constexpr float kFewLogs[] = {-0x935bp-17f, -0xd4c8p-18f, -0x88ecp-18f, -0x849cp-19f,
                              0x0p-24f,     0xf128p-19f,  0xe47p-14f,   0xa308p-17f};
constexpr float kFewLogsLow[] = {-0x824d42p-44f, 0x96e3a4p-42f, -0xe5e29p-39f,  -0xc29d0ep-43f,
                                 0x0p-24f,       0xee055ep-45f, -0x834657p-43f, 0xbc29c6p-42f};
constexpr float kFewLogTail[] = {-0x8p-4f, 0xaaaa7bp-25f, -0xffffafp-26f, 0xcdc76ap-26f, -0xab841dp-26f};

// The mantissa, less these bits, has the place in the tables on top, and 1 in the middle of a place.
constexpr uint32_t kFewLogLowBits = 0x3F380000u;

// Rows with smaller sums or labels further from 0, and larger sums, are careful: for the others no product overflows,
// and no probability is below the smallest normal number.
constexpr float kFewLeastSum = 0x1p-62f;
constexpr float kFewMostSum = 0x1p61f;
constexpr float kFewFarthestLabel = 42.0f;

// No plain logit is further from 0.
constexpr float kFewFarthest = 45.0f;

// Careful rows: e^x is a normal number down to here; a label that leads by so much makes numbers that floats barely
// hold.
constexpr float kFewLeastExponent = -0x1.5d589ep+6f;  // 2^-126
constexpr float kFewLongLead = 80.0f;

// Needs fused multiply-add, and blocks of four lanes.
#if HWY_NATIVE_FMA && HWY_TARGET != HWY_SCALAR
#define XENT_HAS_FEW_ROWS 1
#else
#define XENT_HAS_FEW_ROWS 0
#endif
constexpr bool kHasFewRows = XENT_HAS_FEW_ROWS;

#if XENT_HAS_FEW_ROWS

using FewTag = Tag<float>;
using FewVec = hn::Vec<FewTag>;
constexpr int64_t kFewRows = LanesOf<float>();  // of a vector

// Indices of classes: an operand in memory takes no place of a permutation.
struct FewIndices {
  constexpr FewIndices() : at() {
    for (int32_t j = 0; j < kFewClasses; ++j) at[j] = j;
  }
  constexpr int32_t operator[](int64_t j) const { return at[j]; }
  int32_t at[kFewClasses + 4];
};
constexpr FewIndices kFewIndices;

// power (1 + p) = high + low.
template <class D>
HWY_INLINE Parts<D> FewTimesNearOne(const hn::Vec<D>& power, const hn::Vec<D>& p) {
  const auto high = hn::MulAdd(power, p, power);
  return {high, hn::MulAdd(power, p, hn::Sub(power, high))};
}

// e^x = high + low, within 2^-26 of itself, made of what x and 2^n in it are reduced to; the result is a normal number.
template <class D>
HWY_INLINE Parts<D> FewExp(D d, const Reduced<D>& reduced) {
  return FewTimesNearOne<D>(EighthsPower(d, reduced.shifted), EighthsFraction(d, reduced.remainder));
}

// The same within 2^-27.
template <class D>
HWY_INLINE Parts<D> FewLongExp(D d, const Reduced<D>& reduced) {
  return FewTimesNearOne<D>(EighthsPower(d, reduced.shifted), LongEighthsFraction(d, reduced.remainder));
}

// a b, but for the product of what is low.
template <class D>
HWY_INLINE Parts<D> FewProduct(const Parts<D>& a, const Parts<D>& b) {
  const auto high = hn::Mul(a.high, b.high);
  const auto rest = hn::MulAdd(a.high, b.low, hn::MulSub(a.high, b.high, high));
  return {high, hn::MulAdd(a.low, b.high, rest)};
}

// e / (1 + e), e >= 0 and settled, sum = 1 + e.high rounded.
template <class D>
HWY_INLINE Parts<D> FewShare(D d, const Parts<D>& e, const hn::Vec<D>& sum) {
  const auto one = hn::Set(d, 1.0f);
  const auto sum_low = hn::Add(hn::Sub(e.high, hn::Sub(sum, one)), e.low);
  const auto inverse = hn::Div(one, sum);
  const auto share = hn::Mul(e.high, inverse);
  const auto lost = hn::Add(hn::NegMulAdd(share, sum, e.high), e.low);
  return {share, hn::Mul(hn::NegMulAdd(share, sum_low, lost), inverse)};
}

// log(1 + q) = high + low, to 2^-27 (not settled), sum = 1 + q.high rounded, q >= 0.
template <class D>
HWY_INLINE Parts<D> FewLogParts(D d, const Parts<D>& q, const hn::Vec<D>& sum) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::Sub(hn::BitCast(du, sum), hn::Set(du, kFewLogLowBits));
  const auto place = hn::BitCast(d, hn::ShiftRight<20>(bits));
  const auto k = hn::ConvertTo(d, hn::ShiftRight<23>(hn::BitCast(di, bits)));
  const auto exponent = hn::AndNot(hn::Set(du, 0x7FFFFFu), bits);
  const auto inverse_of_mantissa = hn::BitCast(du, LookUpEighth(d, kFewLogInverses, place));
  const auto inverse = hn::BitCast(d, hn::Sub(inverse_of_mantissa, exponent));
  // r = (1 + q) inverse - 1. What is not exact of inverse - 1 is nothing beside the logarithm.
  const auto product = hn::Mul(q.high, inverse);
  const auto r = hn::Add(product, hn::Sub(inverse, hn::Set(d, 1.0f)));  // exact
  const auto r_low = hn::MulAdd(q.low, inverse, hn::MulSub(q.high, inverse, product));
  const auto offset = hn::MulAdd(k, hn::Set(d, kFewLn2[0]), LookUpEighth(d, kFewLogs, place));  // exact
  const auto offset_low = hn::MulAdd(k, hn::Set(d, kFewLn2[1]), LookUpEighth(d, kFewLogsLow, place));
  const auto high = hn::Add(offset, r);
  const auto lost = hn::Sub(r, hn::Sub(high, offset));  // of the two, r is the smaller, or the only one
  // Where it is nothing beside r, a square might be subnormal, which takes a hundred cycles.
  const auto base = hn::IfThenZeroElse(hn::Lt(q.high, hn::Set(d, 0x1p-40f)), r);
  const auto square = hn::Mul(base, base);
  const auto tail_low = hn::MulAdd(hn::Set(d, kFewLogTail[1]), r, hn::Set(d, kFewLogTail[0]));
  const auto tail_high = hn::MulAdd(hn::Set(d, kFewLogTail[3]), r, hn::Set(d, kFewLogTail[2]));
  const auto tail = hn::MulAdd(hn::MulAdd(hn::Set(d, kFewLogTail[4]), square, tail_high), square, tail_low);
  const auto low = hn::Add(hn::Add(lost, offset_low), hn::NegMulAdd(r, r_low, r_low));
  return {high, hn::MulAdd(square, tail, low)};
}

template <class D>
HWY_INLINE hn::Vec<D> FewLogOnePlus(D d, const Parts<D>& q, const hn::Vec<D>& sum) {
  const auto log = FewLogParts(d, q, sum);
  return hn::Add(log.high, log.low);
}

// Terms of careful rows are 2^16 times as large, so that all of them are normal numbers.
constexpr int kFewRaised = 16;

// (x + x_low) reduced, x_low at most a rounding error of x, and raised.
HWY_INLINE Reduced<FewTag> RaisedExp(FewVec x, FewVec x_low) {
  const FewTag d;
  const auto reduced = ReduceExp(d, x);
  return {hn::Add(reduced.remainder, x_low), hn::Add(reduced.shifted, hn::Set(d, static_cast<float>(kFewRaised)))};
}

// q, and what the probabilities of the label and of the others have above 1 + q.
template <class D>
struct FewRatios {
  Parts<D> q;
  Parts<D> own;
  Parts<D> others;
};

HWY_INLINE Parts<FewTag> Choose(hn::Mask<FewTag> mask, const Parts<FewTag>& a, const Parts<FewTag>& b) {
  return {hn::IfThenElse(mask, a.high, b.high), hn::IfThenElse(mask, a.low, b.low)};
}

// Those of careful rows, with the gap A - x_y: the loss is log(1 + q), and the gap if the label trails. Where the label
// leads far, q is not what it should be: see FewLeads.
HWY_INLINE FewRatios<FewTag> CarefulRatios(const Parts<FewTag>& sum, FewVec gap, FewVec gap_low) {
  const FewTag d;
  const auto one = hn::Set(d, 1.0f);
  const auto trails = hn::Gt(gap, hn::Zero(d));
  const auto farthest = hn::Set(d, kFewLeastExponent);
  const auto distance = hn::Neg(hn::Abs(gap));
  // Beside the sum of a row whose label trails far, e^-D is nothing, and numbers on the way would be subnormal.
  const auto is_near = hn::Gt(distance, hn::IfThenElse(trails, hn::Set(d, -60.0f), farthest));
  const auto lost = hn::IfThenElse(trails, hn::Neg(gap_low), gap_low);
  const auto e = FewExp(d, RaisedExp(hn::Max(distance, farthest), hn::IfThenElseZero(is_near, lost)));
  const auto lowered = hn::IfThenElseZero(is_near, hn::Set(d, 1.0f / (1 << kFewRaised)));
  const Parts<FewTag> nearest = {hn::Mul(e.high, lowered), hn::Mul(e.low, lowered)};
  const auto product = FewProduct(sum, nearest);
  const auto less = hn::Sub(sum.high, one);  // exact: one of the terms is 1
  const auto high = hn::Add(less, nearest.high);
  const auto low = hn::Add(LostByAnySum(less, nearest.high, high), hn::Add(sum.low, nearest.low));
  const Parts<FewTag> whole = {one, hn::Zero(d)};
  return {Choose(trails, {high, low}, product), Choose(trails, whole, nearest), Choose(trails, sum, product)};
}

// SmallTimes with a factor of any size for each lane, m 2^-k with m in [1, 2): where k < 0, no result is subnormal.
struct FewSmallTimes {
  // factor 2^-shift; negative: of the result.
  HWY_INLINE FewSmallTimes(FewVec factor, int shift, bool is_negative) {
    const FewTag d;
    const hn::RebindToUnsigned<FewTag> du;
    const auto one = hn::BitCast(du, hn::Set(d, 1.0f));
    const auto bits = hn::AndNot(hn::BitCast(du, hn::Set(d, -0.0f)), hn::BitCast(du, factor));
    const auto field = hn::AndNot(hn::Set(du, 0x7FFFFFu), bits);
    mantissa = hn::BitCast(d, hn::Add(hn::Sub(bits, field), one));
    exponent = hn::Sub(hn::Add(one, hn::Set(du, static_cast<uint32_t>(shift) << 23)), field);
    least = hn::BitCast(d, hn::Add(exponent, hn::Set(du, 1u << 23)));
    sign = hn::Set(du, is_negative ? 0x80000000u : 0u);
  }

  HWY_INLINE FewVec operator()(FewVec x) const {
    const FewTag d;
    const hn::RebindToUnsigned<FewTag> du;
    const auto product = hn::Mul(x, mantissa);
    const auto normal = hn::Sub(hn::BitCast(du, product), exponent);
    const auto raised = hn::BitCast(du, hn::MulAdd(x, mantissa, least));
    const auto subnormal = hn::Sub(raised, hn::BitCast(du, least));
    const auto is_normal = hn::RebindMask(du, hn::Ge(product, least));
    const auto is_something = hn::RebindMask(du, hn::Gt(x, hn::Zero(d)));
    const auto size = hn::IfThenElseZero(is_something, hn::IfThenElse(is_normal, normal, subnormal));
    return hn::BitCast(d, hn::Or(size, sign));
  }

  FewVec mantissa;
  FewVec least;
  hn::Vec<hn::RebindToUnsigned<FewTag>> exponent;  // k in the place of the exponent
  hn::Vec<hn::RebindToUnsigned<FewTag>> sign;
};

// Four vectors of four lanes a block, each block transposed.
HWY_INLINE void TransposeBlocks(FewVec (&v)[4]) {
  const FewTag d;
  const hn::Repartition<double, FewTag> dd;
  const auto a = hn::BitCast(dd, hn::InterleaveLower(d, v[0], v[1]));
  const auto b = hn::BitCast(dd, hn::InterleaveUpper(d, v[0], v[1]));
  const auto e = hn::BitCast(dd, hn::InterleaveLower(d, v[2], v[3]));
  const auto f = hn::BitCast(dd, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(dd, a, e));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(dd, a, e));
  v[2] = hn::BitCast(d, hn::InterleaveLower(dd, b, f));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(dd, b, f));
}

using FewBlock = hn::CappedTag<float, 4>;

// The blocks as one vector.
template <class D, class Load>
HWY_INLINE hn::Vec<D> FromBlocks(D d, const Load& load) {
#if HWY_TARGET == HWY_AVX3
  auto all = _mm512_castps128_ps512(load(0).raw);
  all = _mm512_insertf32x4(all, load(1).raw, 1);
  all = _mm512_insertf32x4(all, load(2).raw, 2);
  return hn::Vec<D>{_mm512_insertf32x4(all, load(3).raw, 3)};
#else
  if constexpr (hn::MaxLanes(D()) == 4) {
    return load(0);
  } else {
    return hn::Combine(d, load(1), load(0));
  }
#endif
}

template <int kIndex, class D>
HWY_INLINE hn::Vec<FewBlock> BlockOf(D, hn::Vec<D> v) {
#if HWY_TARGET == HWY_AVX3
  return hn::Vec<FewBlock>{_mm512_extractf32x4_ps(v.raw, kIndex)};
#else
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else if constexpr (kIndex == 0) {
    return hn::LowerHalf(v);
  } else {
    return hn::UpperHalf(FewBlock(), v);
  }
#endif
}

// kClasses classes of as many rows, of which `from` is the first one's first, lane = row; nothing behind the last row
// is read. Lane 4 b + i has row 4 b + i. Of a single row, all lanes have it.
template <int kClasses>
HWY_INLINE void LoadClasses(const float* from, int64_t classes, bool is_single, FewVec (&v)[4]) {
  const FewBlock d;
  if (HWY_UNLIKELY(is_single)) {
    for (int64_t k = 0; k < kClasses; ++k) v[k] = hn::Set(FewTag(), from[k]);
    return;
  }
  for (int64_t i = 0; i < 4; ++i) {
    v[i] = FromBlocks(FewTag(), [&](int64_t b) XENT_LAMBDA {
      const float* const row = from + 4 * b * classes + i * classes;
      if (kClasses == 4 || 4 * b + i < kFewRows - 1) return hn::LoadU(d, row);
#if HWY_ARCH_X86
      return hn::MaskedLoad(hn::FirstN(d, kClasses), d, row);
#else
      // Elsewhere a masked load may read what it masks.
      float last[4] = {};
      std::memcpy(last, row, sizeof(float) * kClasses);
      return hn::LoadU(d, last);
#endif
    });
  }
  TransposeBlocks(v);
}

#endif  // XENT_HAS_FEW_ROWS

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_FEW_NUMBERS_INL_H_
