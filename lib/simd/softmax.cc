// Softmax, one row at a time: what a loss is made of (the sum of a row's exponentials, label left out) and what a
// gradient is made of (those exponentials, scaled). Two plans give e^x: plain, where all exponents are small, needs no
// maximum; careful works for any logits. Losses, reductions and options are not here: lib/softmax_loss.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/softmax.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <cmath>

#include "lib/kernels.h"
#include "lib/simd/exp-inl.h"
#include "lib/simd/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// ---- operations on lanes

// e^x, and a record of whether every exponent was small.
template <class C>
struct PlainExp {
  // Constructors that make vectors are written out: implicit ones are compiled without the instruction set.
  HWY_INLINE PlainExp() : range(hn::Zero(hn::RebindToUnsigned<Tag<C>>())) {}

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) {
    const auto reduced = ReduceExp(d, x);
    const hn::RebindToUnsigned<D> du;
    const auto base = hn::BitCast(du, hn::Set(d, ExpConstants<C>::kMagic - C(kHalfRange)));
    range = hn::Or(range, hn::Sub(hn::BitCast(du, reduced.shifted), base));
    return AddExponent(d, ExpMantissa(d, reduced.remainder), reduced.shifted);
  }

  // NaN, infinities and large numbers set a high bit too.
  bool InRange() const {
    const hn::RebindToUnsigned<Tag<C>> du;
    hn::TFromD<decltype(du)> bits[16];
    hn::StoreU(range, du, bits);
    hn::TFromD<decltype(du)> any = 0;
    for (int64_t i = 0; i < LanesOf<C>(); ++i) any |= bits[i];
    return any < (hn::TFromD<decltype(du)>(1) << ExpConstants<C>::kPlainBits);
  }

  static constexpr int kHalfRange = 1 << (ExpConstants<C>::kPlainBits - 1);
  hn::Vec<hn::RebindToUnsigned<Tag<C>>> range;
};

// e^(x - anchor) * 2^-exponent; 0 where that is below `least`.
template <class C>
struct CarefulExp {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    using E = ExpConstants<C>;
    const auto shifted_x = hn::Sub(x, hn::Set(d, anchor));
    const auto floor = hn::Set(d, E::kNegligible);
    const auto reduced = ReduceExp(d, hn::IfThenElse(hn::Gt(shifted_x, floor), shifted_x, floor));
    const auto n = hn::Sub(hn::Sub(reduced.shifted, hn::Set(d, E::kMagic)), hn::Set(d, exponent));
    const auto lowest = hn::Set(d, C(E::kLowest));
    const auto kept = hn::IfThenElse(hn::Gt(n, lowest), n, lowest);
    const auto e = AddExponent(d, ExpMantissa(d, reduced.remainder), hn::Add(kept, hn::Set(d, E::kMagic)));
    return hn::IfThenElseZero(hn::Ge(e, hn::Set(d, least)), e);
  }

  C anchor;
  C exponent;
  C least;
};

template <class C>
struct PlainGrad {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    const auto reduced = ReduceExp(d, x);
    const auto e = AddExponent(d, ExpMantissa(d, reduced.remainder), reduced.shifted);
    return hn::Mul(e, hn::Set(d, factor));
  }

  C factor;
};

template <class C>
struct CarefulGrad {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    return hn::Mul(exp(d, x), hn::Set(d, factor));
  }

  CarefulExp<C> exp;
  C factor;
};

template <class C>
struct Itself {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D, hn::Vec<D> x) const {
    return x;
  }
};

template <class C>
struct Constant {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D>) const {
    return hn::Set(d, value);
  }

  C value;
};

// ---- states

// The careful plan of n logits: anchor and exponent from the largest but the label. False: a state without a sum.
template <class T>
bool PlanCarefully(const T* x, int64_t n, int64_t label, RowState* state) {
  using C = Compute<T>;
  using E = ExpConstants<C>;
  Itself<C> itself;
  MaxAccumulator<C> largest;
  Fold(x, n, label, itself, largest);
  const C max = largest.Finish();
  *state = RowState{0.0, 0.0, 0.0, 0, kCareful};
  if (!(max < std::numeric_limits<C>::infinity())) {
    state->sum = std::numeric_limits<double>::quiet_NaN();
    return false;
  }
  if (max == -std::numeric_limits<C>::infinity()) return false;
  const C anchor = max < E::kAnchorFree && max > -E::kAnchorFree ? C(0) : max;
  // Four below the largest exponent: probabilities down to the smallest normal number stay.
  const C shifted = (max - anchor) * E::kLog2E + E::kMagic;
  state->anchor = static_cast<double>(anchor);
  state->exponent = static_cast<int32_t>(shifted - E::kMagic) - 4;
  return true;
}

template <class C>
CarefulExp<C> CarefulExpOf(const RowState& state) {
  return {static_cast<C>(state.anchor), static_cast<C>(state.exponent), C(0)};
}

