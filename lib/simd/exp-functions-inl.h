// The functions Exp and Expm1 of any x. f64: by the reduction of exp-inl.h, what it loses carried along. f32: in f64,
// rounded once.

#if defined(XENT_SIMD_EXP_FUNCTIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_EXP_FUNCTIONS_INL_H_
#undef XENT_SIMD_EXP_FUNCTIONS_INL_H_
#else
#define XENT_SIMD_EXP_FUNCTIONS_INL_H_
#endif

#include <limits>

#include "lib/simd/exp-inl.h"
#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// e^x = power + power * fraction.
template <class D>
struct PowerAndFraction {
  hn::Vec<D> power;
  hn::Vec<D> fraction;
};

#if HWY_TARGET == HWY_AVX3
// As the exponential of f32 above, in eighths of n: where eight f64 are one vector, the table is one permutation, and
// five multiplications less make f32 functions a third faster. Made by tools/coefficients.
constexpr double kEighthsTailF64[] = {0x1000000000010dp-53, 0x1555555555518ep-55, 0x155555547fe3f3p-57,
                                      0x111111123ce96ap-59, 0x16c1cc0f2b9abbp-62, 0x1a016e99d6bc4fp-65};
alignas(64) constexpr uint64_t kEighthsF64[] = {0x3ff0000000000000ull, 0x3fef72b83c7d517bull, 0x3fef06fe0a31b715ull,
                                                0x3feebfdad5362a27ull, 0x3feea09e667f3bcdull, 0x3feeace5422aa0dbull,
                                                0x3feee89f995ad3adull, 0x3fef5818dcfba487ull};

template <class DU>
HWY_INLINE hn::Vec<DU> EighthsF64(DU du, hn::Vec<DU> index) {
  return hn::TableLookupLanes(hn::Load(du, kEighthsF64), hn::IndicesFromVec(du, index));
}

template <class DU, int kCount>
HWY_INLINE hn::Pack<DU, kCount> EighthsF64(hn::PackTag<DU, kCount>, const hn::Pack<DU, kCount>& index) {
  return hn::MakePack<DU, kCount>([&](int i) XENT_LAMBDA { return EighthsF64(DU(), index.at[i]); });
}

template <class D>
HWY_INLINE PowerAndFraction<D> ShortExp(D d, hn::Vec<D> x) {
  const hn::RebindToUnsigned<D> du;
  const auto magic = hn::Set(d, 0x1.8p49);
  const auto shifted = hn::MulAdd(x, hn::Set(d, ExpConstants<double>::kLog2E), magic);
  const auto n = hn::Sub(shifted, magic);
  const auto high = hn::NegMulAdd(n, hn::Set(d, kExpLn2F64[0]), x);
  const auto r = hn::NegMulAdd(n, hn::Set(d, kExpLn2F64[1]), high);
  const auto r2 = hn::Mul(r, r);
  const auto pair = [d, r](int k) XENT_LAMBDA {
    return hn::MulAdd(hn::Set(d, kEighthsTailF64[k + 1]), r, hn::Set(d, kEighthsTailF64[k]));
  };
  const auto tail = hn::MulAdd(hn::MulAdd(pair(4), r2, pair(2)), r2, pair(0));
  const auto bits = hn::BitCast(du, shifted);
  const auto eighths = EighthsF64(du, bits);
  return {hn::BitCast(d, hn::Add(eighths, hn::ShiftLeft<49>(bits))), hn::MulAdd(tail, r2, r)};
}
#else
template <class D>
HWY_INLINE PowerAndFraction<D> ShortExp(D d, hn::Vec<D> x) {
  const auto reduced = ReduceExp(d, x);
  return {AddExponent(d, hn::Set(d, 1.0), reduced.shifted), ExpFraction(d, reduced.remainder)};
}
#endif

// e^x of f32 arguments in f64, and e^x - 1, for |x| < 700.
template <class D>
HWY_INLINE hn::Vec<D> ExpInDoubles(D d, hn::Vec<D> x) {
  const auto e = ShortExp(d, x);
  return hn::MulAdd(e.power, e.fraction, e.power);
}

template <class D>
HWY_INLINE hn::Vec<D> Expm1InDoubles(D d, hn::Vec<D> x) {
  const auto e = ShortExp(d, x);
  return hn::MulAdd(e.power, e.fraction, hn::Sub(e.power, hn::Set(d, 1.0)));
}

// An unevaluated sum, |low| far below |high|.
template <class D>
struct Parts {
  hn::Vec<D> high;
  hn::Vec<D> low;
};

// What rounding a + b to `sum` lost, if |a| >= |b|, or a is a multiple of the last place of b (as 0 is).
template <class V>
HWY_INLINE V LostBySum(const V& a, const V& b, const V& sum) {
  return hn::Sub(b, hn::Sub(sum, a));
}

