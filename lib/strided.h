// Arrays x[o][j][i] of any strides, element by element in the order o, j, i.
#ifndef XENT_LIB_STRIDED_H_
#define XENT_LIB_STRIDED_H_

#include <cstdint>

namespace xent {

struct Strided {
  char* data;
  int64_t element;  // bytes
  int64_t outer;
  int64_t classes;
  int64_t inner;
  int64_t outer_stride;  // in elements, as are the next two
  int64_t class_stride;
  int64_t inner_stride;

  int64_t Count() const { return outer * classes * inner; }
  // Whether elements lie side by side in their order.
  bool IsDense() const {
    return (inner == 1 || inner_stride == 1) && (classes == 1 || class_stride == inner) &&
           (outer == 1 || outer_stride == classes * inner);
  }
};

// n elements at a distance of so many, one after another, to such.
void CopyElements(int64_t element, const void* from, int64_t from_stride, int64_t n, void* to, int64_t to_stride);

// Elements [first, first + n), packed, and back.
void Gather(const Strided& array, int64_t first, int64_t n, void* packed);
void Scatter(const void* packed, int64_t first, int64_t n, const Strided& array);

}  // namespace xent

#endif  // XENT_LIB_STRIDED_H_
