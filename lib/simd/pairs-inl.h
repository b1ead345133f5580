// Rows of two classes in closed form, f32 lanes. With d the other logit less the label's:
//   loss = log(1 + e^d)        gradient at the label -sigmoid(d), at the other class sigmoid(d)
// The rounding error of d joins the exponential's argument and the loss. Any row: none is plain or careful.

#if defined(XENT_SIMD_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_PAIRS_INL_H_
#undef XENT_SIMD_PAIRS_INL_H_
#else
#define XENT_SIMD_PAIRS_INL_H_
#endif

#include <cmath>

#include "lib/kernels.h"
#include "lib/simd/logistic-inl.h"
#include "lib/simd/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// Logits of as many rows as there are lanes, in; their gradient, or what they were, out.
struct Pairs {
  using D = Tag<float>;

  // labels: 0 or 1; negative: not read, the gradient is 0.
  HWY_INLINE Pairs(hn::Vec<D> x0, hn::Vec<D> x1, hn::Vec<hn::RebindToSigned<D>> labels) {
    const D d;
    const hn::RebindToSigned<D> di;
    const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    const auto zero = hn::Zero(d);
    is_one = hn::RebindMask(d, hn::Eq(labels, hn::Set(di, 1)));
    is_read = hn::RebindMask(d, hn::Gt(labels, hn::Set(di, -1)));
    const auto label = hn::IfThenElse(is_one, x1, x0);
    const auto other = hn::IfThenElse(is_one, x0, x1);
    const auto distance = hn::Sub(other, label);
    is_row = hn::And(hn::And(hn::Lt(x0, infinity), hn::Lt(x1, infinity)), hn::Eq(distance, distance));
    const auto from_label = hn::Sub(distance, other);
    const auto lost = hn::Sub(hn::Sub(other, hn::Sub(distance, from_label)), hn::Add(label, from_label));
    // Of a far row it is nothing, and may have overflown.
    const auto rest = hn::IfThenElseZero(hn::Lt(hn::Abs(distance), hn::Set(d, 0x1p20f)), lost);
    is_wrong = hn::Gt(distance, zero);
    const Logistic<D> logistic(d, hn::Abs(distance), hn::IfThenElse(is_wrong, rest, hn::Neg(rest)));
    const auto far = hn::IfThenElse(is_wrong, hn::Add(hn::Add(logistic.softplus, rest), distance), logistic.softplus);
    loss = hn::IfThenElse(is_row, far, hn::Set(d, CanonicalNaN<float>()));
    missed = hn::IfThenElse(is_wrong, logistic.large, logistic.small);
  }

  // Probabilities below the smallest normal number count as 0, but that what the label misses keeps its digits.
  HWY_INLINE void Gradient(hn::Vec<D> slope, hn::Vec<D>* g0, hn::Vec<D>* g1) const {
    const D d;
    const auto nan = hn::Set(d, CanonicalNaN<float>());
    const auto product = hn::Mul(slope, missed);
    const auto is_small = hn::Lt(missed, hn::Set(d, std::numeric_limits<float>::min()));
    const auto other = hn::IfThenElse(is_row, hn::IfThenZeroElse(is_small, product), nan);
    const auto label = hn::IfThenElse(is_row, hn::Sub(hn::Zero(d), product), nan);
    const auto of_other = hn::IfThenElseZero(is_read, other);
    const auto of_label = hn::IfThenElseZero(is_read, label);
    *g0 = hn::IfThenElse(is_one, of_other, of_label);
    *g1 = hn::IfThenElse(is_one, of_label, of_other);
  }

  hn::Mask<D> is_one;
  hn::Mask<D> is_read;
  hn::Mask<D> is_row;  // without NaN and +inf, and not -inf alone
  hn::Mask<D> is_wrong;
  hn::Vec<D> loss;
  hn::Vec<D> missed;  // 1 - p of the label
};

// Lanes of f32 as f64.
HWY_INLINE void StoreWidened(hn::Vec<Tag<float>> x, double* to) {
#if HWY_TARGET == HWY_SCALAR
  to[0] = static_cast<double>(hn::GetLane(x));
#else
  const hn::Half<Tag<float>> half;
  const hn::CappedTag<double, 8> d;
  hn::StoreU(hn::PromoteTo(d, hn::LowerHalf(half, x)), d, to);
  hn::StoreU(hn::PromoteTo(d, hn::UpperHalf(half, x)), d, to + LanesOf<float>() / 2);
#endif
}

