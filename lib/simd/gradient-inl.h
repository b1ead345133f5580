// Exponentials, staged or computed once more, to the gradient of a row: scale * p_j less offsets and targets, and the
// label's element. Rows of few classes are multiplied by their factors in one dense loop (RowProducts).

#if defined(XENT_SIMD_GRADIENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_GRADIENT_INL_H_
#undef XENT_SIMD_GRADIENT_INL_H_
#else
#define XENT_SIMD_GRADIENT_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/columns-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"
#include "lib/simd/products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// The factor that turns e^x into a gradient element; 0 if the row must be scaled in two steps: where the factor is no
// normal number, or a probability below the smallest normal number could come out.
template <class C>
double PlainQuotient(const RowGrad& grad) {
  constexpr int kLargestExponent = -ExpConstants<C>::kLowest - ExpConstants<C>::kPlainExponent - 3;
  if (grad.plan != kPlain || grad.exponent > kLargestExponent) return 0.0;
  const double quotient = sizeof(C) == sizeof(float) ? grad.scale * (1.0 / grad.total) : grad.scale / grad.total;
  const double factor = TimesPowerOfTwo(quotient, -int64_t{grad.exponent});
  const double size = std::fabs(factor);
  const bool normal = size >= static_cast<double>(std::numeric_limits<C>::min()) &&
                      size <= static_cast<double>(std::numeric_limits<C>::max());
  return normal ? factor : 0.0;
}

template <class C>
C PlainFactor(const RowGrad& grad) {
  return static_cast<C>(PlainQuotient<C>(grad));
}

// The same of a row that is tilted is no factor of its own: it joins what tilts, where that stays a usual number.
template <class C>
struct PlainFactors {
  explicit PlainFactors(const RowGrad& grad) : tilt(1.0), own(0) {
    const double quotient = PlainQuotient<C>(grad);
    const double size = std::max(std::fabs(grad.base), std::fabs(grad.tilt)) * quotient;
    const bool joins = grad.is_tilted && quotient != 0.0 && size > 0x1p-80 && size < 0x1p80;
    own = joins ? C(1) : static_cast<C>(quotient);
    if (joins) tilt = quotient;
  }
  double tilt;
  C own;  // 0: see PlainQuotient
};

// The smallest term, relative to 2^exponent, whose probability is a normal number.
template <class C>
C LeastKept(const RowGrad& grad) {
  return static_cast<C>(grad.total) * std::numeric_limits<C>::min();
}

// Readies one staged row for multiplication by the factor it returns. The label's element is not in it.
template <class C>
C PrepareStaged(const RowState& state, const RowGrad& grad, C* staged, int64_t classes) {
  if (grad.kind != RowGrad::kSoftmax) {
    std::fill(staged, staged + classes, grad.kind == RowGrad::kZero ? C(0) : CanonicalNaN<C>());
    return C(1);
  }
  C factor = PlainFactor<C>(grad);
  if (factor == C(0)) {
    const Rescale<C> rescale(int64_t{state.exponent} - grad.exponent, LeastKept<C>(grad));
    Map(staged, classes, rescale, staged);
    factor = static_cast<C>(grad.scale / grad.total);
  }
  return factor;
}

// What turns a row's staged elements into its gradient.
template <class C>
struct RowWrite {
  const RowGrad* grad;  // null: products only
  double tilt;          // the factor of what tilts
  C factor;
  C offset;
  double mark;  // the label's element
  bool has_mark;
  bool has_small;  // its probabilities may be of any size
};

template <class C>
RowWrite<C> PlanWrite(const RowState& state, const RowGrad& grad, C* staged, int64_t classes) {
  const C factor = PrepareStaged(state, grad, staged, classes);
  if (grad.kind != RowGrad::kSoftmax) return {nullptr, 1.0, factor, C(0), 0.0, false, false};
  const PlainFactors<C> plain(grad);
  return {&grad, plain.tilt,           plain.own != C(0) ? plain.own : factor, OwnOffset<C>(grad), grad.label_value,
          true,  grad.plan == kCareful};
}

