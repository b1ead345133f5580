// What crosses from room 1 to room 2: a checked call, in the library's own terms.
#ifndef XENT_LIB_TASK_H_
#define XENT_LIB_TASK_H_

#include <cstdint>

#include "lib/kernels.h"
#include "xent/xent.h"

namespace xent {

struct Matrix {
  const void* data;
  Dtype dtype;
  int64_t rows;
  int64_t classes;
  int64_t stride;  // elements from a row to the next

  const char* Row(int64_t row) const { return static_cast<const char*>(data) + row * stride * ElementBytes(); }
  int64_t ElementBytes() const { return dtype == Dtype::kF64 ? 8 : dtype == Dtype::kF32 ? 4 : 2; }
  // Arithmetic is in f64 for f64 logits, else in f32; row outputs have the same type.
  bool IsDouble() const { return dtype == Dtype::kF64; }
};

struct Labels {
  const void* data;
  xent_dtype dtype;
  int64_t ignore_index;
};

// What a pass over the labels found.
struct LabelCount {
  int64_t ignored;
  int64_t first_invalid;  // row; -1: none
  int64_t invalid_value;
};

struct SoftmaxTask {
  Matrix logits;
  Labels labels;
  LabelCount count;
  xent_softmax_options options;
  xent_softmax_outputs outputs;
  int64_t gradient_stride;

  int64_t Counted() const { return logits.rows - count.ignored; }
};

struct MapTask {
  Function function;
  Dtype dtype;
  const char* x;
  char* y;
  int64_t n;
  int64_t element;  // bytes
  xent_map_options options;
};

}  // namespace xent

#endif  // XENT_LIB_TASK_H_