// high + low, low at most half a unit of high.
template <class D>
HWY_INLINE Parts<D> Settled(const Parts<D>& x) {
  const auto sum = hn::Add(x.high, x.low);
  return {sum, LostBySum(x.high, x.low, sum)};
}

// x = n ln 2 + remainder + low; `low` is what rounding the remainder lost.
template <class D>
struct ReducedParts {
  hn::Vec<D> remainder;
  hn::Vec<D> low;
  hn::Vec<D> shifted;  // kMagic + n
};

// kMagic + n.
template <class D>
HWY_INLINE hn::Vec<D> ShiftedExponent(D d, hn::Vec<D> x) {
  using E = ExpConstants<double>;
  return hn::MulAdd(x, hn::Set(d, E::kLog2E), hn::Set(d, E::kMagic));
}

// In f64. n times the first part of ln 2 is exact, and n times the second at most 2^-24, so that no step needs a fused
// multiply-add.
template <class D>
HWY_INLINE ReducedParts<D> ReduceToParts(D d, hn::Vec<D> x, hn::Vec<D> shifted) {
  using E = ExpConstants<double>;
  const auto n = hn::Sub(shifted, hn::Set(d, E::kMagic));
  const auto high = hn::NegMulAdd(n, hn::Set(d, E::kLn2[0]), x);
  const auto low = hn::Mul(n, hn::Set(d, E::kLn2[1]));
  const auto remainder = hn::Sub(high, low);
  return {remainder, hn::Sub(hn::Sub(high, remainder), low), shifted};
}

// base + (e^(r + low) - 1), base 0 or at least as large as |r|. A base of 1 - 2^-n gives (e^x - 1) 2^-n without
// cancellation.
template <class D>
HWY_INLINE Parts<D> AddExpm1(D d, hn::Vec<D> base, const ReducedParts<D>& x) {
  const auto r = x.remainder;
  const auto sum = hn::Add(base, r);
  const auto lost = hn::Sub(r, hn::Sub(sum, base));
  const auto r2 = hn::Mul(r, r);
  const auto small = hn::Add(lost, hn::MulAdd(x.low, r, x.low));
  return {sum, hn::MulAdd(r2, ExpTail(d, r, r2), small)};
}

// e^x = (high + low) * 2^n for x below overflow, n in the low bits of `shifted`. Where e^x is subnormal, high + low has
// 2^(-n - 1022) on top, so that it ends where the subnormal numbers end and one addition rounds it right; adding
// `exponent` to the bits of that sum gives e^x either way.
template <class D>
struct Exponential {
  Parts<D> mantissa;
  hn::Vec<hn::RebindToUnsigned<D>> exponent;
  hn::Vec<hn::RebindToUnsigned<D>> n;  // in the place of the exponent
};

template <class D>
HWY_INLINE Exponential<D> ExpParts(D d, hn::Vec<D> x) {
  const hn::RebindToUnsigned<D> du;
  constexpr double kZero = -746.0;                        // e^x rounds to 0 from -745.13 on
  constexpr double kLeastNormal = -0x1.6232bdd7abcd2p+9;  // the least x with e^x >= 2^-1022: one ULP off costs 2^8
  constexpr double kLowestN = -1074.0;                    // that of the least subnormal number
  const auto bounded = hn::Max(x, hn::Set(d, kZero));
  const auto shifted = hn::Max(ShiftedExponent(d, bounded), hn::Set(d, ExpConstants<double>::kMagic + kLowestN));
  const auto reduced = ReduceToParts(d, bounded, shifted);
  const auto n = hn::ShiftLeft<52>(hn::BitCast(du, reduced.shifted));
  const auto one = hn::Set(du, 1ull << 52);
  const auto below = hn::RebindMask(du, hn::Lt(x, hn::Set(d, kLeastNormal)));
  const auto top = hn::BitCast(d, hn::IfThenElseZero(below, hn::Sub(one, n)));
  return {AddExpm1(d, hn::Add(hn::Set(d, 1.0), top), reduced), hn::Sub(n, hn::IfThenElseZero(below, one)), n};
}

// y with `bits` added to its bits.
template <class D>
HWY_INLINE hn::Vec<D> AddBits(D d, hn::Vec<D> y, hn::Vec<hn::RebindToUnsigned<D>> bits) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::Add(hn::BitCast(du, y), bits));
}

// 2^-n, n given in the place of the exponent. n = 1024 gives -inf.
template <class D>
HWY_INLINE hn::Vec<D> InversePower(D d, hn::Vec<hn::RebindToUnsigned<D>> n) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::Sub(hn::Set(du, 1023ull << 52), n));
}

// Where |x| is so small that expm1, log1p and tanh are x itself. A function works on zero there and puts x back in the
// end, since arithmetic on subnormal numbers takes the processor many times as long.
template <class D>
struct Tiny {
  static constexpr Lane<D> kLeast = sizeof(Lane<D>) == sizeof(float) ? Lane<D>(0x1p-30) : Lane<D>(0x1p-54);

