// Softmax, one row at a time: what a loss is made of (the sum of a row's exponentials, label left out) and what a
// gradient is made of (those exponentials, scaled). Two plans give e^x: plain, where all exponents are small, needs no
// maximum; careful works for any logits. Losses, reductions and options are not here: lib/softmax_loss.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/softmax.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <cmath>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/columns-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

// ---- exponentials and their sums

// Anchor and exponent of the careful plan, from the largest of n logits but the label. False: there is no sum, and the
// state says why.
template <class T, class Scaling>
bool PlanCarefully(const T* x, int64_t n, int64_t label, const Scaling& scaling, RowState* state) {
  using C = Compute<T>;
  using E = ExpConstants<C>;
  Itself itself;
  MaxAccumulator<C> largest;
  Fold<false>(x, n, label, itself, largest, static_cast<C*>(nullptr));
  const C max = largest.Finish();
  *state = RowState{0.0, 0.0, 0.0, 0, kCareful};
  if (!(max < std::numeric_limits<C>::infinity())) {
    state->sum = std::numeric_limits<double>::quiet_NaN();
    return false;
  }
  if (max == -std::numeric_limits<C>::infinity()) return false;
  const C anchor = scaling.Anchor(max);
  // Four below the largest exponent: probabilities down to the smallest normal number stay.
  state->anchor = scaling.Exponent(anchor);
  state->exponent = static_cast<int32_t>((max - anchor) * E::kLog2E) - 4;
  return true;
}

template <class T, class Scaling>
RowState StateOf(const StepSum<Compute<T>>& terms) {
  double sum, low;
  terms.Finish(&sum, &low);
  return PlainState<Scaling>(sum, low);
}

// Adds the plain exponentials of a chunk to the sum, and puts them into the stage if kKeep. False: the chunk is not
// plain, and neither sum nor stage mean anything.
template <bool kKeep, class T, class Op>
HWY_NOINLINE bool FoldPlainly(const T* x, int64_t n, int64_t label, Op op, Compute<T>* staged,
                              StepSum<Compute<T>>& total) {
  Op exp = op;  // Copies that nobody else can see stay in registers.
  StepSum<Compute<T>> sum = total;
  MapAndSum<kKeep>(x, n, label, exp, staged, sum);
  total = sum;
  return exp.InRange();
}

// The same, while as many elements of what is pending are written.
template <bool kStream, class T, class Scaling>
bool FoldAndWrite(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged,
                  StepSum<Compute<T>>& sum, PendingWrite* pending) {
  using C = Compute<T>;
  T* const out = static_cast<T*>(pending->out);
  const C* const kept = static_cast<const C*>(pending->stage);
  const PlainExpAndWrite<kStream, T, Scaling> both = {PlainExp<T, Scaling>(scaling), kept, out,
                                                      static_cast<C>(pending->factor), static_cast<C>(pending->offset)};
  pending->out = out + n;
  pending->stage = kept + n;
  pending->left -= n;
  return FoldPlainly<true>(x, n, label, both, staged, sum);
}

// What CarefulExp makes of the lowest exponent is less.
template <class C>
constexpr C LeastStaged() {
  return C(6) * std::numeric_limits<C>::min();
}

// A row, or a chunk of one, that is not plain, into the stage, and its sum. If there is none, the state says why and
// the stage holds zeros.
template <class T, class Scaling>
void FoldCarefully(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged, RowState* state) {
  using C = Compute<T>;
  if (!PlanCarefully(x, n, label, scaling, state)) {
    std::fill(staged, staged + n, C(0));
    return;
  }
  CarefulExp<C, Scaling> careful = {scaling.ToLogit(state->anchor), static_cast<C>(state->exponent), LeastStaged<C>(),
                                    scaling};
  StepSum<C> sum;
  MapAndSum<true>(x, n, label, careful, staged, sum);
  sum.Finish(&state->sum, &state->low);
}

