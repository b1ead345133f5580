// f32 functions in f32, correctly rounded all the same: a result is an unevaluated sum of two floats, within a bound of
// the exact value, and rounds to one and the same float wherever it rounds so with that bound added and taken away. A
// vector in which some lane does not, and a pack with a lane out of reach, are computed in f64 instead (but see
// OfFar in function_array.cc). All lanes of a vector at a time, not half of them: half to nine tenths of the time of
// f64. For AVX-512 and AVX2, where one permutation looks up 32 or 8 floats; the bits are everybody's, since a result
// has only one correct rounding. The proof is `xent ulp FUNCTION --exhaustive`.
//
// e^x = P (1 + r + w): n = rint(places x / ln 2), r = x - n ln 2 / places, P the float nearest to 2^(n / places), w
// what r^2/2 and higher powers add, and what r and P lack; with 8 places, or where 1 is subtracted, r^2/2 is in the
// head, beside r. log(m) = log(1 + r) - log(c), r = m c - 1, c close to 1/m and of so few bits that r is exact. log(1 +
// r) = r - r^2/2 + r^3 (...), where the sum of the first two terms and -log(c) keeps its rounding errors.

#if defined(XENT_SIMD_TWOFOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_TWOFOLD_INL_H_
#undef XENT_SIMD_TWOFOLD_INL_H_
#else
#define XENT_SIMD_TWOFOLD_INL_H_
#endif

#include "lib/simd/logistic-inl.h"
#include "lib/simd/twofold-tables-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

constexpr bool kHasTwofolds = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2;

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

// The entry of a table that the lowest bits of `index` name.
template <class D>
HWY_INLINE hn::Vec<D> LookUp(D d, const float* table, hn::Vec<D> index) {
  const auto places = hn::BitCast(hn::RebindToUnsigned<D>(), index).raw;
#if HWY_TARGET == HWY_AVX3
  return hn::Vec<D>{_mm512_permutex2var_ps(hn::Load(d, table).raw, places, hn::Load(d, table + 16).raw)};
#else
  return hn::Vec<D>{_mm256_permutevar8x32_ps(hn::Load(d, table).raw, places)};
#endif
}

template <class D, int kCount>
HWY_INLINE hn::Pack<D, kCount> LookUp(hn::PackTag<D, kCount>, const float* table, const hn::Pack<D, kCount>& index) {
  return hn::MakePack<D, kCount>([&](int i) XENT_LAMBDA { return LookUp(D(), table, index.at[i]); });
}

// Whether every lane of x is within reach; NaN is not.
template <class D, int kCount>
HWY_INLINE bool AreWithin(const hn::Pack<D, kCount>& x, float low, float high) {
  const hn::RebindToUnsigned<D> du;
  const D d;
  auto changed = hn::Zero(du);
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) {
    auto kept = x.at[i];
    if (high < std::numeric_limits<float>::infinity()) kept = hn::Min(kept, hn::Set(d, high));
    kept = hn::Max(kept, hn::Set(d, low));  // NaN becomes a number
    changed = OrXor(du, changed, hn::BitCast(du, x.at[i]), hn::BitCast(du, kept));
  }
  return hn::AllTrue(du, hn::Eq(changed, hn::Zero(du)));
}

// The float nearest to a result, and the one nearest to it if the sum of two floats errs as far as it can the other
// way.
template <class D>
struct Candidates {
  // Lanes where they differ, by vectors.
  HWY_INLINE auto Doubts() const {
    const hn::RebindToUnsigned<D> du;
    return hn::Xor(hn::BitCast(du, y), hn::BitCast(du, other));
  }

  hn::Vec<D> y;
  hn::Vec<D> other;
};

// A sum with the square of what its polynomial is of.
template <class D>
struct SquareParts {
  hn::Vec<D> high;
  hn::Vec<D> low;
  hn::Vec<D> square;
};

// More than the largest error of a sum: in parts of it, and of its square.
struct ErrorBound {
  float relative;
  float of_square;
};

