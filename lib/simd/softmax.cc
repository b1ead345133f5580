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
#include "lib/simd/gradient-inl.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/operations-inl.h"
#include "lib/simd/pairs-inl.h"
#include "lib/simd/staged-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

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
// plain, and the stage means nothing.
template <bool kKeep, class T, class Op>
HWY_NOINLINE bool FoldPlainly(const T* x, int64_t n, int64_t label, const Op& op, Compute<T>* staged,
                              StepSum<Compute<T>>& total) {
  // Copies that nobody else can see stay in registers. By value, `op` would be copied in pieces that are larger than
  // those it was stored in, which waits until all stores before have reached the cache.
  Op exp = op;
  StepSum<Compute<T>> sum = total;
  MapAndSum<kKeep>(x, n, label, exp, staged, sum);
  if (!exp.InRange()) return false;
  total = sum;
  return true;
}

// What the last row or chunk was is what the next one is taken for first. It makes no difference to the bits.
enum class Expected { kPlain, kMasked, kCareful };

// Whether PlainExp finds n logits in its range, -inf apart: if NaN is among them, it may still not.
template <class T, class Scaling>
bool CouldBePlain(const T* x, int64_t n, const Scaling& scaling) {
  using C = Compute<T>;
  Itself itself;
  ExtremesAccumulator<C> extremes;
  Fold<false>(x, n, -1, itself, extremes, static_cast<C*>(nullptr));
  PlainExp<T, Scaling> exp(scaling);
  exp(Tag<C>(), extremes.max, 0);
  exp(Tag<C>(), extremes.min, 0);
  return exp.InRange();
}

// FoldPlainly, and once more with -inf allowed.
template <bool kKeep, class T, class Scaling>
bool FoldPlainOrMasked(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged,
                       StepSum<Compute<T>>& total, Expected* expected) {
  if (*expected == Expected::kCareful && !CouldBePlain(x, n, scaling)) return false;
  const PlainExp<T, Scaling> plain(scaling);
  const bool is_masked = *expected == Expected::kMasked;
  if (!is_masked && FoldPlainly<kKeep>(x, n, label, plain, staged, total)) {
    *expected = Expected::kPlain;
    return true;
  }
  const bool is_plain = FoldPlainly<kKeep>(x, n, label, PlainExp<T, Scaling, true>(scaling), staged, total);
  *expected = is_plain ? Expected::kMasked : Expected::kCareful;
  return is_plain;
}

// FoldPlainly, while as many elements of what is pending are written as whole steps have.
template <bool kStream, class T, class Scaling>
bool FoldAndWrite(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged,
                  StepSum<Compute<T>>& sum, PendingWrite* pending) {
  using C = Compute<T>;
  T* const out = static_cast<T*>(pending->out);
  const C* const kept = static_cast<const C*>(pending->stage);
  const PlainExpAndWrite<kStream, T, Scaling> both = {PlainExp<T, Scaling>(scaling), kept, out,
                                                      static_cast<C>(pending->factor), static_cast<C>(pending->offset)};
  const int64_t whole = n / kStep * kStep;
  pending->out = out + whole;
  pending->stage = kept + whole;
  pending->left -= whole;
  return FoldPlainly<true>(x, n, label, both, staged, sum);
}

// Whether FoldAndWrite can be: enough is pending, and where it goes past the cache it is aligned.
template <class T>
bool CanFoldAndWrite(int64_t n, Expected expected, const PendingWrite* pending) {
  const int64_t whole = HWY_CAP_GE512 ? n / kStep * kStep : n % kStep == 0 ? n : 0;
  if (pending == nullptr || whole == 0 || pending->left < whole || expected != Expected::kPlain) return false;
  return !pending->stream || ElementsToAlignment(static_cast<const T*>(pending->out)) == 0;
}