// The states of a piece of a long row: one of all its plain chunks together, one of each other chunk. A chunk's own
// logits decide what it is, nothing else. The exponentials stay in the slice's stage if it asks for that.
template <class T, class Scaling>
int64_t FoldSliceOf(const Slice& slice, const Scaling& scaling, RowState* states, PendingWrite* pending) {
  using C = Compute<T>;
  using OfRow = PlainExp<T, Scaling>;
  const T* const x = static_cast<const T*>(slice.logits);
  C* staged = static_cast<C*>(slice.stage);
  StepSum<C> plain;
  int64_t count = 1;
  for (int64_t first = 0; first < slice.classes; first += kChunk) {
    const T* const from = x + first;
    const int64_t n = std::min(kChunk, slice.classes - first);
    const int64_t label = slice.label - first;
    const StepSum<C> before = plain;
    bool is_plain;
    if (!slice.keeps_stage) {
      is_plain = FoldPlainly<false>(from, n, label, OfRow(scaling), staged, plain);
    } else if (pending == nullptr || pending->left < n || n % kStep != 0) {
      is_plain = FoldPlainly<true>(from, n, label, OfRow(scaling), staged, plain);
    } else if (pending->stream) {
      is_plain = FoldAndWrite<true>(from, n, label, scaling, staged, plain, pending);
    } else {
      is_plain = FoldAndWrite<false>(from, n, label, scaling, staged, plain, pending);
    }
    if (HWY_UNLIKELY(!is_plain)) {
      plain = before;
      FoldCarefully(from, n, label, scaling, staged, &states[count++]);
    }
    if (slice.keeps_stage) staged += n;
  }
  states[0] = StateOf<T, Scaling>(plain);
  return count;
}

template <class T>
int64_t FoldSlice(const Slice& slice, RowState* states, PendingWrite* pending) {
  return WithScale<T>(slice.scale,
                      [&](const auto& scaling) { return FoldSliceOf<T>(slice, scaling, states, pending); });
}

// Stages all rows of a run in one go. False: they are not plain together.
template <class T, class Scaling>
bool StageTogether(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, RowState* states) {
  using C = Compute<T>;
  const int64_t classes = tile.classes;
  if (tile.stride != classes) return false;
  C* const stage = static_cast<C*>(tile.stage) + (tile.keeps_stage ? first * classes : 0);
  PlainExp<T, Scaling> exp(scaling);
  Map(static_cast<const T*>(tile.logits) + first * classes, (last - first) * classes, exp, stage);
  if (!exp.InRange()) return false;
  // All labels before all sums: a load that meets a smaller store still on its way has to wait for it.
  for (int64_t r = first; r < last; ++r) stage[(r - first) * classes + tile.labels[r]] = C(0);
  const StagedRow<C> row(classes);
  int64_t r = first;
#if HWY_CAP_GE512
  if constexpr (sizeof(C) == sizeof(float)) {
    alignas(64) double sums[8];
    for (; r + 8 <= last && row.IsShort(); r += 8) {
      hn::Store(row.SumEight(stage + (r - first) * classes), hn::CappedTag<double, 8>(), sums);
      for (int64_t i = 0; i < 8; ++i) states[r + i] = PlainState<Scaling>(sums[i], 0.0);
    }
  }
#endif
  for (; r < last; ++r) {
    double sum, low;
    row.Sum(stage + (r - first) * classes, &sum, &low);
    states[r] = PlainState<Scaling>(sum, low);
  }
  return true;
}

// Stages a run of rows one by one.
template <class T, class Scaling>
void StageSingly(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, RowState* states) {
  using C = Compute<T>;
  using OfRow = PlainExp<T, Scaling>;
  for (int64_t r = first; r < last; ++r) {
    const T* const logits = static_cast<const T*>(tile.logits) + r * tile.stride;
    C* const staged = static_cast<C*>(tile.stage) + (tile.keeps_stage ? r * tile.classes : 0);
    StepSum<C> sum;
    const bool is_plain = tile.keeps_stage
                              ? FoldPlainly<true>(logits, tile.classes, tile.labels[r], OfRow(scaling), staged, sum)
                              : FoldPlainly<false>(logits, tile.classes, tile.labels[r], OfRow(scaling), staged, sum);
    if (HWY_LIKELY(is_plain)) {
      states[r] = StateOf<T, Scaling>(sum);
    } else {
      FoldCarefully(logits, tile.classes, tile.labels[r], scaling, staged, &states[r]);
    }
  }
}

