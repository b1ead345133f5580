// Focal loss with gamma 2, what most calls have, of hard targets and f32 logits in f32. With x' = x for target 1 and -x
// for 0, E = e^-|x'|, q = 1 - p_t = (1 if x' < 0, else E) / (1 + E) and L = log(1 + E) + (-x' if x' < 0):
//   loss = w q^2 L        d loss / d x' = -w q^2 (q + 2 (1 - q) L)
// q and L are sums of two floats, so that their product is rounded once. No term is negative.

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
        const auto is_usual = hn::And(is_hard, is_near);
        const auto found = Of(d, terms, hn::IfThenElseZero(is_usual, x), is_one, in.pos_weight);
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
  static HWY_INLINE BinaryResult<D> Of(D d, const BinaryTerms& terms, hn::Vec<D> x, hn::Mask<D> is_one,
                                       hn::Vec<D> pos_weight) {
    const auto zero = hn::Zero(d);
    const auto one = hn::Set(d, 1.0f);
    const auto is_wrong = hn::Lt(x, zero);
    const auto size = hn::Abs(x);
    const auto e = FewLongExp(d, ReduceExp(d, hn::Neg(size)));
    const auto sum = hn::Add(one, e.high);
    const auto sum_low = hn::Add(hn::Sub(e.high, hn::Sub(sum, one)), e.low);
    const auto inverse = hn::Div(one, sum);
    const auto above = hn::IfThenElse(is_wrong, one, e.high);
    const auto q = hn::Mul(above, inverse);
    const auto rest = hn::Add(hn::NegMulAdd(q, sum, above), hn::IfThenZeroElse(is_wrong, e.low));
    const auto q_low = hn::Mul(hn::NegMulAdd(q, sum_low, rest), inverse);
    const auto p = hn::Mul(hn::IfThenElse(is_wrong, e.high, one), inverse);
    const auto log = FewLogParts(d, e, sum);
    const auto lag = hn::IfThenElseZero(is_wrong, size);
    const auto plain = hn::Add(lag, log.high);
    const auto plain_low = hn::Add(LostByAnySum(lag, log.high, plain), log.low);
    const auto square = hn::Mul(q, q);
    const auto square_low = hn::MulAdd(hn::Add(q, q), q_low, hn::MulSub(q, q, square));
    const auto product = FewProduct(Parts<D>{square, square_low}, Parts<D>{plain, plain_low});
    auto weight = hn::IfThenElse(is_one, pos_weight, one);
    if (terms.alpha >= 0.0) {
      const auto of_one = hn::Set(d, static_cast<float>(terms.alpha));
      const auto of_zero = hn::Set(d, static_cast<float>(1.0 - terms.alpha));
      weight = hn::Mul(weight, hn::IfThenElse(is_one, of_one, of_zero));
    }
    const auto slope = hn::Mul(hn::Add(square, square_low), hn::MulAdd(hn::Add(p, p), hn::Add(plain, plain_low), q));
    return {TimesFactor(d, weight, hn::Add(product.high, product.low)),
            TimesFactor(d, hn::IfThenElse(is_one, hn::Neg(weight), weight), slope)};
  }
#endif
};

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_FOCAL_INL_H_
