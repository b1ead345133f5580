#include "lib/strided.h"

#include <algorithm>

namespace xent {
namespace {

template <class Word>
void CopyWords(const Word* from, int64_t from_stride, int64_t n, Word* to, int64_t to_stride) {
  for (int64_t i = 0; i < n; ++i) to[i * to_stride] = from[i * from_stride];
}

// body(address of the first element, distance to the next, how many) for each run of elements at equal distances.
template <class Body>
void ForRuns(const Strided& array, int64_t first, int64_t n, const Body& body) {
  const bool along_inner = array.inner > 1;
  const int64_t length = along_inner ? array.inner : array.classes;
  const int64_t stride = along_inner ? array.inner_stride : array.class_stride;
  while (n > 0) {
    const int64_t line = first / length;
    const int64_t begin = first % length;
    const int64_t count = std::min(n, length - begin);
    const int64_t offset = along_inner
                               ? line / array.classes * array.outer_stride + line % array.classes * array.class_stride
                               : line * array.outer_stride;
    body(array.data + (offset + begin * stride) * array.element, stride, count);
    first += count;
    n -= count;
  }
}

}  // namespace

void CopyElements(int64_t element, const void* from, int64_t from_stride, int64_t n, void* to, int64_t to_stride) {
  if (element == 8) {
    CopyWords(static_cast<const uint64_t*>(from), from_stride, n, static_cast<uint64_t*>(to), to_stride);
  } else if (element == 4) {
    CopyWords(static_cast<const uint32_t*>(from), from_stride, n, static_cast<uint32_t*>(to), to_stride);
  } else {
    CopyWords(static_cast<const uint16_t*>(from), from_stride, n, static_cast<uint16_t*>(to), to_stride);
  }
}

void Gather(const Strided& array, int64_t first, int64_t n, void* packed) {
  char* to = static_cast<char*>(packed);
  ForRuns(array, first, n, [&](const char* from, int64_t stride, int64_t count) {
    CopyElements(array.element, from, stride, count, to, 1);
    to += count * array.element;
  });
}

void Scatter(const void* packed, int64_t first, int64_t n, const Strided& array) {
  const char* from = static_cast<const char*>(packed);
  ForRuns(array, first, n, [&](char* to, int64_t stride, int64_t count) {
    CopyElements(array.element, from, 1, count, to, stride);
    from += count * array.element;
  });
}

}  // namespace xent