// A run of rows that are all read. One loop may do for exponentials and sum: see MapAndSum.
template <class T, class Scaling>
void StageRun(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, RowState* states) {
  if (HWY_CAP_GE512 && tile.classes >= kOwnLoop) {
    StageSingly<T>(tile, first, last, scaling, states);
    return;
  }
  constexpr int64_t kRoom = 2 * kStageBytes / static_cast<int64_t>(sizeof(Compute<T>));
  const int64_t count = tile.keeps_stage ? last - first : std::max<int64_t>(kRoom / tile.classes, 1);
  for (int64_t r = first; r < last; r += count) {
    const int64_t end = std::min(r + count, last);
    if (!StageTogether<T>(tile, r, end, scaling, states)) StageSingly<T>(tile, r, end, scaling, states);
  }
}

// Rows side by side: see columns-inl.h. A row that is not plain is staged by itself.
template <class T>
void StageColumns(const Tile& tile, RowState* states) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(tile.logits);
  const Columns<T> columns(tile);
  columns.Fold(states);
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (HWY_LIKELY(columns.IsPlain(r)) || tile.labels[r] == kSkipRow) continue;
    T logits[kMostColumnClasses];
    C staged[kMostColumnClasses];
    for (int64_t j = 0; j < tile.classes; ++j) logits[j] = x[r + j * tile.class_stride];
    FoldCarefully(logits, tile.classes, tile.labels[r], Unscaled<T>(), staged, &states[r]);
    for (int64_t j = 0; j < tile.classes && columns.HasStage(); ++j) columns.At(r, j) = staged[j];
  }
}

template <class T>
void StageRows(const Tile& tile, RowState* states) {
  if (tile.class_stride != 1) {
    StageColumns<T>(tile, states);
    return;
  }
  int64_t first = 0;
  while (first < tile.rows) {
    const bool skipped = tile.labels[first] == kSkipRow;
    int64_t last = first + 1;
    while (last < tile.rows && (tile.labels[last] == kSkipRow) == skipped) ++last;
    if (!skipped) {
      WithScale<T>(tile.scale, [&](const auto& scaling) { StageRun<T>(tile, first, last, scaling, states); });
    }
    first = last;
  }
}

template <class T>
void Gather(const Tile& tile, double* values) {
  const T* const x = static_cast<const T*>(tile.logits);
  for (int64_t r = 0; r < tile.rows; ++r) {
    values[r] = tile.labels[r] == kSkipRow ? 0.0 : WidenOne(x + r * tile.stride + tile.labels[r] * tile.class_stride);
  }
}

// The reference is subtracted once, in f64: logits of f32 that lie close to each other far from 0 are multiples of the
// same power of two, so that their sum is exact; others are as far apart as they are large.
template <class T>
void SumDifferences(const Tile& tile, double* sums) {
  using C = Compute<T>;
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (tile.labels[r] == kSkipRow) continue;
    const T* const x = static_cast<const T*>(tile.logits) + r * tile.stride;
    SignedSum<C> sum;
    Itself itself;
    Fold<false>(x, tile.classes, -1, itself, sum, static_cast<C*>(nullptr));
    double high, low;
    sum.Finish(&high, &low);
    sums[r] = (high - static_cast<double>(tile.classes) * WidenOne(x + tile.labels[r])) + low;
  }
}

