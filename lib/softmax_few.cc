// Rows of few classes beside unusual ones: few_rows' losses and gradients, which rows with nothing unusual get on the
// short way, for a tile that goes the long one.
#include <algorithm>

#include "lib/softmax_tiles.h"

namespace xent {
namespace {

// Losses of a tile of rows of few classes.
constexpr int64_t kFewLossRoom = (kTileRows + kFewTogether - 1) / kFewTogether * kFewTogether;

}  // namespace

// The losses that the short way gives to rows with nothing unusual. The tile's stage may be needed still.
__attribute__((noinline)) void Softmax::FindFewLosses(Tile tile, Rows* rows) const {
  alignas(64) float stage[2 * kMostColumns + kStageSlack / sizeof(float)];  // of two classes
  double losses[kFewLossRoom];
  tile.stage = stage;
  tile.labels = rows->labels;
  tile.expected = nullptr;
  std::fill(rows->is_unusual, rows->is_unusual + rows->count, false);
  kernels_.few_rows(tile, 0.0, losses, nullptr, rows->is_unusual);
  for (int64_t r = 0; r < rows->count; ++r) {
    if (!rows->is_unusual[r]) rows->loss[r] = rows->mark_gap[r] = losses[r];
  }
}

// The gradient that it gives to them, and to the others theirs. Logits are read before their gradient takes their
// place.
__attribute__((noinline)) void Softmax::WriteFewGradient(const Tile& tile, const Rows& rows) const {
  alignas(64) float stage[2 * kMostColumns + kStageSlack / sizeof(float)];
  static_assert(kMostColumns >= kTileRows * kFewClasses, "and of more");
  double losses[kFewLossRoom];
  for (int64_t begin = 0; begin < rows.count;) {
    int64_t end = begin + 1;
    while (end < rows.count && rows.is_unusual[end] == rows.is_unusual[begin]) ++end;
    Tile run = tile;
    run.logits = task_.logits.Row(rows.first + begin);
    run.rows = end - begin;
    run.labels = tile.labels + begin;
    run.expected = nullptr;
    if (rows.is_unusual[begin]) {
      run.stage = static_cast<char*>(tile.stage) + begin * tile.classes * ComputedBytes();
      kernels_.write_staged(run, rows.states + begin, rows.grads + begin, PlainGradient(rows.first + begin));
    } else {
      run.stage = stage;
      WriteFewRows(run, rows.first + begin, rows.labels + begin, losses);
    }
    begin = end;
  }
}

// The gradient of rows with nothing unusual; losses: room for those of the tile.
void Softmax::WriteFewRows(Tile tile, int64_t first, const int64_t* labels, double* losses) const {
  bool is_unusual[kMostColumns];
  tile.labels = labels;
  const GradientTile gradient = PlainGradient(first);
  kernels_.few_rows(tile, slope_, losses, &gradient, is_unusual);
}

}  // namespace xent