template <class T>
RowState FoldChunk(const T* x, int64_t n, int64_t label) {
  using C = Compute<T>;
  RowState state = {0.0, 0.0, 0.0, 0, kPlain};
  {
    PlainExp<C> exp;
    SumAccumulator<C> sum;
    Fold(x, n, label, exp, sum);
    if (HWY_LIKELY(exp.InRange())) {
      sum.Finish(&state.sum, &state.low);
      return state;
    }
  }
  if (PlanCarefully(x, n, label, &state)) {
    CarefulExp<C> exp = CarefulExpOf<C>(state);
    SumAccumulator<C> sum;
    Fold(x, n, label, exp, sum);
    sum.Finish(&state.sum, &state.low);
  }
  return state;
}

template <class T>
void FoldSlice(const Slice& slice, RowState* states) {
  const T* const x = static_cast<const T*>(slice.logits);
  for (int64_t first = 0; first < slice.classes; first += kChunk) {
    const int64_t n = std::min(kChunk, slice.classes - first);
    *states++ = FoldChunk(x + first, n, slice.label - first);
  }
}

// ---- rows that wait in the stage

// Rows [first, last) of the tile by the plain plan; false if one of them is not plain.
template <class T>
bool StagePlainly(const Tile& tile, int64_t first, int64_t last) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(tile.logits) + first * tile.stride;
  C* const stage = static_cast<C*>(tile.stage) + first * tile.classes;
  PlainExp<C> exp;
  if (tile.stride == tile.classes) {
    MapDense(x, (last - first) * tile.classes, exp, stage);
  } else {
    for (int64_t r = 0; r < last - first; ++r) {
      MapDense(x + r * tile.stride, tile.classes, exp, stage + r * tile.classes);
    }
  }
  return exp.InRange();
}

// One row by the careful plan; false if it has no sum (RowState says which kind of row that is).
template <class T>
bool StageCarefully(const Tile& tile, int64_t row, RowState* state) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(tile.logits) + row * tile.stride;
  C* const staged = static_cast<C*>(tile.stage) + row * tile.classes;
  if (!PlanCarefully(x, tile.classes, tile.labels[row], state)) {
    std::fill(staged, staged + tile.classes, C(0));
    return false;
  }
  CarefulExp<C> exp = CarefulExpOf<C>(*state);
  MapDense(x, tile.classes, exp, staged);
  return true;
}

// A run of rows that are all read. A row's plan is its own affair: in company that is not plain it is tried alone.
template <class T>
void StageRun(const Tile& tile, const StagedRows<Compute<T>>& rows, int64_t first, int64_t last, RowState* states) {
  using C = Compute<T>;
  const bool all_plain = StagePlainly<T>(tile, first, last);
  for (int64_t r = first; r < last; ++r) {
    states[r] = RowState{0.0, 0.0, 0.0, 0, kPlain};
    if (!all_plain && !StagePlainly<T>(tile, r, r + 1) && !StageCarefully<T>(tile, r, &states[r])) continue;
    C* const staged = static_cast<C*>(tile.stage) + r * tile.classes;
    staged[tile.labels[r]] = C(0);
    SumAccumulator<C> sum;
    rows.FoldRow(staged, sum);
    sum.Finish(&states[r].sum, &states[r].low);
  }
}

template <class T>
void StageRows(const Tile& tile, RowState* states) {
  const StagedRows<Compute<T>> rows(tile.classes);
  int64_t first = 0;
  while (first < tile.rows) {
    const bool skipped = tile.labels[first] == kSkipRow;
    int64_t last = first + 1;
    while (last < tile.rows && (tile.labels[last] == kSkipRow) == skipped) ++last;
    if (!skipped) StageRun<T>(tile, rows, first, last, states);
    first = last;
  }
}

template <class T>
void Gather(const Tile& tile, double* values) {
  const T* const x = static_cast<const T*>(tile.logits);
  for (int64_t r = 0; r < tile.rows; ++r) {
    values[r] = tile.labels[r] == kSkipRow ? 0.0 : WidenOne(x + r * tile.stride + tile.labels[r]);
  }
}

// ---- gradients

// Multiplies by 2^exponent in two exact steps; what falls below `least` becomes 0.
template <class C>
struct Rescale {
  Rescale(int64_t exponent, C least_kept) : least(least_kept) {
    constexpr int64_t kReach = 2 - 2 * ExpConstants<C>::kLowest;
    const int64_t near = std::min(std::max(exponent, -kReach), kReach);
    first = std::ldexp(C(1), static_cast<int>(near / 2));
    second = std::ldexp(C(1), static_cast<int>(near - near / 2));
  }
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    const auto scaled = hn::Mul(hn::Mul(x, hn::Set(d, first)), hn::Set(d, second));
    return hn::IfThenElseZero(hn::Ge(scaled, hn::Set(d, least)), scaled);
  }
  C first;
  C second;
  C least;
};