template <class T>
void FindLargestOfRows(const Tile& tile, int64_t* classes) {
  using C = Compute<T>;
  const Tag<C> d;
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (tile.labels[r] == kSkipRow) continue;
    const T* const x = static_cast<const T*>(tile.logits) + r * tile.stride;
    Itself itself;
    MaxAccumulator<C> largest;
    Fold<false>(x, tile.classes, -1, itself, largest, static_cast<C*>(nullptr));
    const C max = largest.Finish();
    classes[r] = -1;
    if (!(max < std::numeric_limits<C>::infinity())) continue;
    int64_t j = 0;
    for (; j + LanesOf<C>() <= tile.classes; j += LanesOf<C>()) {
      const auto first = hn::FindFirstTrue(d, hn::Eq(FromStorage(d, x + j), hn::Set(d, max)));
      if (first < 0) continue;
      classes[r] = j + static_cast<int64_t>(first);
      break;
    }
    if (classes[r] >= 0) continue;
#if HWY_CAP_GE512
    classes[r] = j + static_cast<int64_t>(
                         hn::FindFirstTrue(d, hn::Eq(PartFromStorage(d, tile.classes - j, x + j), hn::Set(d, max))));
#else
    while (WidenOne(x + j) != static_cast<double>(max)) ++j;
    classes[r] = j;
#endif
  }
}

template <class T, class U>
void SumTargetsOf(const T* x, const U* u, int64_t n, int64_t label, TargetSums* sums) {
  double low;
  WeightedGaps<U> gap = {u, n, static_cast<float>(WidenOne(x + label))};
  SinglesSum gaps;
  Fold<false>(x, n, -1, gap, gaps, static_cast<float*>(nullptr));
  gaps.Finish(&sums->gaps, &low);
  Weights<U> weight;
  SinglesSum weights;
  Fold<false>(u, n, label, weight, weights, static_cast<float*>(nullptr));
  weights.Finish(&sums->rest, &low);
  sums->own = WidenOne(u + label);
}

template <class T>
void SumTargets(const Tile& tile, const TargetRows& targets, TargetSums* sums) {
  if constexpr (sizeof(Compute<T>) == sizeof(float)) {
    for (int64_t r = 0; r < tile.rows; ++r) {
      if (tile.labels[r] == kSkipRow) continue;
      const T* const x = static_cast<const T*>(tile.logits) + r * tile.stride;
      if (targets.are_singles) {
        SumTargetsOf(x, static_cast<const float*>(targets.data) + r * targets.stride, tile.classes, tile.labels[r],
                     &sums[r]);
      } else {
        SumTargetsOf(x, static_cast<const T*>(targets.data) + r * targets.stride, tile.classes, tile.labels[r],
                     &sums[r]);
      }
    }
  }
}

template <class T>
void Widen(const void* logits, int64_t n, double* values) {
  Compute<T> computed[kWiden];
  Map(static_cast<const T*>(logits), n, Itself(), computed);
  std::copy(computed, computed + n, values);
}

template <class T>
void Narrow(const double* values, int64_t n, void* out) {
  Compute<T> computed[kWiden];
  for (int64_t i = 0; i < n; ++i) computed[i] = static_cast<Compute<T>>(values[i]);
  Map(computed, n, Itself(), static_cast<T*>(out));
}

// ---- gradients

// The factor that turns e^x into a gradient element; 0 if the row must be scaled in two steps: where the factor is no
// normal number, or a probability below the smallest normal number could come out.
template <class C>
C PlainFactor(const RowGrad& grad) {
  constexpr int kLargestExponent = -ExpConstants<C>::kLowest - ExpConstants<C>::kPlainExponent - 3;
  if (grad.plan != kPlain || grad.exponent > kLargestExponent) return C(0);
  const double factor = TimesPowerOfTwo(grad.scale / grad.total, -int64_t{grad.exponent});
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
  C factor;
  C offset;
  double target;
  double mark;  // the label's element
  bool has_mark;
};

template <class C>
RowWrite<C> PlanWrite(const GradientTile& out, int64_t r, const RowState* states, const RowGrad* grads, C* staged,
                      int64_t classes) {
  const C known = out.factors != nullptr ? static_cast<C>(out.factors[r]) : C(0);
  if (HWY_LIKELY(known != C(0))) return {known, C(0), 0.0, out.marks[r], true};
  const C factor = PrepareStaged(states[r], grads[r], staged, classes);
  if (grads[r].kind != RowGrad::kSoftmax) return {factor, C(0), 0.0, 0.0, false};
  return {factor, static_cast<C>(grads[r].offset), grads[r].target, grads[r].label_value, true};
}

