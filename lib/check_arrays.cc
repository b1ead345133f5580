// The rules of arrays, whatever they hold: types, strides, alignment, overlap.
#include <algorithm>
#include <cinttypes>
#include <utility>

#include "lib/check_rules.h"

namespace xent {
namespace {

// Elements from the first to the last of a matrix. The rows that slices are of have no data, and any number of classes.
int64_t ElementsSpanned(const Matrix& x) {
  if (x.data == nullptr || x.rows == 0 || x.classes == 0) return 0;
  const int64_t outer = x.rows / x.inner;
  return 1 + (outer - 1) * x.outer_stride + (x.inner - 1) * x.inner_stride + (x.classes - 1) * x.class_stride;
}

// No two elements share memory, and all have an address: from the smallest stride on, each is at least what the
// dimensions before it span.
xent_status CheckStrides(const Array& a) {
  struct Dimension {
    const char* name;
    int64_t size;
    int64_t stride;
  };
  Dimension dimensions[] = {{"class_stride", a.classes, a.class_stride},
                            {"inner_stride", a.inner, a.inner_stride},
                            {"outer_stride", a.outer, a.outer_stride}};
  const auto swap_if_less = [&](int i, int j) {
    if (dimensions[j].stride < dimensions[i].stride) std::swap(dimensions[i], dimensions[j]);
  };
  swap_if_less(0, 1);
  swap_if_less(1, 2);
  swap_if_less(0, 1);
  const int64_t most = kMaxBytes / DtypeSize(a.dtype);
  int64_t span = 1;
  for (const Dimension& dimension : dimensions) {
    if (dimension.size <= 1) continue;
    XENT_REQUIRE(dimension.stride >= span, XENT_INVALID_ARGUMENT,
                 "%s.%s%s is %" PRId64 "; it must be at least %" PRId64 ", so that elements do not share memory", a.of,
                 a.prefix, dimension.name, dimension.stride, span);
    int64_t reach;
    const bool fits = !__builtin_mul_overflow(dimension.size - 1, dimension.stride, &reach) &&
                      !__builtin_add_overflow(reach, span, &span) && span <= most;
    XENT_REQUIRE(fits, XENT_SIZE_OVERFLOW, "%s.%s%s is %" PRId64 "; %" PRId64 " of them do not fit the address space",
                 a.of, a.prefix, dimension.name, dimension.stride, dimension.size);
  }
  return XENT_OK;
}

// Those of `count` extents that hold anything.
int64_t GivenExtents(const Extent* all, size_t count, const Extent** given) {
  int64_t n = 0;
  for (size_t i = 0; i < count; ++i) {
    if (all[i].begin != nullptr && all[i].bytes > 0) given[n++] = &all[i];
  }
  return n;
}

}  // namespace

Extent ExtentOf(const char* name, const Matrix& x) { return {name, x.data, ElementsSpanned(x) * x.ElementBytes()}; }

// Rows at equal distances get inner 1, however they are described.
Matrix MatrixOf(const Array& a) {
  Matrix x = {a.data,  DtypeOf(a.dtype), a.outer * a.inner, a.classes,
              a.inner, a.outer_stride,   a.class_stride,    a.inner_stride};
  if (a.classes == 1) x.class_stride = 1;
  if (a.inner > 1 && (a.outer == 1 || a.outer_stride == a.inner * a.inner_stride)) {
    x.outer_stride = a.inner_stride;
    x.inner = 1;
  }
  if (x.inner <= 1) x.inner = x.inner_stride = 1;
  return x;
}

xent_status CheckArray(const Array& a) {
  const int32_t element = DtypeSize(a.dtype);
  XENT_REQUIRE(a.data != nullptr, XENT_INVALID_ARGUMENT, "%s.%s is NULL", a.of, a.what);
  XENT_REQUIRE(IsAligned(a.data, element), XENT_INVALID_ARGUMENT,
               "%s.%s is %p; its elements of %" PRId32 " bytes must be aligned", a.of, a.what, a.data, element);
  return CheckStrides(a);
}

xent_status CheckAligned(const char* of, const char* name, const void* pointer, int64_t bytes) {
  XENT_REQUIRE(IsAligned(pointer, bytes), XENT_INVALID_ARGUMENT, "%s.%s is %p; its elements must be aligned", of, name,
               pointer);
  return XENT_OK;
}

xent_status CheckInputs(const char* name, const xent_logits& x, Matrix* matrix) {
  XENT_REQUIRE(IsRealDtype(x.dtype), XENT_INVALID_ARGUMENT,
               "%s.dtype is %" PRId32 "; XENT_F32, XENT_F64, XENT_BF16 and XENT_F16 are allowed", name, x.dtype);
  XENT_REQUIRE(x.reserved == 0, XENT_INVALID_ARGUMENT, "%s.reserved is %" PRId32 "; it must be 0", name, x.reserved);
  XENT_REQUIRE(x.outer >= 0, XENT_INVALID_ARGUMENT, "%s.outer is %" PRId64 "; it must not be negative", name, x.outer);
  XENT_REQUIRE(x.classes >= 0, XENT_INVALID_ARGUMENT, "%s.classes is %" PRId64 "; it must not be negative", name,
               x.classes);
  XENT_REQUIRE(x.inner >= 0, XENT_INVALID_ARGUMENT, "%s.inner is %" PRId64 "; it must not be negative", name, x.inner);
  const bool has_rows = x.outer > 0 && x.inner > 0;
  XENT_REQUIRE(x.classes > 0 || !has_rows, XENT_INVALID_ARGUMENT,
               "%s.classes is 0; with rows (%s.outer is %" PRId64 ") there must be classes", name, name, x.outer);
  if (!has_rows) {
    *matrix = Matrix{x.data, DtypeOf(x.dtype), 0, x.classes, 1, x.classes, 1, 1};
    return XENT_OK;
  }
  const Array array = {name,           "data",        "", x.data, x.dtype, x.outer, x.classes, x.inner, x.outer_stride,
                       x.class_stride, x.inner_stride};
  XENT_RULE(CheckArray(array));
  *matrix = MatrixOf(array);
  XENT_REQUIRE(matrix->rows <= kMaxBytes / static_cast<int64_t>(sizeof(xent_row_state)), XENT_SIZE_OVERFLOW,
               "%s.outer is %" PRId64 "; arrays of so many rows do not fit the address space", name, x.outer);
  return XENT_OK;
}

xent_status CheckDense(const xent_targets& targets, const xent_logits& x, Array* array) {
  XENT_REQUIRE(IsRealDtype(targets.dtype), XENT_INVALID_ARGUMENT,
               "targets.dtype is %" PRId32 "; dense targets are XENT_F32, XENT_F64, XENT_BF16 or XENT_F16",
               targets.dtype);
  *array = {"targets",
            "data",
            "",
            targets.data,
            targets.dtype,
            x.outer,
            x.classes,
            x.inner,
            targets.outer_stride,
            targets.class_stride,
            targets.inner_stride};
  if (x.outer == 0 || x.inner == 0) return XENT_OK;
  if (targets.outer_stride == 0 && targets.class_stride == 0 && targets.inner_stride == 0) {
    array->outer_stride = x.classes * x.inner;  // no larger than the inputs' own extent
    array->class_stride = x.inner;
    array->inner_stride = 1;
  }
  return CheckArray(*array);
}

xent_status CheckGradient(const Array& as_given, const xent_logits& x, Array* gradient) {
  *gradient = as_given;
  const xent_dtype dtype = as_given.dtype;
  const bool is_half = x.dtype == XENT_BF16 || x.dtype == XENT_F16;
  gradient->dtype = dtype == 0 || as_given.data == nullptr ? x.dtype : dtype;
  if (as_given.outer_stride == 0 && as_given.class_stride == 0 && as_given.inner_stride == 0) {
    gradient->outer_stride = x.outer_stride;
    gradient->class_stride = x.class_stride;
    gradient->inner_stride = x.inner_stride;
  }
  if (as_given.data == nullptr) return XENT_OK;
  XENT_REQUIRE(dtype == 0 || dtype == x.dtype || (is_half && dtype == XENT_F32),
               IsRealDtype(dtype) ? XENT_UNSUPPORTED : XENT_INVALID_ARGUMENT,
               "outputs.gradient_dtype is %" PRId32 "; for inputs of dtype %" PRId32 " that is no gradient's", dtype,
               x.dtype);
  if (x.outer > 0 && x.inner > 0) return CheckArray(*gradient);
  XENT_REQUIRE(IsAligned(as_given.data, DtypeSize(gradient->dtype)), XENT_INVALID_ARGUMENT,
               "outputs.gradient is %p; its elements must be aligned", as_given.data);
  return XENT_OK;
}

xent_status CheckOverlaps(const Extent* all_inputs, size_t all_input_count, const Extent* all_outputs,
                          size_t all_output_count, bool may_be_in_place) {
  constexpr size_t kMost = Extents::kMost;
  // Few are given, and small calls must not wait for the others.
  const Extent* inputs[kMost];
  const Extent* outputs[kMost];
  const int64_t input_count = GivenExtents(all_inputs, std::min(all_input_count, kMost), inputs);
  const int64_t output_count = GivenExtents(all_outputs, std::min(all_output_count, kMost), outputs);
  for (int64_t i = 0; i < output_count; ++i) {
    const Extent& output = *outputs[i];
    for (int64_t k = 0; k < input_count; ++k) {
      const Extent& input = *inputs[k];
      if (!output.Overlaps(input)) continue;
      const bool is_gradient = &output == all_outputs && &input == all_inputs;
      const bool in_place = is_gradient && output.begin == input.begin && may_be_in_place;
      XENT_REQUIRE(in_place, XENT_OVERLAP, "%s (%p, %" PRId64 " bytes) overlaps %s (%p, %" PRId64 " bytes)%s",
                   output.name, output.begin, output.bytes, input.name, input.begin, input.bytes,
                   is_gradient ? "; in place means the same start and strides" : "");
    }
    for (int64_t k = 0; k < i; ++k) {
      const Extent& other = *outputs[k];
      XENT_REQUIRE(!output.Overlaps(other), XENT_OVERLAP,
                   "%s (%p, %" PRId64 " bytes) overlaps %s (%p, %" PRId64 " bytes)", output.name, output.begin,
                   output.bytes, other.name, other.begin, other.bytes);
    }
  }
  return XENT_OK;
}

}  // namespace xent
