// Staged exponentials times what makes a gradient of them, and times powers of two.

#if defined(XENT_SIMD_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_PRODUCTS_INL_H_
#undef XENT_SIMD_PRODUCTS_INL_H_
#else
#define XENT_SIMD_PRODUCTS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "lib/row_state.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Minus an offset, which costs nothing beside the multiplication.
template <class C>
struct Times {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    return hn::MulSub(x, hn::Set(d, factor), hn::Set(d, offset));
  }

  C factor;
  C offset;
};

// The same, but for one element.
template <class C>
struct TimesBut {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    const auto is_element = hn::Eq(hn::Iota(d, C(0)), hn::Set(d, static_cast<C>(element - i)));
    return hn::IfThenElse(is_element, hn::Set(d, value), times(d, x, i));
  }

  Times<C> times;
  int64_t element;  // its index: not far from those that are asked for
  C value;
};

// x * factor for x >= 0 and 0 < |factor| < 1, normal numbers or 0, with the bits of Times (without fused multiply-add
// subnormal results are rounded twice), but without an operation that has a subnormal operand or result: each costs
// more than a hundred cycles. factor is m 2^-k, m in [1, 2). Where x m makes a normal number, k is taken from its
// exponent; where it does not, adding the least x m that would rounds it to as many digits as a subnormal number has,
// and leaves these in the low bits.
template <class C>
struct SmallTimes {
  using Bits = hwy::MakeUnsigned<C>;

  explicit SmallTimes(C factor) {
    constexpr int kFractionBits = std::numeric_limits<C>::digits - 1;
    const double size = std::fabs(static_cast<double>(factor));
    const int64_t k = -ExponentOf(size);
    mantissa = static_cast<C>(TimesPowerOfTwo(size, k));
    least = static_cast<C>(TimesPowerOfTwo(static_cast<double>(std::numeric_limits<C>::min()), k));
    exponent = static_cast<Bits>(k) << kFractionBits;
    std::memcpy(&least_bits, &least, sizeof(least));
    sign = factor < C(0) ? Bits(1) << (8 * sizeof(C) - 1) : Bits(0);
  }

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    const hn::RebindToUnsigned<D> du;
    const auto m = hn::Set(d, mantissa);
    const auto product = hn::Mul(x, m);
    const auto normal = hn::Sub(hn::BitCast(du, product), hn::Set(du, exponent));
    const auto raised = hn::BitCast(du, hn::MulAdd(x, m, hn::Set(d, least)));
    const auto subnormal = hn::Sub(raised, hn::Set(du, least_bits));
    const auto is_normal = hn::RebindMask(du, hn::Ge(product, hn::Set(d, least)));
    return hn::BitCast(d, hn::Or(hn::IfThenElse(is_normal, normal, subnormal), hn::Set(du, sign)));
  }

  C mantissa;
  C least;
  Bits exponent;
  Bits least_bits;
  Bits sign;
};

// body(x times the factor, less the offset). has_small: where that may be subnormal numbers for most of a row.
template <class C, class Body>
HWY_INLINE void WithProduct(C factor, C offset, bool has_small, const Body& body) {
  const C size = std::fabs(factor);
  if (HWY_UNLIKELY(has_small && offset == C(0) && size < C(1) && size >= std::numeric_limits<C>::min())) {
    body(SmallTimes<C>(factor));
  } else {
    body(Times<C>{factor, offset});
  }
}

// Multiplies by 2^exponent in two exact steps; what falls below `least` becomes 0.
template <class C>
struct Rescale {
  Rescale(int64_t exponent, C least_kept) : least(least_kept) {
    constexpr int64_t kReach = -2 * ExpConstants<C>::kLowest;
    const int64_t near = std::min(std::max(exponent, -kReach), kReach);
    first = static_cast<C>(TimesPowerOfTwo(1.0, near / 2));
    second = static_cast<C>(TimesPowerOfTwo(1.0, near - near / 2));
  }

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t) const {
    const auto scaled = hn::Mul(hn::Mul(x, hn::Set(d, first)), hn::Set(d, second));
    return hn::IfThenElseZero(hn::Ge(scaled, hn::Set(d, least)), scaled);
  }

  C first;
  C second;
  C least;
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_PRODUCTS_INL_H_