template <class T>
void WriteColumns(const Tile& tile, const RowState* states, const RowGrad* grads, const GradientTile& out) {
  using C = Compute<T>;
  const Columns<T> columns(tile);
  C* const factors = columns.Factors();
  C* const marks = columns.Marks();
  for (int64_t r = 0; r < tile.rows; ++r) {
    factors[r] = static_cast<C>(out.factors[r]);
    marks[r] = static_cast<C>(out.marks[r]);
  }
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (HWY_LIKELY(factors[r] != C(0))) continue;
    C staged[kMostColumnClasses];
    for (int64_t j = 0; j < tile.classes; ++j) staged[j] = columns.At(r, j);
    const RowWrite<C> write = PlanWrite(out, r, states, grads, staged, tile.classes);
    for (int64_t j = 0; j < tile.classes; ++j) columns.At(r, j) = staged[j];
    factors[r] = write.factor;
    marks[r] = write.has_mark ? static_cast<C>(write.mark) : staged[0];
  }
  columns.Write(static_cast<T*>(out.data), out.class_stride, out.stream);
}

// Rows together: each element has its factor in a second stage, so that one dense loop multiplies, converts and stores,
// however few classes a row has. The label's element is final; its factor is 1.
template <class T>
void WriteStaged(const Tile& tile, const RowState* states, const RowGrad* grads, const GradientTile& out) {
  using C = Compute<T>;
  if (tile.class_stride != 1) {
    WriteColumns<T>(tile, states, grads, out);
    return;
  }
  C* const stage = static_cast<C*>(tile.stage);
  C* const factors = static_cast<C*>(tile.factors);
  const int64_t classes = tile.classes;
  // Rows whose elements are more than products are written one by one.
  const bool is_together = factors != nullptr && !out.has_offsets && out.targets.data == nullptr;
  // Rows that share cache lines go past the cache in one piece: half a line is slow to write.
  const bool is_joined = out.stream && out.stride == classes && classes * static_cast<int64_t>(sizeof(T)) % 64 != 0;
  T* const gradient = static_cast<T*>(out.data);
  // Meanwhile the next tile's logits come, so that the memory does not idle.
  const T* const next =
      static_cast<const T*>(tile.logits) + tile.rows * tile.stride - kPrefetchBytes / static_cast<int64_t>(sizeof(T));
  for (int64_t r = 0; r < tile.rows; ++r) {
    C* const staged = stage + r * classes;
    const RowWrite<C> write = PlanWrite(out, r, states, grads, staged, classes);
    if (!is_together && is_joined) {
      WithTargets<T>(Times<C>{write.factor, write.offset}, out.targets, r, classes, write.target,
                     [&](const auto& element) { Map(staged, classes, element, staged); });
      if (write.has_mark) staged[tile.labels[r]] = static_cast<C>(write.mark);
    } else if (is_together) {
      Spread(write.factor, classes, factors + r * classes);
      if (!write.has_mark) continue;
      staged[tile.labels[r]] = static_cast<C>(write.mark);
      factors[r * classes + tile.labels[r]] = C(1);
    } else {
      WithTargets<T>(Times<C>{write.factor, write.offset}, out.targets, r, classes, write.target,
                     [&](const auto& element) {
                       MapOut(staged, classes, element, gradient + r * out.stride, out.stream, next + r * tile.stride);
                     });
      if (write.has_mark) NarrowOne(write.mark, gradient + r * out.stride + tile.labels[r]);
    }
  }
  if (!is_together && is_joined) MapOut(stage, tile.rows * classes, Itself(), gradient, true, next);
  for (int64_t r = 0; r < (out.stride == classes ? 1 : tile.rows) && is_together; ++r) {
    const TimesEach<C> product = {factors + r * classes};
    const int64_t n = out.stride == classes ? tile.rows * classes : classes;
    MapOut(stage + r * classes, n, product, gradient + r * out.stride, out.stream, next + r * tile.stride);
  }
  if (out.stream) hwy::FlushStream();
}