constexpr bool kIsLongTable = kPlaceBits == 5;
constexpr ErrorBound BoundOf(Exp) { return {kIsLongTable ? 0x1p-36f : 0x1p-37f, 0.0f}; }
constexpr ErrorBound BoundOf(Sigmoid) { return BoundOf(Exp()); }
constexpr ErrorBound BoundOf(Expm1) { return {0x1p-37f, 0x1.6p-29f}; }
constexpr ErrorBound BoundOf(Log) {
  return kIsLongTable ? ErrorBound{0x1.bp-36f, 0.0f} : ErrorBound{0x1p-37f, 0x1.3p-28f};
}
constexpr ErrorBound BoundOf(Log1p) {
  return kIsLongTable ? ErrorBound{0x1.ep-36f, 0.0f} : ErrorBound{0x1p-37f, 0x1.3p-28f};
}
constexpr ErrorBound BoundOf(Softplus) {
  return kIsLongTable ? ErrorBound{0x1.4p-35f, 0.0f} : ErrorBound{0x1.6p-37f, 0x1.6p-28f};
}
constexpr ErrorBound BoundOf(LogSigmoid) { return BoundOf(Softplus()); }

template <class Op, class D>
HWY_INLINE Candidates<D> Nearest(Op op, D d, const Parts<D>& sum) {
  const auto error = hn::Set(d, BoundOf(op).relative);
  return {hn::Add(sum.high, hn::MulAdd(sum.high, error, sum.low)),
          hn::Add(sum.high, hn::NegMulAdd(sum.high, error, sum.low))};
}

template <class Op, class D>
HWY_INLINE Candidates<D> Nearest(Op op, D d, const SquareParts<D>& sum) {
  constexpr ErrorBound bound = BoundOf(Op());
  if constexpr (bound.of_square == 0.0f) {
    return Nearest(op, d, Parts<D>{sum.high, sum.low});
  } else {
    const auto error =
        hn::MulAdd(sum.square, hn::Set(d, bound.of_square), hn::Mul(hn::Abs(sum.high), hn::Set(d, bound.relative)));
    return {hn::Add(sum.high, hn::Add(sum.low, error)), hn::Add(sum.high, hn::Sub(sum.low, error))};
  }
}

// e^x = power (1 + head + tail), tail far below 1. kKeepsSquare: r^2/2 is in the head, and its rounding error is not
// lost; else it is in the tail, which suffices where r is small and the 1 stays. The power has so many octaves more.
template <class D, bool kKeepsSquare = kPlaceBits == 3, int kOctaves = 0>
struct TwofoldPower {
  HWY_INLINE TwofoldPower(D d, hn::Vec<D> x) {
    const hn::RebindToUnsigned<D> du;
    const auto magic = hn::Set(d, 0x1.8p23f + kOctaves * kPlaces);
    const auto shifted = hn::MulAdd(x, hn::Set(d, kPlaces * 0x1.715476p0f), magic);
    const auto n = hn::Sub(shifted, magic);
    const auto r = hn::NegMulAdd(n, hn::Set(d, kTwofoldTurn[0]), x);  // exact
    const auto low = hn::NegMulAdd(n, hn::Set(d, kTwofoldTurn[1]), LookUp(d, kTwofoldPowersLow, shifted));
    if constexpr (kKeepsSquare) {
      square = hn::Mul(r, r);
      auto fit = hn::MulAdd(r, hn::Set(d, kTwofoldExpTail[2]), hn::Set(d, kTwofoldExpTail[1]));
      // The fit is of 1/2, 1/6 ... or, where r is large, of 1/6, 1/24 ...
      if constexpr (kPlaceBits == 3) fit = hn::MulAdd(fit, r, hn::Set(d, kTwofoldExpTail[0]));
      static_assert(kPlaceBits == 3 || kTwofoldExpTail[0] == 0.5f, "what the fit begins with is r^2/2");
      const auto half = hn::Mul(r, hn::Set(d, 0.5f));
      head = hn::MulAdd(half, r, r);
      const auto lost_of_head = hn::MulAdd(half, r, hn::Sub(r, head));
      tail = hn::MulAdd(hn::Mul(square, r), fit, hn::MulAdd(low, head, hn::Add(low, lost_of_head)));
    } else {
      head = r;
      const auto whole = hn::Add(r, low);
      square = hn::Mul(whole, whole);
      const auto fit = hn::MulAdd(whole, hn::Set(d, kTwofoldExpTail[2]), hn::Set(d, kTwofoldExpTail[1]));
      tail = hn::MulAdd(square, hn::MulAdd(fit, whole, hn::Set(d, kTwofoldExpTail[0])), low);
    }
    const auto words = hn::BitCast(du, LookUp(d, reinterpret_cast<const float*>(kTwofoldPowers), shifted));
    power = hn::BitCast(d, hn::Add(words, hn::ShiftLeft<23 - kPlaceBits>(hn::BitCast(du, shifted))));
  }