template <class T>
void WriteColumns(const Tile& tile, const RowState* states, const RowGrad* grads, const GradientTile& out) {
  using C = Compute<T>;
  const Columns<T> columns(tile);
  for (int64_t r = 0; r < tile.rows; ++r) {
    const RowGrad& grad = grads[r];
    C& factor = columns.Factors()[r];
    factor = grad.kind == RowGrad::kSoftmax ? PlainFactor<C>(grad) : C(0);
    columns.Marks()[r] = static_cast<C>(grad.label_value);
    if (HWY_LIKELY(factor != C(0))) continue;
    C staged[kMostColumnClasses];
    for (int64_t j = 0; j < tile.classes; ++j) staged[j] = columns.At(r, j);
    factor = PrepareStaged(states[r], grad, staged, tile.classes);
    for (int64_t j = 0; j < tile.classes; ++j) columns.At(r, j) = staged[j];
    if (grad.kind != RowGrad::kSoftmax) columns.Marks()[r] = staged[0];
  }
  columns.Write(static_cast<T*>(out.data), out.class_stride, out.stream);
}

// Elements of rows that lie behind each other, times their rows' factors less an offset, but for those that are final
// already.
template <class C>
class RowProducts {
 public:
  RowProducts(C* stage, int64_t rows, int64_t classes, C offset) : stage_(stage), classes_(classes), offset_(offset) {
    inverse_ = (uint64_t{1} << 32) / static_cast<uint64_t>(classes) + 1;  // i * inverse_ >> 32 is the row of element i
    std::memset(final_, 0, static_cast<size_t>(rows * classes) + kSlack);
    std::fill(factors_ + rows, factors_ + rows + LanesOf<C>(), C(0));
    if (classes >= LanesOf<C>()) return;
    for (int64_t i = 0; i < 2 * LanesOf<C>(); i += classes) {
      for (int64_t j = 0; j < classes; ++j) rows_[i + j] = static_cast<Index>(i / classes);
    }
  }

  C* Factors() { return factors_; }
  HWY_INLINE void SetMark(int64_t row, int64_t label, C mark) {
    const int64_t i = row * classes_ + label;
    stage_[i] = mark;
    final_[i] = 1;
  }
  void SetFinal(int64_t row) { std::memset(final_ + row * classes_, 1, static_cast<size_t>(classes_)); }

  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> x, int64_t i) const {
    const int64_t row = static_cast<int64_t>(static_cast<uint64_t>(i) * inverse_ >> 32);
    const int64_t begin = i - row * classes_;
    const C* const from = factors_ + row;
    hn::Vec<D> factor;
    if (classes_ >= LanesOf<C>()) {
      const auto is_here = hn::FirstN(d, static_cast<size_t>(classes_ - begin));
      factor = hn::IfThenElse(is_here, hn::Set(d, from[0]), hn::Set(d, from[1]));
    } else {
      const hn::RebindToSigned<D> di;
      factor = hn::TableLookupLanes(hn::LoadU(d, from), hn::IndicesFromVec(d, hn::LoadU(di, rows_ + begin)));
    }
    return hn::IfThenElse(IsFinal(d, final_ + i), x, hn::MulSub(x, factor, hn::Set(d, offset_)));
  }

 private:
  using Index = hwy::MakeSigned<C>;
  static constexpr int64_t kElements = 2 * kStageBytes / static_cast<int64_t>(sizeof(C));
  static constexpr size_t kSlack = HWY_MAX_BYTES / sizeof(C);

  template <class D>
  static HWY_INLINE hn::Mask<D> IsFinal(D d, const uint8_t* from) {
    const hn::Rebind<uint32_t, D> du32;
    const hn::RebindToUnsigned<D> du;
    const auto flags = hn::PromoteTo(du32, hn::LoadU(hn::Rebind<uint8_t, D>(), from));
    if constexpr (sizeof(C) == sizeof(float))
      return hn::RebindMask(d, hn::Ne(flags, hn::Zero(du)));
    else
      return hn::RebindMask(d, hn::Ne(hn::PromoteTo(du, flags), hn::Zero(du)));
  }

  C* const stage_;
  const int64_t classes_;
  const C offset_;
  uint64_t inverse_;
  C factors_[kPlainTileRows + LanesOf<C>()];
  Index rows_[3 * LanesOf<C>()];
  uint8_t final_[static_cast<size_t>(kElements) + kSlack];
};

