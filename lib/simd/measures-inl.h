// Terms of information measures of probabilities, f32 in f32: -p log q, and with d = (p - q) / q the divergence
//   p log(p / q) - (p - q) = q ((1 + d) log(1 + d) - d)
// of which none is negative: sums of them keep their digits. p - q is exact where p and q are close.

#if defined(XENT_SIMD_MEASURES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_MEASURES_INL_H_
#undef XENT_SIMD_MEASURES_INL_H_
#else
#define XENT_SIMD_MEASURES_INL_H_
#endif

#include "lib/kernels.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// (log(1 + f) - f) / f^2 for |f| <= 1/3, lowest degree first. Made by tools/coefficients.
constexpr float kNearLogTailF32[] = {-0x8p-4f,      0xaaaa83p-25f,  -0xffff7cp-26f, 0xcce82fp-26f, -0xaace41p-26f,
                                     0x8f6a13p-26f, -0xf999dap-27f, 0x8f39c7p-26f,  -0x83de65p-26f};
constexpr uint32_t kTwoThirdsBits = 0x3F2AAAABu;

// (log(1 + f) - f) / f^2 + 1/2, which begins with f / 3: what is largest in the logarithm joins last.
template <class D>
HWY_INLINE hn::Vec<D> NearLogTail(D d, hn::Vec<D> f, hn::Vec<D> f2) {
  const auto pair = [d, f](int k) XENT_LAMBDA {
    return hn::MulAdd(hn::Set(d, kNearLogTailF32[k + 1]), f, hn::Set(d, kNearLogTailF32[k]));
  };
  const auto f4 = hn::Mul(f2, f2);
  const auto low = hn::MulAdd(pair(3), f2, pair(1));
  const auto high = hn::MulAdd(pair(7), f2, pair(5));
  return hn::Mul(hn::MulAdd(high, f4, low), f);
}

// (e^v - 1 - v) / v^2 for |v| <= 0.36, lowest degree first. Made by tools/coefficients.
constexpr float kNearExpTailF32[] = {0x8p-4f,       0xaaaaabp-26f, 0xaaaa7fp-28f,
                                     0x88882fp-30f, 0xb69cbdp-33f, 0xd0bdd7p-36f};
constexpr float kNearExp = 0.35f;

// e^v - 1, and e^v - 1 - v >= 0, of v + v_low, v_low a rounding error of v, v up to 80.
template <class D>
struct ExpLess {
  HWY_INLINE ExpLess(D d, hn::Vec<D> v, hn::Vec<D> v_low) {
    const auto one = hn::Set(d, 1.0f);
    const auto pair = [d, v](int k) XENT_LAMBDA {
      return hn::MulAdd(hn::Set(d, kNearExpTailF32[k + 1]), v, hn::Set(d, kNearExpTailF32[k]));
    };
    const auto v2 = hn::Mul(v, v);
    const auto near = hn::Mul(v2, hn::MulAdd(hn::MulAdd(pair(4), v2, pair(2)), v2, pair(0)));
    auto reduced = ReduceExp(d, hn::Max(v, hn::Set(d, -80.0f)));
    reduced.remainder = hn::Add(reduced.remainder, v_low);
    const auto e = ExpScaled(d, reduced, reduced.shifted);
    const auto is_near = hn::Lt(hn::Abs(v), hn::Set(d, kNearExp));
    less_line = hn::IfThenElse(is_near, near, hn::Sub(e, hn::Add(one, v)));
    less_one = hn::IfThenElse(is_near, hn::Add(v, hn::Add(v_low, near)), hn::Sub(e, one));
  }

  hn::Vec<D> less_line;
  hn::Vec<D> less_one;
};