  // e^x if that is above 2^-90 and finite.
  HWY_INLINE Parts<D> Exp() const {
    const auto first = hn::MulAdd(power, head, power);
    const auto rest = hn::MulAdd(power, tail, hn::MulAdd(power, head, hn::Sub(power, first)));
    return {first, rest};
  }

  hn::Vec<D> power;
  hn::Vec<D> head;
  hn::Vec<D> tail;
  hn::Vec<D> square;  // r^2
};

// offset + offset_low + log(1 + r), |r| < 0.025 or 0.068; if offset is not 0, r is about as large as the result at most
// (short_inverse of tools/coefficients), so that offset less the result is exact. `base`: r, or 0 where powers of r are
// nothing beside it and might be subnormal.
template <class D>
HWY_INLINE SquareParts<D> TwofoldLog1p(D d, hn::Vec<D> r, hn::Vec<D> base, hn::Vec<D> offset, hn::Vec<D> offset_low) {
  const auto minus_half = hn::Mul(base, hn::Set(d, -0.5f));
  const auto high = hn::MulAdd(minus_half, base, hn::Add(offset, r));
  const auto lost = hn::MulAdd(minus_half, base, hn::Add(hn::Sub(offset, high), r));  // the sum is exact
  const auto square = hn::Mul(base, base);
  const auto pair = [d, &r](int k) XENT_LAMBDA {
    return hn::MulAdd(hn::Set(d, kTwofoldLogTail[k + 1]), r, hn::Set(d, kTwofoldLogTail[k]));
  };
  auto high_powers = pair(2);
  if constexpr (kPlaceBits == 3) high_powers = hn::MulAdd(hn::Set(d, kTwofoldLogTail[4]), square, high_powers);
  const auto tail = hn::MulAdd(high_powers, square, pair(0));
  return {high, hn::MulAdd(hn::Mul(square, base), tail, hn::Add(lost, offset_low)), square};
}

// What r_low adds to log(1 + r).
template <class V>
HWY_INLINE V StepOfLog1p(const V& r, const V& r_low) {
  return hn::NegMulAdd(r_low, hn::NegMulAdd(r, r, r), r_low);
}

// Where sums of two floats reach. To the left of it sigmoid and softplus are e^x to f64 and beyond.
constexpr float kTwofoldLeast = -60.0f;

struct Reach {
  float low;
  float high;
};

constexpr float kLargestFloat = std::numeric_limits<float>::max();
constexpr Reach ReachOf(Sigmoid) { return {kTwofoldLeast, std::numeric_limits<float>::infinity()}; }
constexpr Reach ReachOf(Softplus) { return {kTwofoldLeast, kLargestFloat}; }
constexpr Reach ReachOf(LogSigmoid) { return {-kLargestFloat, -kTwofoldLeast}; }
constexpr Reach ReachOf(Log) { return {std::numeric_limits<float>::min(), kLargestFloat}; }
constexpr Reach ReachOf(Log1p) { return {-0x1.fffffep-1f, 0x1p120f}; }

// -|x|, within reach, and not subnormal: below 2^-40 results are those of 0.
HWY_INLINE hn::Vec<Tag<float>> BoundedMinus(Tag<float> d, hn::Vec<Tag<float>> x) {
  const auto least = hn::Set(d, kTwofoldLeast);
  const auto most = hn::Set(d, -0x1p-40f);
#if HWY_TARGET == HWY_AVX3
  // The lesser or larger magnitude, with a minus.
  return hn::Vec<Tag<float>>{_mm512_range_ps(_mm512_range_ps(x.raw, least.raw, 14), most.raw, 15)};
#else
  return hn::Max(hn::Min(MinusMagnitude(d, x), most), least);
#endif
}

template <class D, int kCount>
HWY_INLINE hn::Pack<D, kCount> BoundedMinus(hn::PackTag<D, kCount>, const hn::Pack<D, kCount>& x) {
  return hn::MakePack<D, kCount>([&](int i) XENT_LAMBDA { return BoundedMinus(D(), x.at[i]); });
}