// body(op with what else the gradient of a row of n elements is made of). T: the logits' type.
template <class T, class Op, class Body>
HWY_INLINE void WithTerms(const Op& op, const RowGrad& grad, double tilt, const T* x, int64_t n,
                          const TargetRows& targets, int64_t row, const Body& body) {
  WithTilt(op, grad, tilt, x, n,
           [&](const auto& tilted) { WithTargets<T>(tilted, targets, row, n, grad.target, body); });
}

template <class T>
bool IsTogether(const Tile& tile, const GradientTile& out) {
  return tile.classes < kOwnLoop && out.stride == tile.classes && out.are_products && out.targets.data == nullptr;
}

// Where the label's element lies in the next n pending ones that go past the cache; negative: not there. Elsewhere it
// is written last, but a line that has left would have to come back. (Zen 4, loss + gradient, 4096 x 4000: 0.92 of the
// time for bf16, 0.93 for f32.)
template <class T>
int64_t PendingLabel(int64_t n, const PendingWrite& pending) {
  if (!pending.stream || pending.label_out == nullptr) return -1;
  const int64_t label = static_cast<T*>(pending.label_out) - static_cast<T*>(pending.out);
  return label < n ? label : -1;
}

// What is pending after n elements more.
template <class T>
PendingWrite After(int64_t n, PendingWrite pending) {
  pending.stage = static_cast<const Compute<T>*>(pending.stage) + n;
  pending.out = static_cast<T*>(pending.out) + n;
  pending.left -= n;
  return pending;
}

// The next n elements of what is pending, or all that are left.
template <class T>
void WritePending(int64_t n, PendingWrite* pending) {
  using C = Compute<T>;
  n = std::min(n, pending->left);
  const C* const kept = static_cast<const C*>(pending->stage);
  T* const out = static_cast<T*>(pending->out);
  const Times<C> times = {static_cast<C>(pending->factor), static_cast<C>(pending->offset)};
  const int64_t label = PendingLabel<T>(n, *pending);
  int64_t begin = 0;
  if (label >= 0) {
    begin = label / kStep * kStep;
    const int64_t count = std::min(kStep, n - begin);
    MapOut(kept, begin, times, out, true);
    const TimesBut<C> but_label = {times, label - begin, static_cast<C>(pending->label_value)};
    MapOut(kept + begin, count, but_label, out + begin, true);
    begin += count;
    pending->label_out = nullptr;
  }
  MapOut(kept + begin, n - begin, times, out + begin, pending->stream);
  *pending = After<T>(n, *pending);
}

template <class T>
void WriteRest(PendingWrite* pending) {
  if (pending->left > 0) WritePending<T>(pending->left, pending);
  if (pending->label_out == nullptr) return;
  if (pending->stream) hwy::FlushStream();  // its line may have left
  NarrowOne(pending->label_value, static_cast<T*>(pending->label_out));
  pending->label_out = nullptr;
}

template <class T>
void FinishWrite(PendingWrite* pending) {
  WriteRest<T>(pending);
  if (pending->stream) hwy::FlushStream();
}

// A gradient that is whole in the stage leaves while the next tile is staged: what precedes the first aligned element
// now, so that the rest can bypass the cache.
template <class T>
void LeavePending(const Compute<T>* stage, int64_t n, T* out, PendingWrite* pending) {
  const int64_t head = std::min(n, ElementsToAlignment(out));
  Map(stage, head, Itself(), out);
  *pending = PendingWrite{stage + head, out + head, n - head, 1.0, 0.0, nullptr, 0.0, true};
}