// x = 2^k (1 + f), |f| <= 1/3, for normal numbers x > 0. 0 becomes some number.
template <class D>
struct NearOne {
  HWY_INLINE NearOne(D d, hn::Vec<D> x) {
    const hn::RebindToUnsigned<D> du;
    const hn::RebindToSigned<D> di;
    const auto bits = hn::Sub(hn::BitCast(du, x), hn::Set(du, kTwoThirdsBits));
    const auto fraction = hn::And(bits, hn::Set(du, 0x7FFFFFu));
    k = hn::ConvertTo(d, hn::ShiftRight<23>(hn::BitCast(di, bits)));
    f = hn::Sub(hn::BitCast(d, hn::Add(fraction, hn::Set(du, kTwoThirdsBits))), hn::Set(d, 1.0f));
  }

  hn::Vec<D> k;
  hn::Vec<D> f;
};

// log(1 + f) + k ln 2, within 1.5 ULP.
template <class D>
HWY_INLINE hn::Vec<D> NearLog(D d, hn::Vec<D> f, hn::Vec<D> k) {
  const auto f2 = hn::Mul(f, f);
  const auto tail = hn::Add(NearLogTail(d, f, f2), hn::Set(d, kNearLogTailF32[0]));
  return hn::MulAdd(k, hn::Set(d, kLn2F32), hn::MulAdd(f2, tail, f));
}

// g(d) = (1 + d) log(1 + d) - d for d >= -1, given as x = d and base = 1 or, below -1/2, where rounding d would cost
// 1 + d its digits, as x = 1 + d and base = 0. With 1 + d = 2^k (1 + f), |f| <= 1/3:
//   g(d) = 2^k g(f) + (1 + d) k ln 2 + 1 - 2^k    g(f) = f^2 (1/2 + (tail + tail f - f / 2))
// where what cancels, k (d + 1) and 1 - 2^k, is exact but for the low part of ln 2.
template <class D>
HWY_INLINE hn::Vec<D> DivergenceOf(D d, hn::Vec<D> x, hn::Vec<D> base) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto one = hn::Set(d, 1.0f);
  const auto half = hn::Set(d, 0.5f);
  const auto ratio = hn::Add(base, x);
  const auto bits = hn::Sub(hn::BitCast(du, ratio), hn::Set(du, kTwoThirdsBits));
  const auto k = hn::ConvertTo(d, hn::ShiftRight<23>(hn::BitCast(di, bits)));
  const auto exponent = hn::AndNot(hn::Set(du, 0x7FFFFFu), bits);
  const auto inverse = hn::BitCast(d, hn::Sub(hn::BitCast(du, one), exponent));  // 2^-k
  const auto power = hn::BitCast(d, hn::Add(hn::BitCast(du, one), exponent));    // 2^k
  const auto f = hn::MulAdd(x, inverse, hn::MulSub(base, inverse, one));         // x itself where k is 0
  const auto f2 = hn::Mul(f, f);
  const auto tail = NearLogTail(d, f, f2);
  const auto near = hn::Mul(f2, hn::Add(half, hn::NegMulAdd(half, f, hn::MulAdd(tail, f, tail))));
  const auto turns = hn::Mul(k, hn::Set(d, kExpLn2F32[0]));  // exact
  const auto low = hn::Mul(hn::Mul(k, hn::Set(d, kExpLn2F32[1])), ratio);
  const auto rest = hn::Add(hn::MulAdd(turns, x, hn::MulAdd(turns, base, hn::Sub(one, power))), low);
  return hn::MulAdd(power, near, rest);
}

// What has been seen of arguments.
class Range {
 public:
  HWY_INLINE Range() : most_(hn::Zero(Bits())) {}

  template <class D>
  HWY_INLINE void Add(D, hn::Vec<D> x) {
    const hn::RebindToUnsigned<D> du;
    most_ = MaxAll(du, most_, hn::BitCast(du, x));
  }

  // Nothing was negative, NaN, or larger.
  HWY_INLINE bool IsUpTo(float most) const {
    const auto bound = hn::BitCast(Bits(), hn::Set(Tag<float>(), most));
    return hn::AllTrue(Bits(), hn::Eq(hn::Max(most_, bound), bound));
  }

 private:
  using Bits = hn::RebindToUnsigned<Tag<float>>;
  hn::Vec<Bits> most_;
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_MEASURES_INL_H_