constexpr float kTwofoldMost = 88.6f;  // 2^128 would be infinite
constexpr Reach ReachOf(Exp) { return {kTwofoldLeast, kTwofoldMost}; }
constexpr Reach ReachOf(Expm1) { return {-std::numeric_limits<float>::infinity(), kTwofoldMost}; }

template <class D>
HWY_INLINE Parts<D> SumOf(Exp, D d, hn::Vec<D> x) {
  return TwofoldPower<D>(d, x).Exp();
}

template <class D>
HWY_INLINE SquareParts<D> SumOf(Expm1, D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const TwofoldPower<D, true> e(d, hn::Max(x, hn::Set(d, kTwofoldLeast)));
  const auto base = hn::Sub(e.power, one);
  const auto less = hn::Sub(base, e.power);
  const auto base_low = hn::Sub(hn::Sub(e.power, hn::Sub(base, less)), hn::Add(one, less));
  const auto first = hn::MulAdd(e.power, e.head, base);
  const auto rest = hn::MulAdd(e.power, e.head, hn::Sub(base, first));
  return {first, hn::MulAdd(e.power, e.tail, hn::Add(rest, base_low)), e.square};
}

template <class D>
HWY_INLINE Parts<D> SumOf(Sigmoid, D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const auto e = Settled(TwofoldPower<D>(d, BoundedMinus(d, x)).Exp());
  const auto is_negative = hn::Lt(x, hn::Zero(d));
  const auto numerator = hn::IfThenElse(is_negative, e.high, one);
  const auto denominator = hn::Add(one, e.high);
  const auto denominator_low = hn::Add(LostBySum(one, e.high, denominator), e.low);
  const auto inverse = hn::Div(one, denominator);
  const auto q = hn::Mul(numerator, inverse);
  const auto rest = hn::Add(hn::NegMulAdd(q, denominator, numerator), hn::IfThenElseZero(is_negative, e.low));
  return {q, hn::Mul(hn::NegMulAdd(q, denominator_low, rest), inverse)};
}

// log(1 + e^-|x|) + positive.
template <class D>
HWY_INLINE SquareParts<D> SumOfSoftplus(D d, hn::Vec<D> x, hn::Vec<D> positive) {
  const auto one = hn::Set(d, 1.0f);
  const auto e = Settled(TwofoldPower<D>(d, BoundedMinus(d, x)).Exp());
  const auto u = hn::Add(one, e.high);
  const auto index = hn::MulAdd(e.high, hn::Set(d, kTwofoldSoftplusSteps), hn::Set(d, 0x1.8p23f));
  const auto c = LookUp(d, kTwofoldSoftplusInverses, index);
  const auto near = hn::MulSub(u, c, one);  // exact
  const auto rest = hn::Mul(LostBySum(one, e.high, u), c);
  const auto r = hn::Add(near, rest);
  const auto r_low = hn::MulAdd(e.low, c, LostBySum(near, rest, r));
  const auto base = hn::IfThenZeroElse(hn::Lt(e.high, hn::Set(d, 0x1p-40f)), r);
  // What is known early is added early. (of_c is a multiple of 2^-17, or 0.)
  const auto of_c = LookUp(d, kTwofoldSoftplusLogs, index);
  const auto offset = hn::Add(of_c, positive);
  const auto offset_low = hn::Add(LostBySum(of_c, positive, offset), LookUp(d, kTwofoldSoftplusLogsLow, index));
  return TwofoldLog1p(d, r, base, offset, hn::Add(offset_low, StepOfLog1p(r, r_low)));
}

template <class D>
HWY_INLINE SquareParts<D> SumOf(Softplus, D d, hn::Vec<D> x) {
  return SumOfSoftplus(d, x, hn::Max(x, hn::Zero(d)));
}

// Less the sign.
template <class D>
HWY_INLINE SquareParts<D> SumOf(LogSigmoid, D d, hn::Vec<D> x) {
  return SumOfSoftplus(d, x, hn::Neg(hn::Min(x, hn::Zero(d))));
}

template <class D>
struct LogPlace {
  HWY_INLINE LogPlace(D d, hn::Vec<D> x) : LogPlace(d, x, hn::Zero(d)) {}