// Rows whose elements are more than products, or are not written as one.
template <class T, class Plan>
void WriteSingly(const Tile& tile, const GradientTile& out, PendingWrite* pending, const Plan& plan) {
  using C = Compute<T>;
  C* const stage = static_cast<C*>(tile.stage);
  const int64_t classes = tile.classes;
  // What goes past the cache is whole before it does: half a line is slow to write, and one that has left, to write
  // into. (65536 x 256 f32: 16.7 ms where marks came behind.) Rows that share lines go in one piece.
  const bool is_joined = out.stream && out.stride == classes;
  T* const gradient = static_cast<T*>(out.data);
  // Meanwhile the next tile's logits come, so that the memory does not idle.
  const T* const next = static_cast<const T*>(tile.logits) + tile.rows * tile.stride;
  for (int64_t r = 0; r < tile.rows; ++r) {
    C* const staged = stage + r * classes;
    const RowWrite<C> write = plan(r, staged);
    const auto multiply = [&](auto* to) {
      const auto map = [&](const auto& element) {
        MapOut(staged, classes, element, to, false, next + r * tile.stride);
      };
      WithProduct(write.factor, write.offset, write.has_small, [&](const auto& product) {
        if (write.grad == nullptr) return map(product);
        WithTerms(product, *write.grad, write.tilt, static_cast<const T*>(tile.logits) + r * tile.stride, classes,
                  out.targets, r, map);
      });
    };
    if (out.stream) {
      multiply(staged);
      if (write.has_mark) staged[tile.labels[r]] = static_cast<C>(write.mark);
      if (!is_joined) MapOut(staged, classes, Itself(), gradient + r * out.stride, true, next + r * tile.stride);
    } else {
      multiply(gradient + r * out.stride);
      if (write.has_mark) NarrowOne(write.mark, gradient + r * out.stride + tile.labels[r]);
    }
  }
  if (is_joined && pending != nullptr) {
    LeavePending(stage, tile.rows * classes, gradient, pending);
  } else if (is_joined) {
    MapOut(stage, tile.rows * classes, Itself(), gradient, true, next);
  }
}

// Rows that are products only: one dense loop, however few classes they have. fill(factors and marks).
template <class T, class Fill>
void WriteTogether(const Tile& tile, const GradientTile& out, const Fill& fill) {
  using C = Compute<T>;
  const int64_t n = tile.rows * tile.classes;
  C* const stage = static_cast<C*>(tile.stage);
  RowProducts<C> products(stage, tile.rows, tile.classes, static_cast<C>(out.offset));
  fill(products);
  const T* const next = static_cast<const T*>(tile.logits) + n;
  MapOut(stage, n, products, static_cast<T*>(out.data), out.stream, next);
}

template <class T>
void WriteStaged(const Tile& tile, const RowState* states, const RowGrad* grads, const GradientTile& out) {
  using C = Compute<T>;
  if (tile.class_stride != 1) {
    WriteColumns<T>(tile, states, grads, out);
    return;
  }
  const auto plan = [&](int64_t r, C* staged) { return PlanWrite(states[r], grads[r], staged, tile.classes); };
  const bool has_careful =
      std::any_of(grads, grads + tile.rows, [](const RowGrad& grad) { return grad.plan == kCareful; });
  if (has_careful || !IsTogether<T>(tile, out)) {
    WriteSingly<T>(tile, out, nullptr, plan);
  } else {
    WriteTogether<T>(tile, out, [&](RowProducts<C>& products) {
      for (int64_t r = 0; r < tile.rows; ++r) {
        const RowWrite<C> write = plan(r, static_cast<C*>(tile.stage) + r * tile.classes);
        products.Factors()[r] = write.factor;
        if (write.has_mark) products.SetMark(r, tile.labels[r], static_cast<C>(write.mark));
      }
    });
  }
}

// Of rows that are not read 0: a negative one would make -0.
template <class C>
void NarrowFactors(const Tile& tile, const double* factors, C* to) {
  std::transform(factors, factors + tile.rows, to, [](double x) { return static_cast<C>(x); });
  for (int64_t r = 0; r < tile.rows && !tile.is_read; ++r) {
    if (tile.labels[r] == kSkipRow) to[r] = C(0);
  }
}

// The stage of rows that are not read holds zeros.
template <class T>
void WritePlain(const Tile& tile, const double* factors, const double* marks, const GradientTile& out,
                PendingWrite* pending) {
  using C = Compute<T>;
  WriteRest<T>(pending);
  if (tile.class_stride == 1) {
    if (!IsTogether<T>(tile, out)) {
      WriteSingly<T>(tile, out, pending, [&](int64_t r, C*) {
        const bool is_read = tile.labels[r] != kSkipRow;
        const C factor = is_read ? static_cast<C>(factors[r]) : C(1);
        const C offset = is_read ? static_cast<C>(out.offset) : C(0);
        return RowWrite<C>{nullptr, 1.0, factor, offset, marks[r], is_read, false};
      });
    } else {
      WriteTogether<T>(tile, out, [&](RowProducts<C>& products) {
        NarrowFactors(tile, factors, products.Factors());
        for (int64_t r = 0; r < tile.rows; ++r) {
          if (tile.labels[r] == kSkipRow) {
            products.SetFinal(r);
          } else {
            products.SetMark(r, tile.labels[r], static_cast<C>(marks[r]));
          }
        }
      });
    }
    return;
  }
  const Columns<T> columns(tile);
  NarrowFactors(tile, factors, columns.Factors());
  std::transform(marks, marks + tile.rows, columns.Marks(), [](double x) { return static_cast<C>(x); });
  columns.Write(static_cast<T*>(out.data), out.class_stride, out.stream);
}

