// Rows of two classes in closed form, f32 lanes. With d the other logit less the label's:
//   loss = log(1 + e^d)        gradient at the label -sigmoid(d), at the other class sigmoid(d)
// The rounding error of d joins the exponential's argument and the loss. Any row: none is plain or careful, but where
// all of some vectors are near, nothing needs to be kept from overflowing.

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

// Rows that take every step together.
constexpr int kPairVectors = HWY_CAP_GE512 ? 2 : 1;
constexpr int64_t kPairRows = kPairVectors * LanesOf<float>();
static_assert(kFewTogether % kPairRows == 0, "losses have room");

template <class D>
struct Pairs {
  // labels: 0 or 1; negative: not read, the gradient is 0.
  HWY_INLINE Pairs(D d, const hn::Vec<D>& x0, const hn::Vec<D>& x1, const hn::Vec<hn::RebindToSigned<D>>& labels) {
    const hn::RebindToSigned<D> di;
    is_one = hn::RebindMask(d, hn::Eq(labels, hn::Set(di, 1)));
    is_read = hn::RebindMask(d, hn::Gt(labels, hn::Set(di, -1)));
    label = hn::IfThenElse(is_one, x1, x0);
    other = hn::IfThenElse(is_one, x0, x1);
    distance = hn::Sub(other, label);
    const auto from_label = hn::Sub(distance, other);
    lost = hn::Sub(hn::Sub(other, hn::Sub(distance, from_label)), hn::Add(label, from_label));
    is_wrong = hn::Gt(distance, hn::Zero(d));
  }

  // Then nothing is infinite or NaN, and no exponential subnormal.
  HWY_INLINE bool AreNear(D d) const { return hn::AllTrue(d, hn::Le(hn::Abs(distance), hn::Set(d, kSmallMagnitude))); }

  // What the label misses, 1 - p. Of rows that are near, or of any: the same bits.
  template <bool kAreNear>
  HWY_INLINE hn::Vec<D> Find(D d) {
    const auto magnitude = hn::Abs(distance);
    auto rest = lost;
    // Of a far row it is nothing, and may have overflown.
    if constexpr (!kAreNear) rest = hn::IfThenElseZero(hn::Lt(magnitude, hn::Set(d, 0x1p20f)), lost);
    const auto of_sign = hn::IfThenElse(is_wrong, rest, hn::Neg(rest));
    const auto logistic = kAreNear ? Logistic<D>::OfSmall(d, magnitude, of_sign) : Logistic<D>(d, magnitude, of_sign);
    loss = hn::IfThenElse(is_wrong, hn::Add(hn::Add(logistic.softplus, rest), distance), logistic.softplus);
    if constexpr (!kAreNear) loss = hn::IfThenElse(IsRow(d), loss, hn::Set(d, CanonicalNaN<float>()));
    return hn::IfThenElse(is_wrong, logistic.large, logistic.small);
  }

  // Probabilities below the smallest normal number count as 0, but that what the label misses keeps its digits.
  template <bool kAreNear>
  HWY_INLINE void Gradient(D d, const hn::Vec<D>& missed, const hn::Vec<D>& slope, hn::Vec<D>* g0,
                           hn::Vec<D>* g1) const {
    const auto product = hn::Mul(slope, missed);
    auto of_label = hn::Sub(hn::Zero(d), product);
    auto of_other = product;
    if constexpr (!kAreNear) {
      const auto nan = hn::Set(d, CanonicalNaN<float>());
      const auto is_row = IsRow(d);
      const auto is_small = hn::Lt(missed, hn::Set(d, std::numeric_limits<float>::min()));
      of_other = hn::IfThenElse(is_row, hn::IfThenZeroElse(is_small, product), nan);
      of_label = hn::IfThenElse(is_row, of_label, nan);
    }
    of_other = hn::IfThenElseZero(is_read, of_other);
    of_label = hn::IfThenElseZero(is_read, of_label);
    *g0 = hn::IfThenElse(is_one, of_other, of_label);
    *g1 = hn::IfThenElse(is_one, of_label, of_other);
  }

  // Without NaN and +inf, and not -inf alone.
  HWY_INLINE hn::Mask<D> IsRow(D d) const {
    const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    return hn::And(hn::And(hn::Lt(label, infinity), hn::Lt(other, infinity)), hn::Eq(distance, distance));
  }

  hn::Mask<D> is_one;
  hn::Mask<D> is_read;
  hn::Mask<D> is_wrong;
  hn::Vec<D> label;
  hn::Vec<D> other;
  hn::Vec<D> distance;  // the other logit less the label's
  hn::Vec<D> lost;      // what rounding it lost
  hn::Vec<D> loss;
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

// Logits of the rows of a tile, of adjacent classes or of adjacent rows: where they are, or in the stage, where their
// gradient goes.
template <class T>
class PairTile {
 public:
  explicit PairTile(const Tile& tile)
      : x_(static_cast<const T*>(tile.logits)),
        stride_(tile.class_stride),
        stage_(static_cast<float*>(tile.stage)),
        whole_(0) {
    const bool are_adjacent = tile.stride == 2 && std::is_same_v<T, float>;
    if (tile.is_read && (AreColumns() || are_adjacent)) whole_ = tile.rows / kPairRows * kPairRows;
    // Rows that are not read, or do not exist, are zeros.
    if (!tile.is_read) std::fill(stage_, stage_ + 2 * kMostColumns, 0.0f);
    for (int64_t r = tile.rows; r % kPairRows != 0; ++r) *At(r, 0) = *At(r, 1) = 0.0f;
    ForEachRun(tile, [&](int64_t begin, int64_t last, bool is_read) HWY_ATTR {
      const int64_t first = std::max(begin, whole_);
      const int64_t n = last - first;
      if (!is_read) return true;
      if (AreColumns()) {
        Map(x_ + first, n, Itself(), At(first, 0));
        Map(x_ + first + stride_, n, Itself(), At(first, 1));
      } else if (tile.stride == 2) {
        Map(x_ + 2 * first, 2 * n, Itself(), At(first, 0));
      } else {
        for (int64_t r = first; r < last; ++r) Map(x_ + r * tile.stride, 2, Itself(), At(r, 0));
      }
      return true;
    });
  }

