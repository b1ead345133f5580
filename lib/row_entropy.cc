// Kernels find the sums of a chunk from whichever anchor suits it. Here they become relative to its largest logit, and
// the chunks of a row are merged, in groups of one slice: terms move to a larger top by
//   e^(z - top) (top - z) = e^(top_1 - top) (e^(z - top_1) (top_1 - z) + e^(z - top_1) (top - top_1)).
#include "lib/row_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/reduce.h"
#include "lib/row_state.h"
#include "lib/softmax_general.h"
#include "lib/softmax_rows.h"

namespace xent {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Beyond this, e^-distance is 0 beside anything.
constexpr double kFar = 524288.0;

constexpr int64_t kPartsOfSlice = kSlice / kChunk;

}  // namespace

bool HasRowEntropies(const SoftmaxTask& task) {
  return task.logits.HasPlainRows() && !task.logits.IsDouble() && task.options.softcap == 0.0 &&
         (task.options.scale == 1.0 || IsScaledEarly(task));
}

RowEntropies::RowEntropies(const SoftmaxTask& task, int isa_slot, bool wants_entropies)
    : task_(task),
      kernels_(SoftmaxKernelsFor(isa_slot, task.logits.dtype)),
      math_(MathKernelsFor(isa_slot)),
      sum_(wants_entropies ? kernels_.sum_entropies : kernels_.sum_others) {}

// `count` rows, kTileRows at most, of kChunk classes at most.
void RowEntropies::FindParts(const char* logits, int64_t stride, int64_t count, int64_t classes, const int64_t* read,
                             EntropyState* parts) const {
  static_assert(kTileRows >= kPartsOfSlice, "a slice is a tile at most");
  EntropySums sums[kTileRows];
  double distance[kTileRows] = {}, mantissa[kTileRows], exponent[kTileRows];
  const double scale = task_.options.scale;
  sum_(Tile{logits, stride, 1, count, classes, read, nullptr, nullptr, false, false, scale, nullptr}, sums);
  bool is_scaled = false;
  for (int64_t r = 0; r < count; ++r) {
    if (read[r] == kSkipRow) sums[r] = EntropySums{-kInfinity, 0.0, 0.0, 0.0, 0};
    const double above = scale * sums[r].top - sums[r].anchor;
    if (above >= kFar) sums[r].others = sums[r].gaps = 0.0;  // the largest leads all that were added
    distance[r] = std::fabs(above) < kFar ? above : 0.0;
    is_scaled |= distance[r] != 0.0 || sums[r].exponent != 0;
    parts[r] = EntropyState{sums[r].top, scale * sums[r].top, sums[r].others, scale * sums[r].gaps};
  }
  if (!is_scaled) return;
  math_.exp_parts(distance, count, mantissa, exponent);
  for (int64_t r = 0; r < count; ++r) {
    const int64_t up = sums[r].exponent - static_cast<int64_t>(exponent[r]);
    parts[r].others = TimesPowerOfTwo(parts[r].others / mantissa[r], up);
    parts[r].gaps = TimesPowerOfTwo(parts[r].gaps / mantissa[r], up);
  }
}

EntropyState RowEntropies::Merge(const EntropyState* parts, int64_t count) const {
  int64_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (std::isnan(parts[i].others)) return parts[i];
    if (parts[i].top > parts[largest].top) largest = i;
  }
  EntropyState merged = parts[largest];
  if (merged.top == -kInfinity) return merged;
  double distance[kPartsOfSlice] = {}, mantissa[kPartsOfSlice], exponent[kPartsOfSlice];
  for (int64_t i = 0; i < count; ++i) distance[i] = std::max(parts[i].top - merged.top, -kFar);
  math_.exp_parts(distance, count, mantissa, exponent);
  for (int64_t i = 0; i < count; ++i) {
    if (i == largest || parts[i].top == -kInfinity) continue;
    const double factor = TimesPowerOfTwo(mantissa[i], static_cast<int64_t>(exponent[i]));
    const double all = 1.0 + parts[i].others;
    merged.others += factor * all;
    merged.gaps += factor * (parts[i].gaps - all * distance[i]);
  }
  return merged;
}

