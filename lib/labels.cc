// One template per job, instantiated for the seven label types. The comparison with [0, classes) is one unsigned one.
#include "lib/labels.h"

#include <algorithm>

namespace xent {
namespace {

// Pieces of the pass over the labels; each leaves one LabelCount, so that they fit the stack.
constexpr int64_t kMaxPieces = 64;
constexpr int64_t kMinPiece = 4096;

template <class Body>
auto WithLabelType(const Labels& labels, const Body& body) {
  switch (labels.dtype) {
    case XENT_U8:
      return body(static_cast<const uint8_t*>(labels.data));
    case XENT_I8:
      return body(static_cast<const int8_t*>(labels.data));
    case XENT_U16:
      return body(static_cast<const uint16_t*>(labels.data));
    case XENT_I16:
      return body(static_cast<const int16_t*>(labels.data));
    case XENT_I32:
      return body(static_cast<const int32_t*>(labels.data));
    case XENT_U32:
      return body(static_cast<const uint32_t*>(labels.data));
    default:
      return body(static_cast<const int64_t*>(labels.data));
  }
}

bool IsClass(int64_t label, int64_t classes) { return static_cast<uint64_t>(label) < static_cast<uint64_t>(classes); }

LabelCount CountPiece(const Labels& labels, int64_t first, int64_t last, int64_t classes) {
  return WithLabelType(labels, [&](const auto* label) {
    int64_t ignored = 0;
    int64_t invalid = 0;
    for (int64_t r = first; r < last; ++r) {
      const int64_t value = static_cast<int64_t>(label[r]);
      const bool skip = value == labels.ignore_index;
      ignored += skip;
      invalid += !skip & !IsClass(value, classes);
    }
    if (invalid == 0) return LabelCount{ignored, -1, 0};
    int64_t r = first;
    while (static_cast<int64_t>(label[r]) == labels.ignore_index || IsClass(static_cast<int64_t>(label[r]), classes)) ++r;
    return LabelCount{ignored, r, static_cast<int64_t>(label[r])};
  });
}

}  // namespace

bool CountLabels(const Labels& labels, int64_t rows, int64_t classes, const Team& team, LabelCount* count) {
  LabelCount pieces[kMaxPieces];
  const int64_t length = std::max(kMinPiece, (rows + kMaxPieces - 1) / kMaxPieces);
  const int64_t used = (rows + length - 1) / length;
  auto body = [&](int64_t piece) {
    pieces[piece] = CountPiece(labels, piece * length, std::min(rows, (piece + 1) * length), classes);
  };
  if (!ParallelFor(team, used, body)) return false;
  *count = LabelCount{0, -1, 0};
  for (int64_t piece = used - 1; piece >= 0; --piece) {
    count->ignored += pieces[piece].ignored;
    if (pieces[piece].first_invalid < 0) continue;
    count->first_invalid = pieces[piece].first_invalid;
    count->invalid_value = pieces[piece].invalid_value;
  }
  return true;
}

void LoadLabels(const Labels& labels, int64_t first, int64_t n, int64_t classes, int64_t* classes_of_rows) {
  WithLabelType(labels, [&](const auto* label) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t value = static_cast<int64_t>(label[first + i]);
      const int64_t valid = IsClass(value, classes) ? value : kInvalidLabel;
      classes_of_rows[i] = value == labels.ignore_index ? kSkipRow : valid;
    }
  });
}

}  // namespace xent
