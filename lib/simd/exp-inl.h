// e^x for sums of exponentials: n = rint(x / ln 2), r = x - n ln 2 in two steps, e^x = (1 + (r + r^2 q(r))) * 2^n. f64
// as it stands and f32 in eighths of n: r is an eighth as large, four coefficients do, and 2^n comes from a table of
// the eight 2^(j/8). All eight were scaled by one number that brings each within 0.04 ULP of a float; the polynomial
// takes that scale out again. Nothing is rounded before the reduction, so a row needs no x - max. No special values:
// callers keep x in range. Largest error with fused multiply-add (tools/coefficients for the approximation; rounding
// for the rest): f32 0.71 ULP, f64 0.64 ULP.

#if defined(XENT_SIMD_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_EXP_INL_H_
#undef XENT_SIMD_EXP_INL_H_
#else
#define XENT_SIMD_EXP_INL_H_
#endif

#include "lib/row_state.h"
#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// ln 2 in two parts (the first short enough that n times it is exact), then polynomials, lowest degree first.
// Made by tools/coefficients; tools/coefficients --check compares.
constexpr float kExpLn2F32[] = {0xb17p-12f, 0x85fdf4p-38f};
constexpr float kExpTailF32[] = {0xa84503p-32f, 0x805423p-23f, 0x805949p-24f, 0xab16a9p-26f};
constexpr float kExpLongTailF32[] = {0xa84553p-32f, 0x805423p-23f, 0x80542p-20f, 0xab170dp-26f, 0xab4ca7p-28f};
constexpr uint32_t kExpEighthsF32[] = {0x1f7f5829u, 0x1f7b3a3eu, 0x1f77d424u, 0x1f759202u,
                                       0x1f748e45u, 0x1f74e5beu, 0x1f76b7dau, 0x1f7a26deu};
constexpr double kExpLn2F64[] = {0x162e42ffp-29, -0x1718432a1b0e26p-87};
constexpr double kExpTailF64[] = {
    0x15555555555559p-55, 0x15555555555558p-57, 0x1111111110f714p-59, 0x16c16c16c175acp-62, 0x1a01a01af9df22p-65,
    0x1a01a019937277p-68, 0x171ddf924d8339p-71, 0x127e5042df2107p-74, 0x1af5d41a887d86p-78, 0x11f2758512576ap-81};

template <class C>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kLog2E = 0x1.715476p0f;
  // Adding it rounds to eighths and leaves their number in the low bits, 64 octaves more, so that bits of plain rows
  // differ in the lowest ten only. (The table takes these octaves away again.)
  static constexpr float kMagic = 0x1.8p20f + 64.0f;
  static constexpr int kExponentShift = 20;  // from there to the exponent
  static constexpr const float* kLn2 = kExpLn2F32;
  static constexpr int kStepsPerOctave = 8;
  static constexpr int kPlainExponent = 64;  // plain rows have n in [-64, 64)
  // Less than this is 0 beside a plain exponential: its probability is below the smallest normal number.
  static constexpr float kMasked = -150.0f;
  // e^x relative to the largest stays above 2^kLowest or counts as 0.
  static constexpr int kLowest = -125;
  // Logits up to here are reduced as they are; beyond, minus their maximum. Any x within reach of the result of such a
  // maximum lies within a factor of two of it, so that the difference is exact.
  static constexpr float kAnchorFree = 256.0f;
  static constexpr float kNegligible = -400.0f;  // e^x is 0 beside any anchor-free maximum
};

template <>
struct ExpConstants<double> {
  static constexpr double kLog2E = 0x1.71547652b82fep0;
  static constexpr double kMagic = 0x1.8p52;
  static constexpr int kExponentShift = 52;
  static constexpr const double* kLn2 = kExpLn2F64;
  static constexpr int kStepsPerOctave = 1;
  static constexpr int kPlainExponent = 512;
  static constexpr double kMasked = -1100.0;
  static constexpr int kLowest = -1021;
  static constexpr double kAnchorFree = 2048.0;
  static constexpr double kNegligible = -3000.0;
};

template <class D>
struct Reduced {
  hn::Vec<D> remainder;
  hn::Vec<D> shifted;  // kMagic + n
};

template <class D>
HWY_INLINE Reduced<D> ReduceExp(D d, hn::Vec<D> x) {
  using E = ExpConstants<Lane<D>>;
  const auto magic = hn::Set(d, E::kMagic);
  const auto shifted = hn::MulAdd(x, hn::Set(d, E::kLog2E), magic);
  const auto n = hn::Sub(shifted, magic);
  const auto high = hn::NegMulAdd(n, hn::Set(d, E::kLn2[0]), x);
  return {hn::NegMulAdd(n, hn::Set(d, E::kLn2[1]), high), shifted};
}