template <class C>
struct Times {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x) const {
    return hn::Mul(x, hn::Set(d, factor));
  }
  C factor;
};

// The factor that turns e^x into a gradient element; 0 if the row must be scaled in two steps: where the factor is no
// normal number, or a probability below the smallest normal number could come out.
template <class C>
C PlainFactor(const RowGrad& grad) {
  constexpr int kLargestExponent = -ExpConstants<C>::kLowest - (1 << (ExpConstants<C>::kPlainBits - 1)) - 3;
  if (grad.plan != kPlain || grad.exponent > kLargestExponent) return C(0);
  const double factor = std::ldexp(grad.scale / grad.total, -grad.exponent);
  const double size = std::fabs(factor);
  const bool normal = size >= static_cast<double>(std::numeric_limits<C>::min()) &&
                      size <= static_cast<double>(std::numeric_limits<C>::max());
  return normal ? static_cast<C>(factor) : C(0);
}

// The smallest term, relative to 2^exponent, whose probability is a normal number.
template <class C>
C LeastKept(const RowGrad& grad) {
  return static_cast<C>(grad.total) * std::numeric_limits<C>::min();
}

template <class C>
void ScaleStaged(const StagedRows<C>& rows, const RowState& state, const RowGrad& grad, C* staged, int64_t classes,
                 int64_t label) {
  if (grad.kind != RowGrad::kSoftmax) {
    std::fill(staged, staged + classes, grad.kind == RowGrad::kZero ? C(0) : CanonicalNaN<C>());
    return;
  }
  C factor = PlainFactor<C>(grad);
  if (factor == C(0)) {
    rows.MapRow(staged, Rescale<C>(int64_t{state.exponent} - grad.exponent, LeastKept<C>(grad)));
    factor = static_cast<C>(grad.scale / grad.total);
  }
  rows.MapRow(staged, Times<C>{factor});
  staged[label] = static_cast<C>(grad.label_value);
}

template <class T>
void WriteStaged(const Tile& tile, const RowState* states, const RowGrad* grads, const GradientTile& out) {
  using C = Compute<T>;
  const StagedRows<C> rows(tile.classes);
  C* const stage = static_cast<C*>(tile.stage);
  for (int64_t r = 0; r < tile.rows; ++r) {
    ScaleStaged(rows, states[r], grads[r], stage + r * tile.classes, tile.classes, tile.labels[r]);
  }
  T* const gradient = static_cast<T*>(out.data);
  if (out.stride == tile.classes) {
    Map(stage, tile.rows * tile.classes, kSkipRow, C(0), Itself<C>(), gradient, out.stream);
  } else {
    for (int64_t r = 0; r < tile.rows; ++r) {
      Map(stage + r * tile.classes, tile.classes, kSkipRow, C(0), Itself<C>(), gradient + r * out.stride, out.stream);
    }
  }
  if (out.stream) hwy::FlushStream();
}

template <class T>
void WriteSlice(const Slice& slice, const RowGrad& grad, void* out, bool stream) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(slice.logits);
  T* const to = static_cast<T*>(out);
  const C label_value = static_cast<C>(grad.label_value);
  if (grad.kind != RowGrad::kSoftmax) {
    const C value = grad.kind == RowGrad::kZero ? C(0) : CanonicalNaN<C>();
    Map(to, slice.classes, kSkipRow, C(0), Constant<C>{value}, to, false);
  } else if (const C factor = PlainFactor<C>(grad); factor != C(0)) {
    Map(x, slice.classes, slice.label, label_value, PlainGrad<C>{factor}, to, stream);
  } else {
    const CarefulExp<C> exp = {static_cast<C>(grad.anchor), static_cast<C>(grad.exponent), LeastKept<C>(grad)};
    Map(x, slice.classes, slice.label, label_value, CarefulGrad<C>{exp, static_cast<C>(grad.scale / grad.total)}, to,
        stream);
  }
  if (stream) hwy::FlushStream();
}

template <class T>
constexpr SoftmaxKernels KernelsOf() {
  return {StageRows<T>, WriteStaged<T>, FoldSlice<T>, WriteSlice<T>, Gather<T>};
}

const SoftmaxKernels& ChooseKernels(Dtype dtype) {
  static constexpr SoftmaxKernels kKernels[] = {KernelsOf<float>(), KernelsOf<double>(), KernelsOf<BF16>(),
                                                KernelsOf<F16>()};
  return kKernels[static_cast<int>(dtype)];
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

const SoftmaxKernels& SoftmaxKernelsFor(int isa, Dtype dtype) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseKernels)) kTable[] = {
      HWY_CHOOSE_TARGET_LIST(ChooseKernels), HWY_CHOOSE_FALLBACK(ChooseKernels)};
  return kTable[isa](dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
