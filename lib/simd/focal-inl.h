// Focal loss with gamma 2, what most calls have, of hard targets and f32 logits in f32. With x' = x for target 1 and -x
// for 0, E = e^-|x'|, q = 1 - p_t = (1 if x' < 0, else E) / (1 + E) and L = log(1 + E) + (-x' if x' < 0):
//   loss = w q^2 L        d loss / d x' = -w q^2 (q + 2 (1 - q) L)
// All but w are sums of two floats, so that a product is rounded once. No term is negative.

#if defined(XENT_SIMD_FOCAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_FOCAL_INL_H_
#undef XENT_SIMD_FOCAL_INL_H_
#else
#define XENT_SIMD_FOCAL_INL_H_
#endif

#include "lib/kernels.h"
#include "lib/simd/binary-inl.h"
#include "lib/simd/few-numbers-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Beyond these x' what is low of some product would be a subnormal number.
constexpr float kMostFocalLead = 20.0f;
constexpr float kMostFocalLag = 60.0f;
// Smaller weights might be rounded as subnormal numbers; 0 is one of them.
constexpr float kLeastFocalWeight = 0x1p-60f;

// Lanes of any other kind, and any other gamma, are computed in f64.
struct ShortFocalForm {
  template <class D>
  HWY_INLINE BinaryResult<D> operator()(D d, const BinaryTerms& terms, const BinaryLaneTerms<Lane<D>>& lanes,
                                        const BinaryElement<D>& in) const {
#if XENT_HAS_FEW_ROWS
    if constexpr (sizeof(Lane<D>) == sizeof(float)) {
      if (terms.gamma == 2.0 && terms.smoothing == 0.0) {
        const auto is_one = hn::Eq(in.target, hn::Set(d, 1.0f));
        const auto is_hard = hn::Or(is_one, hn::Eq(in.target, hn::Zero(d)));
        const auto x = hn::IfThenElse(is_one, in.x, hn::Neg(in.x));
        const auto is_near = hn::And(hn::Le(x, hn::Set(d, kMostFocalLead)), hn::Ge(x, hn::Set(d, -kMostFocalLag)));
        const auto weight = WeightOf(d, terms, is_one, in.pos_weight);
        const auto is_usual = hn::And(hn::And(is_hard, is_near), hn::Ge(weight, hn::Set(d, kLeastFocalWeight)));
        const auto found = Of(d, hn::IfThenElseZero(is_usual, x), is_one, weight);
        if (HWY_LIKELY(hn::AllTrue(d, is_usual))) return found;
        const auto other = InWideForm<FocalForm>()(d, terms, lanes, in);
        return {hn::IfThenElse(is_usual, found.loss, other.loss),
                hn::IfThenElse(is_usual, found.gradient, other.gradient)};
      }
    }
#endif
    return InWideForm<FocalForm>()(d, terms, lanes, in);
  }

 private:
#if XENT_HAS_FEW_ROWS
  template <class D>
  static HWY_INLINE hn::Vec<D> WeightOf(D d, const BinaryTerms& terms, hn::Mask<D> is_one, hn::Vec<D> pos_weight) {
    const auto weight = hn::IfThenElse(is_one, pos_weight, hn::Set(d, 1.0f));
    if (terms.alpha < 0.0) return weight;
    const auto of_one = hn::Set(d, static_cast<float>(terms.alpha));
    const auto of_zero = hn::Set(d, static_cast<float>(1.0 - terms.alpha));
    return hn::Mul(weight, hn::IfThenElse(is_one, of_one, of_zero));
  }

  // Products by sums of two floats, and a weight that joins in the last rounding.
  template <class D>
  static HWY_INLINE BinaryResult<D> Of(D d, hn::Vec<D> x, hn::Mask<D> is_one, hn::Vec<D> weight) {
    const auto one = hn::Set(d, 1.0f);
    const auto is_wrong = hn::Lt(x, hn::Zero(d));
    const auto size = hn::Abs(x);
    const auto e = FewLongExp(d, ReduceExp(d, hn::Neg(size)));
    const auto sum = hn::Add(one, e.high);
    // E / (1 + E), at most 1/2, and what it lacks to 1.
    const auto small = FewShare(d, e, sum);
    const auto most = hn::Sub(one, small.high);
    const Parts<D> large = {most, hn::Sub(hn::Sub(hn::Sub(one, most), small.high), small.low)};
    const Parts<D> q = {hn::IfThenElse(is_wrong, large.high, small.high),
                        hn::IfThenElse(is_wrong, large.low, small.low)};
    const auto log = FewLogParts(d, e, sum);
    const auto lag = hn::IfThenElseZero(is_wrong, size);
    const auto near = hn::Add(lag, log.high);
    const auto near_low = hn::Add(LostByAnySum(lag, log.high, near), log.low);
    const auto loss = Settled(Parts<D>{near, near_low});
    const auto square = FewProduct(q, q);
    // q + 2 p L.
    const Parts<D> twice = {hn::IfThenElse(is_wrong, hn::Add(small.high, small.high), hn::Add(large.high, large.high)),
                            hn::IfThenElse(is_wrong, hn::Add(small.low, small.low), hn::Add(large.low, large.low))};
    const auto product = FewProduct(twice, loss);
    const auto slope = hn::Add(q.high, product.high);
    const auto slope_low = hn::Add(LostByAnySum(q.high, product.high, slope), hn::Add(q.low, product.low));
    const auto times = [&](const Parts<D>& a, const Parts<D>& b, hn::Vec<D> factor) XENT_LAMBDA {
      const auto all = FewProduct(a, b);
      return hn::MulAdd(all.high, factor, hn::Mul(all.low, factor));
    };
    return {times(square, loss, weight),
            times(square, Parts<D>{slope, slope_low}, hn::IfThenElse(is_one, hn::Neg(weight), weight))};
  }
#endif
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_FOCAL_INL_H_
