// One rule, one line: what must hold, else the status and the sentence with the argument's name and value.
#include "lib/check.h"

#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <limits>

namespace xent {
namespace {

thread_local char last_error[512] = "";

constexpr int64_t kMaxBytes = std::numeric_limits<int64_t>::max();

// Evaluates a rule's status and returns from the caller where it failed.
#define XENT_RULE(expression)                            \
  do {                                                   \
    const xent_status rule_status = (expression);        \
    if (rule_status != XENT_OK) return rule_status;      \
  } while (false)

#define XENT_REQUIRE(condition, ...) XENT_RULE((condition) ? XENT_OK : Fail(__VA_ARGS__))

bool IsRealDtype(xent_dtype dtype) { return dtype >= XENT_F32 && dtype <= XENT_F16; }
bool IsLabelDtype(xent_dtype dtype) { return dtype >= XENT_U8 && dtype <= XENT_I64; }

Dtype DtypeOf(xent_dtype dtype) { return static_cast<Dtype>(dtype - XENT_F32); }

bool IsAligned(const void* pointer, int64_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// A run of memory with a name, for overlap.
struct Extent {
  const char* name;
  const void* begin;
  int64_t bytes;

  bool Overlaps(const Extent& other) const {
    const uintptr_t a = reinterpret_cast<uintptr_t>(begin);
    const uintptr_t b = reinterpret_cast<uintptr_t>(other.begin);
    return bytes > 0 && other.bytes > 0 && a < b + static_cast<uintptr_t>(other.bytes) &&
           b < a + static_cast<uintptr_t>(bytes);
  }
};

// Bytes from the first to the last element of a matrix; -1 if they do not fit the address space.
int64_t MatrixBytes(int64_t rows, int64_t classes, int64_t stride, int64_t element) {
  if (rows == 0 || classes == 0) return 0;
  int64_t elements;
  if (__builtin_mul_overflow(rows - 1, stride, &elements) || __builtin_add_overflow(elements, classes, &elements) ||
      elements > kMaxBytes / element) {
    return -1;
  }
  return elements * element;
}

xent_status CheckLogits(const xent_logits& x, Matrix* matrix) {
  XENT_REQUIRE(IsRealDtype(x.dtype), XENT_INVALID_ARGUMENT,
               "logits.dtype is %" PRId32 "; XENT_F32, XENT_F64, XENT_BF16 and XENT_F16 are allowed", x.dtype);
  XENT_REQUIRE(x.reserved == 0, XENT_INVALID_ARGUMENT, "logits.reserved is %" PRId32 "; it must be 0", x.reserved);
  XENT_REQUIRE(x.outer >= 0, XENT_INVALID_ARGUMENT, "logits.outer is %" PRId64 "; it must not be negative", x.outer);
  XENT_REQUIRE(x.classes >= 0, XENT_INVALID_ARGUMENT, "logits.classes is %" PRId64 "; it must not be negative",
               x.classes);
  XENT_REQUIRE(x.inner >= 0, XENT_INVALID_ARGUMENT, "logits.inner is %" PRId64 "; it must not be negative", x.inner);
  XENT_REQUIRE(x.inner == 1, XENT_UNSUPPORTED, "logits.inner is %" PRId64 "; this version takes 1", x.inner);
  XENT_REQUIRE(x.classes > 0 || x.outer == 0, XENT_INVALID_ARGUMENT,
               "logits.classes is 0; with rows (logits.outer is %" PRId64 ") there must be classes", x.outer);
  const int64_t element = DtypeSize(x.dtype);
  *matrix = Matrix{x.data, DtypeOf(x.dtype), x.outer, x.classes, x.outer_stride};
  if (x.outer == 0) return XENT_OK;
  XENT_REQUIRE(x.data != nullptr, XENT_INVALID_ARGUMENT, "logits.data is NULL");
  XENT_REQUIRE(IsAligned(x.data, element), XENT_INVALID_ARGUMENT,
               "logits.data is %p; its elements of %" PRId64 " bytes must be aligned", x.data, element);
  XENT_REQUIRE(x.class_stride == 1 || x.classes == 1, XENT_UNSUPPORTED,
               "logits.class_stride is %" PRId64 "; this version takes 1", x.class_stride);
  XENT_REQUIRE(x.outer_stride >= x.classes || x.outer == 1, XENT_INVALID_ARGUMENT,
               "logits.outer_stride is %" PRId64 "; it must be at least logits.classes, %" PRId64, x.outer_stride,
               x.classes);
  XENT_REQUIRE(MatrixBytes(x.outer, x.classes, x.outer_stride, element) >= 0, XENT_SIZE_OVERFLOW,
               "logits: %" PRId64 " rows %" PRId64 " elements apart do not fit the address space", x.outer,
               x.outer_stride);
  return XENT_OK;
}

xent_status CheckTargets(const xent_targets& targets, int64_t rows, Labels* labels) {
  XENT_REQUIRE(targets.struct_size == sizeof(targets), XENT_VERSION_MISMATCH,
               "targets.struct_size is %" PRId32 "; this version has %zu", targets.struct_size, sizeof(targets));
  XENT_REQUIRE(targets.kind == XENT_TARGET_LABELS, XENT_INVALID_ARGUMENT,
               "targets.kind is %" PRId32 "; XENT_TARGET_LABELS is allowed", targets.kind);
  XENT_REQUIRE(IsLabelDtype(targets.dtype), XENT_INVALID_ARGUMENT,
               "targets.dtype is %" PRId32 "; labels are integers, XENT_U8 to XENT_I64", targets.dtype);
  XENT_REQUIRE(targets.reserved == 0, XENT_INVALID_ARGUMENT, "targets.reserved is %" PRId32 "; it must be 0",
               targets.reserved);
  labels->data = targets.data;
  labels->dtype = targets.dtype;
  if (rows == 0) return XENT_OK;
  XENT_REQUIRE(targets.data != nullptr, XENT_INVALID_ARGUMENT, "targets.data is NULL");
  XENT_REQUIRE(IsAligned(targets.data, DtypeSize(targets.dtype)), XENT_INVALID_ARGUMENT,
               "targets.data is %p; its elements of %" PRId32 " bytes must be aligned", targets.data,
               DtypeSize(targets.dtype));
  XENT_REQUIRE(rows <= kMaxBytes / static_cast<int64_t>(sizeof(xent_row_state)), XENT_SIZE_OVERFLOW,
               "logits.outer is %" PRId64 "; arrays of so many rows do not fit the address space", rows);
  return XENT_OK;
}

xent_status CheckThreads(int32_t num_threads, const xent_parallel_runner* optional) {
  XENT_REQUIRE(num_threads >= 0, XENT_INVALID_ARGUMENT, "options.num_threads is %" PRId32 "; it must not be negative",
               num_threads);
  if (optional == nullptr) return XENT_OK;
  const xent_parallel_runner& runner = *optional;
  XENT_REQUIRE(runner.run != nullptr, XENT_INVALID_ARGUMENT, "options.runner->run is NULL");
  XENT_REQUIRE(runner.concurrency >= 1, XENT_INVALID_ARGUMENT,
               "options.runner->concurrency is %" PRId32 "; it must be at least 1", runner.concurrency);
  XENT_REQUIRE(runner.reserved == 0, XENT_INVALID_ARGUMENT, "options.runner->reserved is %" PRId32 "; it must be 0",
               runner.reserved);
  return XENT_OK;
}

xent_status CheckOptions(const xent_softmax_options& options, const Matrix& x) {
  XENT_REQUIRE(options.struct_size == sizeof(options), XENT_VERSION_MISMATCH,
               "options.struct_size is %" PRId32 "; this version has %zu", options.struct_size, sizeof(options));
  XENT_REQUIRE(options.reduction >= XENT_REDUCTION_MEAN && options.reduction <= XENT_REDUCTION_NONE,
               XENT_INVALID_ARGUMENT, "options.reduction is %" PRId32 "; it is no xent_reduction", options.reduction);
  XENT_REQUIRE(options.empty_mean >= XENT_EMPTY_MEAN_NAN && options.empty_mean <= XENT_EMPTY_MEAN_ERROR,
               XENT_INVALID_ARGUMENT, "options.empty_mean is %" PRId32 "; it is no xent_empty_mean",
               options.empty_mean);
  XENT_REQUIRE(
      options.invalid_label == XENT_INVALID_LABEL_ERROR || options.invalid_label == XENT_INVALID_LABEL_NAN,
      XENT_INVALID_ARGUMENT, "options.invalid_label is %" PRId32 "; it is no xent_invalid_label",
      options.invalid_label);
  const double largest = x.IsDouble() ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  XENT_REQUIRE(std::fabs(options.upstream) <= largest, XENT_INVALID_ARGUMENT,
               "options.upstream is %g; it must be finite and fit the gradient's arithmetic", options.upstream);
  XENT_REQUIRE(options.reserved == 0, XENT_INVALID_ARGUMENT, "options.reserved is %" PRId32 "; it must be 0",
               options.reserved);
  XENT_RULE(CheckThreads(options.num_threads, options.runner));
  XENT_REQUIRE(options.row_state == nullptr || options.lse == nullptr, XENT_INVALID_ARGUMENT,
               "options.row_state and options.lse are both given; a call takes one of them");
  XENT_REQUIRE(IsAligned(options.row_state, alignof(xent_row_state)), XENT_INVALID_ARGUMENT,
               "options.row_state is %p; it must be aligned", static_cast<const void*>(options.row_state));
  XENT_REQUIRE(IsAligned(options.lse, x.IsDouble() ? 8 : 4), XENT_INVALID_ARGUMENT,
               "options.lse is %p; its elements must be aligned", options.lse);
  return XENT_OK;
}

xent_status CheckGradient(const xent_softmax_outputs& out, const xent_logits& x, int64_t* stride) {
  const bool as_logits =
      out.gradient_outer_stride == 0 && out.gradient_class_stride == 0 && out.gradient_inner_stride == 0;
  *stride = as_logits || out.gradient == nullptr ? x.outer_stride : out.gradient_outer_stride;
  if (out.gradient == nullptr) return XENT_OK;
  XENT_REQUIRE(out.gradient_dtype == 0 || out.gradient_dtype == x.dtype,
               IsRealDtype(out.gradient_dtype) ? XENT_UNSUPPORTED : XENT_INVALID_ARGUMENT,
               "outputs.gradient_dtype is %" PRId32 "; this version takes 0 or logits.dtype, %" PRId32,
               out.gradient_dtype, x.dtype);
  XENT_REQUIRE(IsAligned(out.gradient, DtypeSize(x.dtype)), XENT_INVALID_ARGUMENT,
               "outputs.gradient is %p; its elements of %" PRId32 " bytes must be aligned", out.gradient,
               DtypeSize(x.dtype));
  XENT_REQUIRE(as_logits || out.gradient_class_stride == 1 || x.classes == 1, XENT_UNSUPPORTED,
               "outputs.gradient_class_stride is %" PRId64 "; this version takes 1", out.gradient_class_stride);
  XENT_REQUIRE(*stride >= x.classes || x.outer <= 1, XENT_INVALID_ARGUMENT,
               "outputs.gradient_outer_stride is %" PRId64 "; it must be at least logits.classes, %" PRId64, *stride,
               x.classes);
  XENT_REQUIRE(MatrixBytes(x.outer, x.classes, *stride, DtypeSize(x.dtype)) >= 0, XENT_SIZE_OVERFLOW,
               "outputs.gradient: %" PRId64 " rows %" PRId64 " elements apart do not fit the address space", x.outer,
               *stride);
  return XENT_OK;
}

xent_status CheckOutputTypes(const xent_softmax_outputs& out, const xent_softmax_options& options, const Matrix& x) {
  const int64_t row = x.IsDouble() ? 8 : 4;
  const struct {
    const char* name;
    const void* pointer;
    int64_t bytes;
  } arrays[] = {{"total", out.total, 8},       {"sum", out.sum, 8},           {"denominator", out.denominator, 8},
                {"counted", out.counted, 8},   {"ignored", out.ignored, 8},   {"row_loss", out.row_loss, row},
                {"lse", out.lse, row},         {"row_state", out.row_state, 8}};
  for (const auto& array : arrays) {
    XENT_REQUIRE(IsAligned(array.pointer, array.bytes), XENT_INVALID_ARGUMENT, "outputs.%s is %p; it must be aligned",
                 array.name, array.pointer);
  }
  const bool wants_losses = out.total != nullptr || out.sum != nullptr || out.row_loss != nullptr ||
                            out.lse != nullptr || out.row_state != nullptr;
  XENT_REQUIRE(options.lse == nullptr || !wants_losses, XENT_UNSUPPORTED,
               "options.lse is given: only outputs.gradient, denominator, counted and ignored can be asked for");
  return XENT_OK;
}

xent_status CheckOverlap(const SoftmaxTask& task) {
  const Matrix& x = task.logits;
  const xent_softmax_outputs& out = task.outputs;
  const int64_t element = x.ElementBytes();
  const int64_t row = x.rows * (x.IsDouble() ? 8 : 4);
  const int64_t states = x.rows * static_cast<int64_t>(sizeof(xent_row_state));
  const Extent inputs[] = {{"logits.data", x.data, MatrixBytes(x.rows, x.classes, x.stride, element)},
                           {"targets.data", task.labels.data, x.rows * DtypeSize(task.labels.dtype)},
                           {"options.row_state", task.options.row_state, states},
                           {"options.lse", task.options.lse, row}};
  const Extent outputs[] = {
      {"outputs.gradient", out.gradient, MatrixBytes(x.rows, x.classes, task.gradient_stride, element)},
      {"outputs.row_loss", out.row_loss, row},
      {"outputs.lse", out.lse, row},
      {"outputs.row_state", out.row_state, states},
      {"outputs.total", out.total, 8},
      {"outputs.sum", out.sum, 8},
      {"outputs.denominator", out.denominator, 8},
      {"outputs.counted", out.counted, 8},
      {"outputs.ignored", out.ignored, 8}};
  for (const Extent& output : outputs) {
    if (output.begin == nullptr) continue;
    for (const Extent& input : inputs) {
      const bool in_place = &output == outputs && &input == inputs && output.begin == input.begin &&
                            (task.gradient_stride == x.stride || x.rows == 1);
      XENT_REQUIRE(in_place || input.begin == nullptr || !output.Overlaps(input), XENT_OVERLAP,
                   "%s (%p, %" PRId64 " bytes) overlaps %s (%p, %" PRId64 " bytes)%s", output.name, output.begin,
                   output.bytes, input.name, input.begin, input.bytes,
                   &output == outputs && &input == inputs ? "; in place means the same start and strides" : "");
    }
    for (const Extent* other = outputs; other != &output; ++other) {
      XENT_REQUIRE(other->begin == nullptr || !output.Overlaps(*other), XENT_OVERLAP,
                   "%s (%p, %" PRId64 " bytes) overlaps %s (%p, %" PRId64 " bytes)", output.name, output.begin,
                   output.bytes, other->name, other->begin, other->bytes);
    }
  }
  return XENT_OK;
}

}  // namespace

xent_status Fail(xent_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof(last_error), format, arguments);
  va_end(arguments);
  return status;
}

const char* LastError() { return last_error; }

int32_t DtypeSize(xent_dtype dtype) {
  switch (dtype) {
    case XENT_U8:
    case XENT_I8:
      return 1;
    case XENT_BF16:
    case XENT_F16:
    case XENT_U16:
    case XENT_I16:
      return 2;
    case XENT_F32:
    case XENT_I32:
    case XENT_U32:
      return 4;
    case XENT_F64:
    case XENT_I64:
      return 8;
    default:
      return 0;
  }
}

xent_status CheckSoftmax(const xent_logits* logits, const xent_targets* targets, const xent_softmax_options* options,
                         const xent_softmax_outputs* outputs, SoftmaxTask* task) {
  XENT_REQUIRE(logits != nullptr, XENT_INVALID_ARGUMENT, "logits is NULL");
  XENT_REQUIRE(targets != nullptr, XENT_INVALID_ARGUMENT, "targets is NULL");
  XENT_REQUIRE(outputs != nullptr, XENT_INVALID_ARGUMENT, "outputs is NULL");
  XENT_REQUIRE(outputs->struct_size == sizeof(*outputs), XENT_VERSION_MISMATCH,
               "outputs.struct_size is %" PRId32 "; this version has %zu", outputs->struct_size, sizeof(*outputs));
  task->options = options != nullptr ? *options : xent_softmax_options_default();
  task->outputs = *outputs;
  XENT_RULE(CheckLogits(*logits, &task->logits));
  XENT_RULE(CheckTargets(*targets, task->logits.rows, &task->labels));
  XENT_RULE(CheckOptions(task->options, task->logits));
  XENT_RULE(CheckGradient(*outputs, *logits, &task->gradient_stride));
  XENT_RULE(CheckOutputTypes(*outputs, task->options, task->logits));
  task->labels.ignore_index = task->options.ignore_index;
  return CheckOverlap(*task);
}

xent_status CheckLabelCount(const SoftmaxTask& task) {
  const bool is_valid = task.count.first_invalid < 0 || task.options.invalid_label == XENT_INVALID_LABEL_NAN;
  XENT_REQUIRE(is_valid, XENT_INVALID_LABEL,
               "labels[%" PRId64 "] is %" PRId64 "; classes is %" PRId64 " and ignore_index is %" PRId64,
               task.count.first_invalid, task.count.invalid_value, task.logits.classes, task.labels.ignore_index);
  const bool is_empty_mean = task.options.reduction == XENT_REDUCTION_MEAN && task.Counted() == 0;
  XENT_REQUIRE(!is_empty_mean || task.options.empty_mean != XENT_EMPTY_MEAN_ERROR, XENT_EMPTY_MEAN,
               "the mean over no rows: of %" PRId64 " rows, %" PRId64 " are ignored (ignore_index is %" PRId64 ")",
               task.logits.rows, task.count.ignored, task.labels.ignore_index);
  return XENT_OK;
}

xent_status CheckMap(xent_function function, xent_dtype dtype, const void* x, void* y, int64_t n,
                     const xent_map_options* options, MapTask* task) {
  XENT_REQUIRE(function >= XENT_EXP && function <= XENT_TANH, XENT_INVALID_ARGUMENT,
               "function is %" PRId32 "; it is no xent_function", function);
  XENT_REQUIRE(IsRealDtype(dtype), XENT_INVALID_ARGUMENT,
               "dtype is %" PRId32 "; XENT_F32, XENT_F64, XENT_BF16 and XENT_F16 are allowed", dtype);
  XENT_REQUIRE(n >= 0, XENT_INVALID_ARGUMENT, "n is %" PRId64 "; it must not be negative", n);
  const int64_t element = DtypeSize(dtype);
  XENT_REQUIRE(n <= kMaxBytes / element, XENT_SIZE_OVERFLOW,
               "n is %" PRId64 "; so many elements of %" PRId64 " bytes do not fit the address space", n, element);
  XENT_REQUIRE(x != nullptr || n == 0, XENT_INVALID_ARGUMENT, "x is NULL");
  XENT_REQUIRE(y != nullptr || n == 0, XENT_INVALID_ARGUMENT, "y is NULL");
  XENT_REQUIRE(IsAligned(x, element), XENT_INVALID_ARGUMENT,
               "x is %p; its elements of %" PRId64 " bytes must be aligned", x, element);
  XENT_REQUIRE(IsAligned(y, element), XENT_INVALID_ARGUMENT,
               "y is %p; its elements of %" PRId64 " bytes must be aligned", y, element);
  const Extent from = {"x", x, n * element};
  const Extent to = {"y", y, n * element};
  XENT_REQUIRE(x == y || !to.Overlaps(from), XENT_OVERLAP,
               "y (%p, %" PRId64 " bytes) overlaps x (%p); in place means the same start", y, to.bytes, x);
  task->options = options != nullptr ? *options : xent_map_options_default();
  XENT_REQUIRE(task->options.struct_size == sizeof(xent_map_options), XENT_VERSION_MISMATCH,
               "options.struct_size is %" PRId32 "; this version has %zu", task->options.struct_size,
               sizeof(xent_map_options));
  XENT_RULE(CheckThreads(task->options.num_threads, task->options.runner));
  task->function = static_cast<Function>(function - XENT_EXP);
  task->dtype = DtypeOf(dtype);
  task->x = static_cast<const char*>(x);
  task->y = static_cast<char*>(y);
  task->n = n;
  task->element = element;
  return XENT_OK;
}

}  // namespace xent