// The gradient of a slice but for its label, where it cannot be made from kept exponentials.
template <class T, class Scaling>
void WriteClasses(const Slice& slice, const RowGrad& grad, const Scaling& scaling, Compute<T> plain_factor, T* to,
                  bool stream) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(slice.logits);
  if (grad.kind != RowGrad::kSoftmax) {
    const Constant<C> constant = {grad.kind == RowGrad::kZero ? C(0) : CanonicalNaN<C>()};
    Map(to, slice.classes, constant, to);
  } else if (plain_factor != C(0)) {
    const PlainGrad<T, Scaling> gradient = {plain_factor, static_cast<C>(grad.offset), scaling};
    WithTargets<T>(gradient, slice.targets, 0, slice.classes, grad.target,
                   [&](const auto& element) { MapOut(x, slice.classes, element, to, stream); });
  } else {
    const CarefulExp<C, Scaling> exp = {scaling.ToLogit(grad.anchor), static_cast<C>(grad.exponent), LeastKept<C>(grad),
                                        scaling};
    const CarefulGrad<C, Scaling> gradient = {exp, static_cast<C>(grad.scale / grad.total),
                                              static_cast<C>(grad.offset)};
    WithTargets<T>(gradient, slice.targets, 0, slice.classes, grad.target,
                   [&](const auto& element) { MapOut(x, slice.classes, element, to, stream); });
  }
}

template <class T>
void BeginWrite(const Slice& slice, const RowGrad& grad, void* out, bool stream, PendingWrite* pending) {
  using C = Compute<T>;
  T* const to = static_cast<T*>(out);
  const bool has_label = grad.kind == RowGrad::kSoftmax && slice.label >= 0 && slice.label < slice.classes;
  *pending = PendingWrite{slice.stage, to, 0, 0.0, grad.offset, nullptr, grad.label_value, stream};
  if (has_label) pending->label_out = to + slice.label;
  const C factor = grad.kind == RowGrad::kSoftmax ? PlainFactor<C>(grad) : C(0);
  if (!slice.keeps_stage || factor == C(0)) {
    WithScale<T>(slice.scale, [&](const auto& scaling) { WriteClasses(slice, grad, scaling, factor, to, stream); });
    return;
  }
  if (slice.targets.data != nullptr) {
    WithTargets<T>(
        Times<C>{factor, static_cast<C>(grad.offset)}, slice.targets, 0, slice.classes, grad.target,
        [&](const auto& element) { MapOut(static_cast<const C*>(slice.stage), slice.classes, element, to, stream); });
    return;
  }
  // Up to the first aligned element now, so that the rest can bypass the cache.
  const int64_t head = std::min(slice.classes, stream ? ElementsToAlignment(to) : 0);
  const C* const staged = static_cast<const C*>(slice.stage);
  const Times<C> gradient = {factor, static_cast<C>(grad.offset)};
  Map(staged, head, gradient, to);
  pending->stage = staged + head;
  pending->out = to + head;
  pending->left = slice.classes - head;
  pending->factor = static_cast<double>(factor);
}

template <class T>
void FinishWrite(PendingWrite* pending) {
  using C = Compute<T>;
  if (pending->left > 0) {
    const Times<C> gradient = {static_cast<C>(pending->factor), static_cast<C>(pending->offset)};
    MapOut(static_cast<const C*>(pending->stage), pending->left, gradient, static_cast<T*>(pending->out),
           pending->stream);
    pending->left = 0;
  }
  if (pending->stream) hwy::FlushStream();
  if (pending->label_out != nullptr) NarrowOne(pending->label_value, static_cast<T*>(pending->label_out));
  pending->label_out = nullptr;
}

template <class T>
constexpr SoftmaxKernels KernelsOf() {
  return {kKnowsScale<T>,    StageRows<T>,  WriteStaged<T>,       FoldSlice<T>, BeginWrite<T>, FinishWrite<T>,
          SumDifferences<T>, SumTargets<T>, FindLargestOfRows<T>, Gather<T>,    Widen<T>,      Narrow<T>};
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
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseKernels)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseKernels),
                                                                             HWY_CHOOSE_FALLBACK(ChooseKernels)};
  return kTable[isa](dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
