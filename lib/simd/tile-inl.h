// The rows of a tile into its stage: together where they are plain and follow each other, else one by one; or side by
// side, where their classes lie apart.

#if defined(XENT_SIMD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_TILE_INL_H_
#undef XENT_SIMD_TILE_INL_H_
#else
#define XENT_SIMD_TILE_INL_H_
#endif

#include <algorithm>

#include "lib/kernels.h"
#include "lib/row_state.h"
#include "lib/simd/columns-inl.h"
#include "lib/simd/fold-inl.h"
#include "lib/simd/staged-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

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
  const T* const x = static_cast<const T*>(tile.logits) + first * tile.stride;
  const int64_t n = (last - first) * classes;
  C* const stage = static_cast<C*>(tile.stage) + (tile.keeps_stage ? first * classes : 0);
  const bool is_plain = TryPlain(x, n, true, scaling, tile.expected, [&](auto masked) XENT_LAMBDA {
    PlainExp<T, Scaling, decltype(masked)::value> exp(scaling);
    Map(x, n, exp, stage);
    return exp.Found();
  });
  if (!is_plain) return false;
  // All labels before all sums: a load that meets a smaller store still on its way has to wait for it.
  for (int64_t r = first; r < last; ++r) stage[(r - first) * classes + tile.labels[r]] = C(0);
  const StagedRow<C> row(classes);
  const int64_t count = last - first;
  int64_t r = 0;
#if HWY_TARGET != HWY_SCALAR
  if constexpr (sizeof(C) == sizeof(double)) r = row.SumInTurn(stage, count, sums, lows);
#endif
#if HWY_CAP_GE512
  if constexpr (sizeof(C) == sizeof(float)) r = row.SumEights(stage, count, sums);
#endif
  for (; r < count; ++r) row.Sum(stage + r * classes, &sums[r], &lows[r]);
  return true;
}

// Whether some of rows that were staged together are nothing beside masked logits: see IsZero.
inline bool HasZeros(const Tile& tile, int64_t count, const double* sums) {
  if (*tile.expected == Expected::kPlain) return false;
  bool has_zeros = false;
  for (int64_t r = 0; r < count; ++r) has_zeros |= sums[r] == 0.0;
  if (has_zeros) *tile.expected = Expected::kCareful;
  return has_zeros;
}

// Whether a loop of each row's own makes exponentials and sum at once: see MapAndSum.
inline bool HasOwnLoop(const Tile& tile) { return HWY_CAP_GE512 && tile.classes >= kOwnLoop; }

// Stages one row. False: it is not plain. What is pending lies elsewhere.
template <class T, class Scaling>
bool StageOne(const Tile& tile, int64_t r, const Scaling& scaling, double* sum, double* low, PendingWrite* pending) {
  using C = Compute<T>;
  if (!HasOwnLoop(tile)) return StageTogether<T>(tile, r, r + 1, scaling, sum, low) && !HasZeros(tile, 1, sum);
  const T* const logits = static_cast<const T*>(tile.logits) + r * tile.stride;
  C* const staged = static_cast<C*>(tile.stage) + (tile.keeps_stage ? r * tile.classes : 0);
  StepSum<C> terms;
  const bool is_plain =
      tile.keeps_stage
          ? FoldWhilePending(logits, tile.classes, true, tile.labels[r], scaling, staged, terms, tile.expected, pending)
          : FoldPlainOrMasked<false>(logits, tile.classes, true, tile.labels[r], scaling, staged, terms, tile.expected);
  terms.Finish(sum, low);
  return is_plain && !HasZeros(tile, 1, sum);
}

// Stages a run of rows one by one.
template <class T, class Scaling>
void StageSingly(const Tile& tile, int64_t first, int64_t last, const Scaling& scaling, RowState* states) {
  using C = Compute<T>;
  for (int64_t r = first; r < last; ++r) {
    double sum, low;
    if (HWY_LIKELY(StageOne<T>(tile, r, scaling, &sum, &low, nullptr))) {
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
    if (!StageTogether<T>(tile, r, end, scaling, sums, lows) || HasZeros(tile, end - r, sums)) {
      StageSingly<T>(tile, r, end, scaling, states);
      continue;
    }
    for (int64_t i = 0; i < end - r; ++i) {
      states[r + i] = PlainState<Scaling>(sums[i], kHasLows<T> ? lows[i] : 0.0);
    }
  }
}

// A run of rows that are all read, if they are plain. (MathKernels::plain_rows takes no sum that is 0.)
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
    for (int64_t r = first; r < last; ++r) {
      if (!StageOne<T>(tile, r, scaling, &sums[r], &lows[r], pending)) return false;
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

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_TILE_INL_H_