// FoldPlainOrMasked, the exponentials kept, and what is pending written meanwhile where that can be.
template <class T, class Scaling>
bool FoldWhilePending(const T* x, int64_t n, int64_t label, const Scaling& scaling, Compute<T>* staged,
                      StepSum<Compute<T>>& sum, Expected* expected, PendingWrite* pending) {
  if (CanFoldAndWrite<T>(n, *expected, pending)) {
    const bool is_plain = pending->stream ? FoldAndWrite<true>(x, n, label, scaling, staged, sum, pending)
                                          : FoldAndWrite<false>(x, n, label, scaling, staged, sum, pending);
    if (is_plain) return true;
    *expected = Expected::kMasked;
  }
  return FoldPlainOrMasked<true>(x, n, label, scaling, staged, sum, expected);
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
  const T* const x = static_cast<const T*>(slice.logits);
  C* staged = static_cast<C*>(slice.stage);
  StepSum<C> plain;
  Expected expected = Expected::kPlain;
  int64_t count = 1;
  for (int64_t first = 0; first < slice.classes; first += kChunk) {
    const T* const from = x + first;
    const int64_t n = std::min(kChunk, slice.classes - first);
    const int64_t label = slice.label - first;
    bool is_plain = false;
    if (!slice.keeps_stage) {
      is_plain = FoldPlainOrMasked<false>(from, n, label, scaling, staged, plain, &expected);
    } else {
      // What is pending may lie where this chunk goes: as many elements leave first, unless all leave meanwhile.
      const bool has_pending = pending != nullptr && pending->left > 0;
      const bool leaves_meanwhile = n % kStep == 0 && CanFoldAndWrite<T>(n, expected, pending);
      if (has_pending && !leaves_meanwhile) WritePending<T>(n, pending);
      is_plain = FoldWhilePending(from, n, label, scaling, staged, plain, &expected, pending);
    }
    if (HWY_UNLIKELY(!is_plain)) {
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

// Sums of f32 terms are what they are.
template <class T>
constexpr bool kHasLows = sizeof(Compute<T>) == sizeof(double);

// Stages all rows of a run in one go, and finds their sums and, of f64, what these lack. False: they are not plain
// together.
template <class T, class Scaling>
bool StageTogether(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, double* sums, double* lows) {
  using C = Compute<T>;
  const int64_t classes = tile.classes;
  if (tile.stride != classes && last - first > 1) return false;
  C* const stage = static_cast<C*>(tile.stage) + (tile.keeps_stage ? first * classes : 0);
  const auto is_plain = [&](auto exp) XENT_LAMBDA {
    Map(static_cast<const T*>(tile.logits) + first * tile.stride, (last - first) * classes, exp, stage);
    return exp.InRange();
  };
  if (!is_plain(PlainExp<T, Scaling>(scaling)) && !is_plain(PlainExp<T, Scaling, true>(scaling))) return false;
  // All labels before all sums: a load that meets a smaller store still on its way has to wait for it.
  for (int64_t r = first; r < last; ++r) stage[(r - first) * classes + tile.labels[r]] = C(0);
  const StagedRow<C> row(classes);
  const int64_t count = last - first;
  int64_t r = 0;
#if HWY_CAP_GE512
  if constexpr (sizeof(C) == sizeof(float)) r = row.SumEights(stage, count, sums);
#endif
  for (; r < count; ++r) row.Sum(stage + r * classes, &sums[r], &lows[r]);
  return true;
}

// Whether a loop of each row's own makes exponentials and sum at once: see MapAndSum.
inline bool HasOwnLoop(const Tile& tile) { return HWY_CAP_GE512 && tile.classes >= kOwnLoop; }

// Stages one row. False: it is not plain. expected: see FoldPlainOrMasked. What is pending lies elsewhere.
template <class T, class Scaling>
bool StageOne(const Tile& tile, int64_t r, const Scaling& scaling, double* sum, double* low, Expected* expected,
              PendingWrite* pending) {
  using C = Compute<T>;
  const T* const logits = static_cast<const T*>(tile.logits) + r * tile.stride;
  if (!HasOwnLoop(tile)) {
    if (*expected == Expected::kCareful && !CouldBePlain(logits, tile.classes, scaling)) return false;
    const bool is_plain = StageTogether<T>(tile, r, r + 1, scaling, sum, low);
    *expected = is_plain ? Expected::kPlain : Expected::kCareful;
    return is_plain;
  }
  C* const staged = static_cast<C*>(tile.stage) + (tile.keeps_stage ? r * tile.classes : 0);
  StepSum<C> terms;
  const bool is_plain =
      tile.keeps_stage
          ? FoldWhilePending(logits, tile.classes, tile.labels[r], scaling, staged, terms, expected, pending)
          : FoldPlainOrMasked<false>(logits, tile.classes, tile.labels[r], scaling, staged, terms, expected);
  terms.Finish(sum, low);
  return is_plain;
}

// Stages a run of rows one by one.
template <class T, class Scaling>
void StageSingly(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, RowState* states) {
  using C = Compute<T>;
  Expected expected = Expected::kPlain;
  for (int64_t r = first; r < last; ++r) {
    double sum, low;
    if (HWY_LIKELY(StageOne<T>(tile, r, scaling, &sum, &low, &expected, nullptr))) {
      states[r] = PlainState<Scaling>(sum, low);
    } else {
      const T* const logits = static_cast<const T*>(tile.logits) + r * tile.stride;
      C* const staged = static_cast<C*>(tile.stage) + (tile.keeps_stage ? r * tile.classes : 0);
      FoldCarefully(logits, tile.classes, tile.labels[r], scaling, staged, &states[r]);
    }
  }
}

// Rows that can be staged together: the stage of a tile that keeps none has a constant size.
template <class T>
int64_t RowsOfStage(const Tile& tile) {
  constexpr int64_t kRoom = 2 * kStageBytes / static_cast<int64_t>(sizeof(Compute<T>));
  const int64_t fitting = tile.keeps_stage ? kPlainTileRows : std::max<int64_t>(kRoom / tile.classes, 1);
  return std::min(fitting, kPlainTileRows);
}

// A run of rows that are all read. One loop may do for exponentials and sum: see MapAndSum.
template <class T, class Scaling>
void StageRun(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, RowState* states) {
  if (HasOwnLoop(tile)) {
    StageSingly<T>(tile, first, last, scaling, states);
    return;
  }
  const int64_t count = RowsOfStage<T>(tile);
  double sums[kPlainTileRows], lows[kPlainTileRows];
  for (int64_t r = first; r < last; r += count) {
    const int64_t end = std::min(r + count, last);
    if (!StageTogether<T>(tile, r, end, scaling, sums, lows)) {
      StageSingly<T>(tile, r, end, scaling, states);
      continue;
    }
    for (int64_t i = 0; i < end - r; ++i) {
      states[r + i] = PlainState<Scaling>(sums[i], kHasLows<T> ? lows[i] : 0.0);
    }
  }
}

// A run of rows that are all read, if they are plain.
template <class T, class Scaling>
bool StagePlainRun(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, double* sums,
                   PendingWrite* pending) {
  double lows[kPlainTileRows];
  if (!HasOwnLoop(tile) && tile.stride == tile.classes) {
    const int64_t count = RowsOfStage<T>(tile);
    for (int64_t r = first; r < last; r += count) {
      if (!StageTogether<T>(tile, r, std::min(r + count, last), scaling, sums + r, lows + r)) return false;
    }
  } else {
    Expected expected = Expected::kPlain;
    for (int64_t r = first; r < last; ++r) {
      if (!StageOne<T>(tile, r, scaling, &sums[r], &lows[r], &expected, pending)) return false;
    }
  }
  for (int64_t r = first; r < last && (kHasLows<T> || Scaling::kMayBias); ++r) {
    const RowState state = PlainState<Scaling>(sums[r], kHasLows<T> ? lows[r] : 0.0);
    sums[r] = state.sum + state.low;
  }
  return true;
}

// Rows side by side: see columns-inl.h. A row that is not plain is staged by itself.
template <class T>
void StageColumns(const Tile& tile, RowState* states) {
  using C = Compute<T>;
  const T* const x = static_cast<const T*>(tile.logits);
  const Columns<T> columns(tile);
  columns.FoldPlainOrMasked();
  for (int64_t r = 0; r < tile.rows; ++r) {
    states[r] = columns.StateOf(r);
    if (HWY_LIKELY(columns.IsPlain(r)) || tile.labels[r] == kSkipRow) continue;
    T logits[kMostColumnClasses];
    C staged[kMostColumnClasses];
    for (int64_t j = 0; j < tile.classes; ++j) logits[j] = x[r + j * tile.class_stride];
    FoldCarefully(logits, tile.classes, tile.labels[r], Unscaled<T>(), staged, &states[r]);
    for (int64_t j = 0; j < tile.classes && columns.HasStage(); ++j) columns.At(r, j) = staged[j];
  }
}

template <class T>
bool StagePlainColumns(const Tile& tile, double* sums) {
  const Columns<T> columns(tile);
  columns.FoldPlainOrMasked();
  for (int64_t r = 0; r < tile.rows; ++r) {
    const RowState state = columns.StateOf(r);
    sums[r] = state.sum + state.low;
  }
  if (HWY_LIKELY(tile.is_read && columns.ArePlain())) return true;
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (columns.IsPlain(r) && tile.labels[r] != kSkipRow) continue;
    if (tile.labels[r] != kSkipRow) return false;
    sums[r] = 1.0;
    // What is not finite would not be 0 times the row's factor.
    for (int64_t j = 0; j < tile.classes && columns.HasStage() && !columns.IsPlain(r); ++j) columns.At(r, j) = 0;
  }
  return true;
}

template <class T>
void StageRows(const Tile& tile, RowState* states) {
  if (tile.class_stride != 1) {
    StageColumns<T>(tile, states);
    return;
  }
  ForEachRun(tile, [&](int64_t first, int64_t last, bool is_read) {
    if (!is_read) return true;
    WithScale<T>(tile.scale, [&](const auto& scaling) { StageRun<T>(tile, first, last, scaling, states); });
    return true;
  });
}

template <class T>
bool StagePlainRows(const Tile& tile, double* sums, PendingWrite* pending) {
  using C = Compute<T>;
  return ForEachRun(tile, [&](int64_t first, int64_t last, bool is_read) {
    if (is_read) {
      return WithScale<T>(
          tile.scale, [&](const auto& scaling) { return StagePlainRun<T>(tile, first, last, scaling, sums, pending); });
    }
    std::fill(sums + first, sums + last, 1.0);
    C* const stage = static_cast<C*>(tile.stage);
    if (tile.keeps_stage) std::fill(stage + first * tile.classes, stage + last * tile.classes, C(0));
    return true;
  });
}

template <class T>
void Gather(const Tile& tile, double* values) {
  const T* const x = static_cast<const T*>(tile.logits);
  for (int64_t r = 0; r < tile.rows; ++r) {
    values[r] = tile.labels[r] == kSkipRow ? 0.0 : WidenOne(x + r * tile.stride + tile.labels[r] * tile.class_stride);
  }
}

// Logits behind the exponentials: they are in the cache then.
template <class T>
bool StagePlain(const Tile& tile, double* sums, double* logit, PendingWrite* pending) {
  const bool is_plain =
      tile.class_stride != 1 ? StagePlainColumns<T>(tile, sums) : StagePlainRows<T>(tile, sums, pending);
  if (!is_plain) return false;
  Gather<T>(tile, logit);
  for (int64_t r = tile.rows; r % kRowLanes != 0; ++r) {
    sums[r] = 1.0;
    logit[r] = 0.0;
  }
  return true;
}

// So few that ordering them into lanes takes longer than adding one after another.
constexpr int64_t kFewClasses = 16;

// The reference is subtracted once, in f64: logits of f32 that lie close to each other far from 0 are multiples of the
// same power of two, so that their sum is exact; others are as far apart as they are large.
template <class T>
void SumDifferences(const Tile& tile, double* sums) {
  using C = Compute<T>;
  for (int64_t r = 0; r < tile.rows; ++r) {
    if (tile.labels[r] == kSkipRow) continue;
    const T* const x = static_cast<const T*>(tile.logits) + r * tile.stride;
    double high = 0.0;
    double low = 0.0;
    if (sizeof(C) == sizeof(float) && tile.classes <= kFewClasses) {
      for (int64_t j = 0; j < tile.classes; ++j) high += WidenOne(x + j);
    } else {
      SignedSum<C> sum;
      Itself itself;
      Fold<false>(x, tile.classes, -1, itself, sum, static_cast<C*>(nullptr));
      sum.Finish(&high, &low);
    }
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

template <class T>
constexpr auto PairRowsOf() {
  if constexpr (sizeof(Compute<T>) == sizeof(float)) {
    return PairRows<T>;
  } else {
    return nullptr;
  }
}

template <class T>
constexpr SoftmaxKernels KernelsOf() {
  return {kKnowsScale<T>,  StageRows<T>,         WriteStaged<T>, StagePlain<T>,  WritePlain<T>,
          PairRowsOf<T>(), FoldSlice<T>,         BeginWrite<T>,  FinishWrite<T>, SumDifferences<T>,
          SumTargets<T>,   FindLargestOfRows<T>, Gather<T>,      Widen<T>,       Narrow<T>};
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