EntropyState RowEntropies::FindSlice(int64_t row, int64_t slice) const {
  constexpr int64_t kRead[kPartsOfSlice] = {};
  const int64_t begin = slice * kSlice;
  const int64_t classes = std::min(kSlice, task_.logits.classes - begin);
  const int64_t whole = classes / kChunk;
  const char* const logits = task_.logits.Row(row) + begin * task_.logits.ElementBytes();
  EntropyState parts[kPartsOfSlice];
  if (whole > 0) FindParts(logits, kChunk, whole, kChunk, kRead, parts);
  if (whole * kChunk == classes) return Merge(parts, whole);
  FindParts(logits + whole * kChunk * task_.logits.ElementBytes(), 0, 1, classes - whole * kChunk, kRead,
            parts + whole);
  return Merge(parts, whole + 1);
}

bool RowEntropies::FindStates(const Team& team, int64_t first, int64_t count, const int64_t* read,
                              EntropyState* states) const {
  const Matrix& x = task_.logits;
  if (x.classes <= kChunk) {
    FindParts(x.Row(first), x.outer_stride, count, x.classes, read, states);
    return true;
  }
  constexpr int64_t kMostSlices = 64;  // whose states are kept: bits do not depend on it
  const int64_t slices = (x.classes + kSlice - 1) / kSlice;
  EntropyState parts[kMostSlices];
  for (int64_t r = 0; r < count; ++r) {
    states[r] = EntropyState{-kInfinity, -kInfinity, 0.0, 0.0};
    if (read[r] == kSkipRow) continue;
    for (int64_t begin = 0; begin < slices; begin += kMostSlices) {
      const int64_t n = std::min(kMostSlices, slices - begin);
      auto find = [&](int64_t i) { parts[i] = FindSlice(first + r, begin + i); };
      if (!ParallelFor(team, n, find)) return false;
      for (int64_t i = 0; i < n; ++i) {
        const EntropyState both[] = {states[r], parts[i]};
        states[r] = begin + i == 0 ? parts[0] : Merge(both, 2);
      }
    }
  }
  return true;
}

// The same of one row in f64, from its largest logit. Not inline: most rows need no such stack.
__attribute__((noinline)) void RowEntropies::FindWide(int64_t row, double* gap, double* entropy) const {
  double x[kWiden], below[kWiden], mantissa[kWiden], exponent[kWiden];
  const auto widen = [&](int64_t begin) {
    const int64_t n = std::min(kWiden, task_.logits.classes - begin);
    kernels_.widen(task_.logits.Row(row) + begin * task_.logits.ElementBytes(), n, x);
    return n;
  };
  double top = -kInfinity;
  int64_t largest = 0;
  for (int64_t begin = 0; begin < task_.logits.classes; begin += kWiden) {
    const double* const here = std::max_element(x, x + widen(begin));
    if (*here <= top) continue;
    top = *here;
    largest = begin + (here - x);
  }
  Sum others, gaps;
  for (int64_t begin = 0; begin < task_.logits.classes; begin += kWiden) {
    const int64_t n = widen(begin);
    for (int64_t j = 0; j < n; ++j) below[j] = std::max(task_.options.scale * (x[j] - top), -kFar);
    math_.exp_parts(below, n, mantissa, exponent);
    for (int64_t j = 0; j < n; ++j) {
      const double e = TimesPowerOfTwo(mantissa[j], static_cast<int64_t>(exponent[j]));
      if (begin + j != largest) others.Add(e);
      gaps.Add(-(e * below[j]));
    }
  }
  const double sum = others.Value();
  const double zero = 0.0;
  math_.log_scaled(1.0, &sum, &zero, 1, gap);
  *entropy = *gap + gaps.Value() / (1.0 + sum);
}

void RowEntropies::Finish(int64_t first, int64_t count, const int64_t* read, const EntropyState* states, double* gap,
                          double* entropy) const {
  double others[kTileRows] = {}, zero[kTileRows] = {};
  for (int64_t r = 0; r < count; ++r) others[r] = states[r].others >= 0.0 ? states[r].others : 0.0;
  math_.log_one_plus(others, zero, count, gap);
  for (int64_t r = 0; r < count; ++r) {
    if (read[r] == kSkipRow) continue;
    entropy[r] = gap[r] + states[r].gaps / (1.0 + others[r]);
    const bool is_number = states[r].others >= 0.0 && states[r].top > -kInfinity;
    if (!is_number) gap[r] = entropy[r] = kNaN;
    if (is_number && others[r] < kLeastOthers && task_.logits.classes > 1) {
      FindWide(first + r, &gap[r], &entropy[r]);
    }
  }
}

}  // namespace xent