// What rounding a + b to `sum` lost.
template <class V>
HWY_INLINE V LostByAnySum(const V& a, const V& b, const V& sum) {
  const auto from_b = hn::Sub(sum, a);
  return hn::Add(hn::Sub(a, hn::Sub(sum, from_b)), hn::Sub(b, from_b));
}

// Logits of bf16 and f16, whose gradients are rounded far more coarsely, are reduced in one step: with ln 2 as one
// float e^x comes out as e^x (1 - kBias x). A sum of such terms takes it out again: see Unbiased. (A tenth of the
// time.)
template <class T>
constexpr bool kHasOneStep = sizeof(T) == 2 && HWY_NATIVE_FMA;
constexpr float kLn2F32 = 0xb17218p-24f;
constexpr double kBias = kLn2F32 / 0x1.62e42fefa39efp-1 - 1.0;

template <class D>
HWY_INLINE Reduced<D> ReduceExpOnce(D d, hn::Vec<D> x) {
  using E = ExpConstants<float>;
  const auto shifted = hn::MulAdd(x, hn::Set(d, E::kLog2E), hn::Set(d, E::kMagic));
  const auto n = hn::Sub(shifted, hn::Set(d, E::kMagic));
  return {hn::NegMulAdd(n, hn::Set(d, kLn2F32), x), shifted};
}

// The correction of a sum of biased terms. Their mean x, by weight, is the sum's logarithm less an entropy between 0
// and 11, of which 4 is taken out: 2e-8 of the sum stay at most.
inline double Unbiased(double sum) {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  return sum * (kBias * (kLn2 * static_cast<double>(ExponentOf(sum)) - 4.0));
}

// (e^r - 1 - r) / r^2 in f64. By pairs (Estrin): ten steps one after another would leave the multipliers waiting. The
// 1/2 joins alone and last, so that its binade is rounded in once.
template <class D>
HWY_INLINE hn::Vec<D> ExpTail(D d, hn::Vec<D> r, hn::Vec<D> r2) {
  const auto pair = [d, r](int k) XENT_LAMBDA {
    return hn::MulAdd(hn::Set(d, kExpTailF64[k + 1]), r, hn::Set(d, kExpTailF64[k]));
  };
  const auto r4 = hn::Mul(r2, r2);
  const auto low = hn::MulAdd(pair(2), r2, pair(0));
  const auto middle = hn::MulAdd(pair(6), r2, pair(4));
  const auto cubic = hn::MulAdd(r4, hn::MulAdd(r4, pair(8), middle), low);
  return hn::MulAdd(cubic, r, hn::Set(d, 0.5));
}

// e^r - 1 in f64.
template <class D>
HWY_INLINE hn::Vec<D> ExpFraction(D d, hn::Vec<D> r) {
  const auto r2 = hn::Mul(r, r);
  return hn::MulAdd(r2, ExpTail(d, r, r2), r);
}

// e^r in f64.
template <class D>
HWY_INLINE hn::Vec<D> ExpMantissa(D d, hn::Vec<D> r) {
  return hn::Add(hn::Set(d, 1.0), ExpFraction(d, r));
}

// value * 2^n, n in the low bits of `shifted`. The result must be a normal number.
template <class D>
HWY_INLINE hn::Vec<D> AddExponent(D d, hn::Vec<D> value, hn::Vec<D> shifted) {
  const hn::RebindToSigned<D> di;
  const auto n = hn::ShiftLeft<ExpConstants<Lane<D>>::kExponentShift>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, value), n));
}

// The entry of a table of eight words or floats that the three lowest bits of `index` name.
template <class D, class U>
HWY_INLINE hn::Vec<D> LookUpEighth(D d, const U* table, hn::Vec<D> index) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, index);
#if HWY_TARGET == HWY_SCALAR
  return hn::BitCast(d, hn::Set(hn::Rebind<U, D>(), table[hn::GetLane(bits) % 8]));
#else
  const auto load = [table](auto part, int64_t first) XENT_LAMBDA {
    return hn::BitCast(part, hn::LoadU(hn::Rebind<U, decltype(part)>(), table + first));
  };
  constexpr size_t kLanes = hn::MaxLanes(D());
  if constexpr (kLanes < 8) {
    const auto place = hn::IndicesFromVec(d, hn::And(bits, hn::Set(du, 3u)));
    const auto low = hn::TableLookupLanes(load(d, 0), place);
    const auto high = hn::TableLookupLanes(load(d, 4), place);
    return hn::IfThenElse(hn::RebindMask(d, hn::TestBit(bits, hn::Set(du, 4u))), high, low);
  } else {
    // These permutations look at just as many bits of an index as they need.
    static_assert(HWY_ARCH_X86, "another permutation may need its index cut to three bits");
    const auto place = hn::IndicesFromVec(d, bits);
    if constexpr (kLanes == 8) {
      return hn::TableLookupLanes(load(d, 0), place);
    } else {
      const auto half = load(hn::Half<D>(), 0);
      return hn::TableLookupLanes(hn::Combine(d, half, half), place);
    }
  }