// The loss of a distance that f32 cannot tell: within a rounding error of the distance, or of its exponential.
inline double FarLoss(double distance) {
  const hn::CappedTag<double, 1> d;
  return distance > 0.0 ? distance : hn::GetLane(Exp()(d, hn::Set(d, distance), 0));
}

// Rows of a tile, of adjacent classes or of adjacent rows; see kernels.h.
template <class T>
void PairRows(const Tile& tile, double slope, double* loss, const GradientTile* out) {
  const Tag<float> d;
  const hn::RebindToSigned<Tag<float>> di;
  constexpr double kLeast = static_cast<double>(std::numeric_limits<float>::min());
  constexpr double kMost = static_cast<double>(std::numeric_limits<float>::max());
  const bool are_columns = tile.class_stride != 1;
  const T* const x = static_cast<const T*>(tile.logits);
  float* const stage = static_cast<float*>(tile.stage);
  float* const second = stage + kMostColumns;  // of columns
  int32_t labels[kMostColumns];
  for (int64_t r = 0; r < tile.rows; ++r) labels[r] = static_cast<int32_t>(tile.labels[r]);
  std::fill(labels + tile.rows, labels + (tile.rows + LanesOf<float>() - 1) / LanesOf<float>() * LanesOf<float>(), -1);
  // Rows that are not read stay zeros.
  if (!tile.is_read) std::fill(stage, stage + 2 * kMostColumns, 0.0f);
  ForEachRun(tile, [&](int64_t first, int64_t last, bool is_read) HWY_ATTR {
    const int64_t n = last - first;
    if (!is_read) return true;
    if (are_columns) {
      Map(x + first, n, Itself(), stage + first);
      Map(x + first + tile.class_stride, n, Itself(), second + first);
    } else if (tile.stride == 2) {
      Map(x + 2 * first, 2 * n, Itself(), stage + 2 * first);
    } else {
      for (int64_t r = first; r < last; ++r) Map(x + r * tile.stride, 2, Itself(), stage + 2 * r);
    }
    return true;
  });
  const auto factor = hn::Set(d, static_cast<float>(slope));
  for (int64_t r = 0; r < tile.rows; r += LanesOf<float>()) {
    hn::Vec<Tag<float>> x0, x1;
    if (are_columns) {
      x0 = hn::LoadU(d, stage + r);
      x1 = hn::LoadU(d, second + r);
    } else {
      hn::LoadInterleaved2(d, stage + 2 * r, x0, x1);
    }
    const Pairs pairs(x0, x1, hn::LoadU(di, labels + r));
    StoreWidened(pairs.loss, loss + r);
    if (out == nullptr) continue;
    pairs.Gradient(factor, &x0, &x1);
    if (are_columns) {
      hn::StoreU(x0, d, stage + r);
      hn::StoreU(x1, d, second + r);
    } else {
      hn::StoreInterleaved2(x0, x1, d, stage + 2 * r);
    }
  }
  for (int64_t r = 0; r < tile.rows && out != nullptr && !tile.is_read; ++r) {
    if (labels[r] != kInvalidLabel) continue;
    float* const of_row = are_columns ? stage + r : stage + 2 * r;
    of_row[0] = of_row[are_columns ? kMostColumns : 1] = CanonicalNaN<float>();
  }
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (HWY_LIKELY(loss[r] >= kLeast && loss[r] <= kMost) || labels[r] < 0 || loss[r] != loss[r]) continue;
    const T* const row = x + r * tile.stride;
    const int64_t other = (1 - labels[r]) * tile.class_stride;
    loss[r] = FarLoss(WidenOne(row + other) - WidenOne(row + labels[r] * tile.class_stride));
  }
  if (out == nullptr) return;
  T* const to = static_cast<T*>(out->data);
  if (are_columns) {
    MapOut(stage, tile.rows, Itself(), to, out->stream);
    MapOut(second, tile.rows, Itself(), to + out->class_stride, out->stream);
  } else if (out->stride == 2) {
    MapOut(stage, 2 * tile.rows, Itself(), to, out->stream);
  } else {
    for (int64_t r = 0; r < tile.rows; ++r) Map(stage + 2 * r, 2, Itself(), to + r * out->stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_PAIRS_INL_H_