// The gradient of a slice but for its label, where it cannot be made from kept exponentials.
template <class T, class Scaling>
void WriteClasses(const Slice& slice, const RowGrad& grad, const Scaling& scaling,
                  const PlainFactors<Compute<T>>& plain, T* to, bool stream) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(slice.logits);
  if (grad.kind != RowGrad::kSoftmax) {
    const Constant<C> constant = {grad.kind == RowGrad::kZero ? C(0) : CanonicalNaN<C>()};
    Map(to, slice.classes, constant, to);
  } else if (plain.own != C(0)) {
    const PlainGrad<T, Scaling> gradient = {plain.own, OwnOffset<C>(grad), scaling};
    WithTerms(gradient, grad, plain.tilt, x, slice.classes, slice.targets, 0,
              [&](const auto& element) { MapOut(x, slice.classes, element, to, stream); });
  } else {
    const CarefulExp<C, Scaling> exp = {scaling.ToLogit(grad.anchor), static_cast<C>(grad.exponent), LeastKept<C>(grad),
                                        scaling};
    const C factor = static_cast<C>(grad.scale / grad.total);
    WithProduct(factor, OwnOffset<C>(grad), true, [&](const auto& product) {
      const CarefulGrad<C, Scaling, std::decay_t<decltype(product)>> gradient = {exp, product};
      WithTerms(gradient, grad, 1.0, x, slice.classes, slice.targets, 0,
                [&](const auto& element) { MapOut(x, slice.classes, element, to, stream); });
    });
  }
}

template <class T>
void BeginWrite(const Slice& slice, const RowGrad& grad, void* out, bool stream, PendingWrite* pending) {
  using C = Compute<T>;
  WriteRest<T>(pending);
  T* const to = static_cast<T*>(out);
  const bool has_label = grad.kind == RowGrad::kSoftmax && slice.label >= 0 && slice.label < slice.classes;
  *pending = PendingWrite{slice.stage, to, 0, 0.0, grad.offset, nullptr, grad.label_value, stream};
  if (has_label) pending->label_out = to + slice.label;
  const PlainFactors<C> plain(grad);
  const C factor = plain.own;
  if (!slice.keeps_stage || grad.kind != RowGrad::kSoftmax || factor == C(0)) {
    WithScale<T>(slice.scale, [&](const auto& scaling) { WriteClasses(slice, grad, scaling, plain, to, stream); });
    return;
  }
  if (slice.targets.data != nullptr || grad.is_tilted) {
    WithTerms(Times<C>{factor, OwnOffset<C>(grad)}, grad, plain.tilt, static_cast<const T*>(slice.logits),
              slice.classes, slice.targets, 0, [&](const auto& element) {
                MapOut(static_cast<const C*>(slice.stage), slice.classes, element, to, stream);
              });
    return;
  }
  // What shares a line with the next row is written to the cache, which has to have the line first.
  if (stream && ElementsToAlignment(to + slice.classes) != 0) __builtin_prefetch(to + slice.classes - 1, 1);
  // Up to the first aligned element now, so that the rest can bypass the cache.
  const int64_t head = std::min(slice.classes, stream ? ElementsToAlignment(to) : 0);
  const C* const staged = static_cast<const C*>(slice.stage);
  const Times<C> gradient = {factor, static_cast<C>(grad.offset)};
  Map(staged, head, gradient, to);
  if (has_label && slice.label < head) {
    NarrowOne(grad.label_value, to + slice.label);
    pending->label_out = nullptr;
  }
  pending->stage = staged + head;
  pending->out = to + head;
  pending->left = slice.classes - head;
  pending->factor = static_cast<double>(factor);
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_GRADIENT_INL_H_