#endif
}

template <class D, int kCount, class U>
HWY_INLINE hn::Pack<D, kCount> LookUpEighth(hn::PackTag<D, kCount>, const U* table, const hn::Pack<D, kCount>& index) {
  return hn::MakePack<D, kCount>([&](int i) XENT_LAMBDA { return LookUpEighth(D(), table, index.at[i]); });
}

#if HWY_TARGET == HWY_AVX3
// The table with its exponents.
struct WholeEighths {
  constexpr WholeEighths() : bits() {
    for (uint32_t i = 0; i < 16; ++i) bits[i] = kExpEighthsF32[i % 8] + (i % 8 << 20) + (64u << 23);
  }
  alignas(64) uint32_t bits[16];
};
constexpr WholeEighths kWholeEighths;
#endif

// 2^n, 8 n in the low bits of `shifted`, but for the scale of the table, which the polynomial takes out again. It is
// found while the polynomial is still on its way. (With AVX-512 one operation scales, for a shift and an addition, and
// the bits are the same. Intel, rows in cache: 0.93 of the time. Zen 4, bf16: 0.93 of the time that scaling the result
// takes.)
template <class D>
HWY_INLINE hn::Vec<D> EighthsPower(D d, hn::Vec<D> shifted) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (sizeof(hn::Vec<D>) == 64) {
    const hn::RebindToUnsigned<D> du;
    const auto index = hn::IndicesFromVec(d, hn::BitCast(du, shifted));
    const auto eighth = hn::TableLookupLanes(hn::BitCast(d, hn::Load(du, kWholeEighths.bits)), index);
    const auto n = hn::Sub(shifted, hn::Set(d, ExpConstants<float>::kMagic));
    return hn::Vec<D>{_mm512_scalef_ps(eighth.raw, n.raw)};  // rounds n down
  }
#endif
  return AddExponent(d, LookUpEighth(d, kExpEighthsF32, shifted), shifted);
}

template <class D, int kCount>
HWY_INLINE hn::Pack<D, kCount> EighthsPower(hn::PackTag<D, kCount>, const hn::Pack<D, kCount>& shifted) {
  return hn::MakePack<D, kCount>([&](int i) XENT_LAMBDA { return EighthsPower(D(), shifted.at[i]); });
}

// e^r over the scale of the table, less 1, in f32.
template <class D>
HWY_INLINE hn::Vec<D> EighthsFraction(D d, hn::Vec<D> r) {
  auto p = hn::MulAdd(r, hn::Set(d, kExpTailF32[3]), hn::Set(d, kExpTailF32[2]));
  p = hn::MulAdd(p, r, hn::Set(d, kExpTailF32[1]));
  return hn::MulAdd(p, r, hn::Set(d, kExpTailF32[0]));
}

// The same with a degree more, where that would be seen in a result.
template <class D>
HWY_INLINE hn::Vec<D> LongEighthsFraction(D d, hn::Vec<D> r) {
  auto p = hn::MulAdd(r, hn::Set(d, kExpLongTailF32[4]), hn::Set(d, kExpLongTailF32[3]));
  p = hn::MulAdd(p, r, hn::Set(d, kExpLongTailF32[2]));
  p = hn::MulAdd(p, r, hn::Set(d, kExpLongTailF32[1]));
  return hn::MulAdd(p, r, hn::Set(d, kExpLongTailF32[0]));
}

// e^r * 2^n in f32, within 0.57 ULP.
template <class D>
HWY_INLINE hn::Vec<D> LongExpScaled(D d, const Reduced<D>& reduced, hn::Vec<D> shifted) {
  const auto p = LongEighthsFraction(d, reduced.remainder);
  const auto power = EighthsPower(d, shifted);
  return hn::MulAdd(power, p, power);
}

// e^r * 2^n, n in the low bits of `shifted`. The result must be a normal number.
template <class D>
HWY_INLINE hn::Vec<D> ExpScaled(D d, const Reduced<D>& reduced, hn::Vec<D> shifted) {
  if constexpr (sizeof(Lane<D>) == sizeof(double)) {
    return AddExponent(d, ExpMantissa(d, reduced.remainder), shifted);
  } else {
    const auto p = EighthsFraction(d, reduced.remainder);
    const auto power = EighthsPower(d, shifted);
    return hn::MulAdd(power, p, power);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_EXP_INL_H_