  HWY_INLINE Tiny(D d, hn::Vec<D> x) : x_(x), mask_(hn::Lt(hn::Abs(x), hn::Set(d, kLeast))) {}
  HWY_INLINE hn::Vec<D> Without() const { return hn::IfThenZeroElse(mask_, x_); }
  HWY_INLINE hn::Vec<D> PutBack(hn::Vec<D> y) const { return hn::IfThenElse(mask_, x_, y); }

 private:
  hn::Vec<D> x_;
  hn::Mask<D> mask_;
};

// y with the sign of x; y is not negative, unless x is too.
template <class D>
HWY_INLINE hn::Vec<D> WithSignOf(D d, hn::Vec<D> y, hn::Vec<D> x) {
  return hn::Or(y, hn::And(x, hn::Set(d, Lane<D>(-0.0))));
}

// y, but NaN where x is.
template <class D>
HWY_INLINE hn::Vec<D> KeepNaN(D d, hn::Vec<D> x, hn::Vec<D> y) {
  return hn::IfThenElse(hn::Eq(x, x), y, hn::Set(d, CanonicalNaN<Lane<D>>()));
}

// y, but infinity where e^x is (f64), and NaN where x is. One selection waits for y.
template <class D>
HWY_INLINE hn::Vec<D> ExpSpecials(D d, hn::Vec<D> x, hn::Vec<D> y) {
  const auto largest = hn::Set(d, 0x1.62e42fefa39efp+9);
  const auto infinity = hn::Set(d, std::numeric_limits<double>::infinity());
  const auto special = hn::IfThenElse(hn::Gt(x, largest), infinity, hn::Set(d, CanonicalNaN<double>()));
  return hn::IfThenElse(hn::Le(x, largest), y, special);
}

// x in f64, within the range beyond which e^x is 0 or infinite in f32.
template <class D>
HWY_INLINE hn::Vec<D> ClampForExp(D d, hn::Vec<D> x) {
  return hn::Max(hn::Min(x, hn::Set(d, 89.0f)), hn::Set(d, -104.0f));
}

// f64: 0.61 ULP (x = 0x1.630c1fa96506ep-2; 0.63 without fused multiply-add). f32: correctly rounded.
struct Exp {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 6 : 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      const auto e = ExpParts(d, x);
      return ExpSpecials(d, x, AddBits(d, hn::Add(e.mantissa.high, e.mantissa.low), e.exponent));
    } else {
      const auto core = [](auto dd, auto wide) XENT_LAMBDA { return ExpInDoubles(dd, wide); };
      return KeepNaN(d, x, InDoubles(d, ClampForExp(d, x), core));
    }
  }
};

// The f32 argument whose expm1 lies so close to a boundary that the table's rounding tells, and its result.
constexpr float kStubbornExpm1[] = {0x1.84a5bap-4f, 0x1.97aed6p-4f};

// f64: 0.94 ULP (x = 0x1.6597034644ebep-2; 1.01 without fused multiply-add). f32: correctly rounded.
struct Expm1 {
  template <class C>
  static constexpr int kTogether = sizeof(C) == sizeof(float) ? 6 : 2;

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    if constexpr (sizeof(Lane<D>) == sizeof(double)) {
      const hn::RebindToUnsigned<D> du;
      const auto one = hn::Set(d, 1.0);
      const Tiny<D> tiny(d, x);
      const auto bounded = hn::Max(tiny.Without(), hn::Set(d, -60.0));  // -1 from -37.43 on
      const auto reduced = ReduceToParts(d, bounded, ShiftedExponent(d, bounded));
      const auto n = hn::ShiftLeft<52>(hn::BitCast(du, reduced.shifted));
      const auto inverse = hn::Max(InversePower(d, n), hn::Zero(d));
      const auto base = hn::Sub(one, inverse);
      const auto base_low = hn::Sub(hn::Sub(one, base), inverse);  // counts for n = 54
      const auto v = AddExpm1(d, base, reduced);
      const auto y = AddBits(d, hn::Add(v.high, hn::Add(v.low, base_low)), n);
      return ExpSpecials(d, x, tiny.PutBack(y));
    } else {
      const auto core = [](auto dd, auto wide) XENT_LAMBDA { return Expm1InDoubles(dd, wide); };
      const auto y = WithSignOf(d, InDoubles(d, ClampForExp(d, x), core), x);
      const auto is_stubborn = hn::Eq(x, hn::Set(d, kStubbornExpm1[0]));
      return KeepNaN(d, x, hn::IfThenElse(is_stubborn, hn::Set(d, kStubbornExpm1[1]), y));
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_EXP_FUNCTIONS_INL_H_