  // Of x 2^-octaves.
  HWY_INLINE LogPlace(D d, hn::Vec<D> x, hn::Vec<D> octaves) {
    const hn::RebindToUnsigned<D> du;
    const hn::RebindToSigned<D> di;
    bits = hn::Sub(hn::BitCast(du, x), hn::Set(du, kTwofoldLogLowBits));
    const auto index = hn::BitCast(d, hn::ShiftRight<23 - kPlaceBits>(bits));
    const auto k = hn::Sub(hn::ConvertTo(d, hn::ShiftRight<23>(hn::BitCast(di, bits))), octaves);
    inverse = LookUp(d, kTwofoldLogInverses, index);
    offset = hn::MulAdd(k, hn::Set(d, kTwofoldLn2[0]), LookUp(d, kTwofoldLogs, index));  // exact
    offset_low = hn::MulAdd(k, hn::Set(d, kTwofoldLn2[1]), LookUp(d, kTwofoldLogsLow, index));
  }

  // The mantissa, which `inverse` is close to the inverse of.
  HWY_INLINE hn::Vec<D> Mantissa(D d) const {
    const hn::RebindToUnsigned<D> du;
    const auto fraction = hn::And(bits, hn::Set(du, 0x7FFFFFu));
    return hn::BitCast(d, hn::Add(fraction, hn::Set(du, kTwofoldLogLowBits)));
  }

  // The same of the number itself.
  HWY_INLINE hn::Vec<D> InverseOfAll(D d) const {
    const hn::RebindToUnsigned<D> du;
    const auto exponent = hn::AndNot(hn::Set(du, 0x7FFFFFu), bits);
    return hn::BitCast(d, hn::Sub(hn::BitCast(du, inverse), exponent));
  }

  hn::Vec<hn::RebindToUnsigned<D>> bits;
  hn::Vec<D> inverse;
  hn::Vec<D> offset;
  hn::Vec<D> offset_low;
};

template <class D>
HWY_INLINE SquareParts<D> SumOfLog(D d, const LogPlace<D>& place) {
  const auto r = hn::MulSub(place.Mantissa(d), place.inverse, hn::Set(d, 1.0f));  // exact
  return TwofoldLog1p(d, r, r, place.offset, place.offset_low);
}

template <class D>
HWY_INLINE SquareParts<D> SumOf(Log, D d, hn::Vec<D> x) {
  return SumOfLog(d, LogPlace<D>(d, x));
}

template <class D>
HWY_INLINE SquareParts<D> SumOf(Log1p, D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const LogPlace<D> place(d, hn::Add(one, x));
  const auto inverse = place.InverseOfAll(d);
  const auto product = hn::Mul(x, inverse);
  const auto difference = hn::Sub(inverse, one);
  const auto lost = hn::Sub(inverse, hn::Add(difference, one));
  const auto near = hn::Add(product, difference);  // exact
  const auto rest = hn::Add(hn::MulSub(x, inverse, product), lost);
  const auto r = hn::Add(near, rest);
  const auto r_low = LostBySum(near, rest, r);
  return TwofoldLog1p(d, r, r, place.offset, hn::Add(place.offset_low, StepOfLog1p(r, r_low)));
}

// log(p) where `of_p`, else log(1 - p): of a number that is not below the smallest normal one.
template <class D>
HWY_INLINE Candidates<D> NearestLogOfEither(D d, hn::Vec<D> p, hn::Mask<D> of_p) {
  const auto one = hn::Set(d, 1.0f);
  const auto rest = hn::Sub(one, p);
  const auto y = hn::IfThenElse(of_p, p, rest);
  const auto y_low = hn::IfThenZeroElse(of_p, hn::Sub(hn::Sub(one, rest), p));
  const LogPlace<D> place(d, y);
  const auto near = hn::MulSub(place.Mantissa(d), place.inverse, one);  // exact
  const auto lost = hn::Mul(y_low, place.InverseOfAll(d));
  const auto r = hn::Add(near, lost);
  const auto base = hn::IfThenZeroElse(hn::Lt(hn::Abs(r), hn::Set(d, 0x1p-40f)), r);
  const auto r_low = LostBySum(near, lost, r);
  const auto offset_low = hn::Add(place.offset_low, StepOfLog1p(r, r_low));
  return Nearest(Log1p(), d, TwofoldLog1p(d, r, base, place.offset, offset_low));
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_TWOFOLD_INL_H_