  bool AreColumns() const { return stride_ != 1; }
  float* At(int64_t row, int64_t j) const {
    return AreColumns() ? stage_ + j * kMostColumns + row : stage_ + 2 * row + j;
  }

  HWY_INLINE void Load(int64_t r, hn::Vec<Tag<float>>* x0, hn::Vec<Tag<float>>* x1) const {
    const Tag<float> d;
    const bool is_direct = r < whole_;
    if (AreColumns()) {
      *x0 = is_direct ? FromStorage(d, x_ + r) : hn::LoadU(d, At(r, 0));
      *x1 = is_direct ? FromStorage(d, x_ + r + stride_) : hn::LoadU(d, At(r, 1));
    } else {
      const float* from = At(r, 0);
      if constexpr (std::is_same_v<T, float>) from = is_direct ? x_ + 2 * r : from;
      hn::LoadInterleaved2(d, from, *x0, *x1);
    }
  }

  HWY_INLINE void Store(int64_t r, hn::Vec<Tag<float>> g0, hn::Vec<Tag<float>> g1) const {
    const Tag<float> d;
    if (AreColumns()) {
      hn::StoreU(g0, d, At(r, 0));
      hn::StoreU(g1, d, At(r, 1));
    } else {
      hn::StoreInterleaved2(g0, g1, d, At(r, 0));
    }
  }

 private:
  const T* const x_;
  const int64_t stride_;
  float* const stage_;
  int64_t whole_;  // rows before this one are read from where they are
};

// See kernels.h.
template <class T>
void PairRows(const Tile& tile, double slope, double* loss, const GradientTile* out) {
  constexpr double kLeast = static_cast<double>(std::numeric_limits<float>::min());
  constexpr double kMost = static_cast<double>(std::numeric_limits<float>::max());
  using D = std::conditional_t<kPairVectors == 1, Tag<float>, hn::PackTag<Tag<float>, kPairVectors>>;
  const D d;
  int32_t labels[kMostColumns];
  for (int64_t r = 0; r < tile.rows; ++r) labels[r] = static_cast<int32_t>(tile.labels[r]);
  std::fill(labels + tile.rows, labels + (tile.rows + kPairRows - 1) / kPairRows * kPairRows, -1);
  const PairTile<T> logits(tile);
  const auto factor = hn::Set(d, static_cast<float>(slope));
  bool are_usual = true;
  for (int64_t r = 0; r < tile.rows; r += kPairRows) {
    hn::Vec<D> x0, x1;
    for (int i = 0; i < kPairVectors; ++i) {
      logits.Load(r + i * LanesOf<float>(), &hn::VectorOf(x0, i), &hn::VectorOf(x1, i));
    }
    Pairs<D> pairs(d, x0, x1, hn::LoadU(hn::RebindToSigned<D>(), labels + r));
    if (HWY_LIKELY(pairs.AreNear(d))) {
      const auto missed = pairs.template Find<true>(d);
      if (out != nullptr) pairs.template Gradient<true>(d, missed, factor, &x0, &x1);
    } else {
      const auto missed = pairs.template Find<false>(d);
      if (out != nullptr) pairs.template Gradient<false>(d, missed, factor, &x0, &x1);
      const auto is_usual = hn::And(hn::Ge(pairs.loss, hn::Set(d, std::numeric_limits<float>::min())),
                                    hn::Le(pairs.loss, hn::Set(d, std::numeric_limits<float>::max())));
      are_usual &= hn::AllTrue(d, is_usual);
    }
    for (int i = 0; i < kPairVectors; ++i) {
      const int64_t at = r + i * LanesOf<float>();
      StoreWidened(hn::VectorOf(pairs.loss, i), loss + at);
      if (out != nullptr) logits.Store(at, hn::VectorOf(x0, i), hn::VectorOf(x1, i));
    }
  }
  for (int64_t r = 0; r < tile.rows && out != nullptr && !tile.is_read; ++r) {
    if (labels[r] == kInvalidLabel) *logits.At(r, 0) = *logits.At(r, 1) = CanonicalNaN<float>();
  }
  for (int64_t r = 0; r < tile.rows && !are_usual; ++r) {
    if ((loss[r] >= kLeast && loss[r] <= kMost) || labels[r] < 0 || loss[r] != loss[r]) continue;
    const T* const row = static_cast<const T*>(tile.logits) + r * tile.stride;
    const int64_t other = (1 - labels[r]) * tile.class_stride;
    loss[r] = FarLoss(WidenOne(row + other) - WidenOne(row + labels[r] * tile.class_stride));
  }
  if (out == nullptr) return;
  T* const to = static_cast<T*>(out->data);
  if (logits.AreColumns()) {
    MapOut(logits.At(0, 0), tile.rows, Itself(), to, out->stream);
    MapOut(logits.At(0, 1), tile.rows, Itself(), to + out->class_stride, out->stream);
  } else if (out->stride == 2) {
    MapOut(logits.At(0, 0), 2 * tile.rows, Itself(), to, out->stream);
  } else {
    for (int64_t r = 0; r < tile.rows; ++r) Map(logits.At(r, 0), 2, Itself(), to + r * out->stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_PAIRS_INL_H_
