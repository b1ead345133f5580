// What rules about arguments are written with.
#ifndef XENT_LIB_CHECK_RULES_H_
#define XENT_LIB_CHECK_RULES_H_

#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <limits>

#include "lib/check.h"
#include "lib/task.h"

namespace xent {

constexpr int64_t kMaxBytes = std::numeric_limits<int64_t>::max();

// Evaluates a rule's status and returns from the caller where it failed.
#define XENT_RULE(expression)                       \
  do {                                              \
    const xent_status rule_status = (expression);   \
    if (rule_status != XENT_OK) return rule_status; \
  } while (false)

#define XENT_REQUIRE(condition, ...) XENT_RULE((condition) ? XENT_OK : Fail(__VA_ARGS__))

inline bool IsRealDtype(xent_dtype dtype) { return dtype >= XENT_F32 && dtype <= XENT_F16; }
inline bool IsLabelDtype(xent_dtype dtype) { return dtype >= XENT_U8 && dtype <= XENT_I64; }

inline Dtype DtypeOf(xent_dtype dtype) { return static_cast<Dtype>(dtype - XENT_F32); }

// bytes: a power of 2. (A division would take as long as a small row.)
inline bool IsAligned(const void* pointer, int64_t bytes) {
  return (reinterpret_cast<uintptr_t>(pointer) & static_cast<uintptr_t>(bytes - 1)) == 0;
}

// A run of memory with a name, for overlap.
struct Extent {
  const char* name;
  const void* begin;
  int64_t bytes;

  bool Overlaps(const Extent& other) const {
    const uintptr_t a = reinterpret_cast<uintptr_t>(begin);
    const uintptr_t b = reinterpret_cast<uintptr_t>(other.begin);
    return a != 0 && b != 0 && bytes > 0 && other.bytes > 0 && a < b + static_cast<uintptr_t>(other.bytes) &&
           b < a + static_cast<uintptr_t>(bytes);
  }
};

// Several.
struct Extents {
  static constexpr size_t kMost = 32;

  // The first one stays the first; of the others those that are there.
  void Add(const char* name, const void* begin, int64_t bytes) {
    if (begin != nullptr || count == 0) list[count++] = Extent{name, begin, bytes};
  }
  void Add(const Extents& more) {
    for (size_t i = 0; i < more.count; ++i) Add(more.list[i].name, more.list[i].begin, more.list[i].bytes);
  }

  Extent list[kMost];
  size_t count = 0;
};

// An array of the caller's with its name, in the terms of xent_logits.
struct Array {
  const char* of;      // "outputs"
  const char* what;    // "gradient"
  const char* prefix;  // of the names of its strides: "gradient_"
  const void* data;
  xent_dtype dtype;
  int64_t outer;
  int64_t classes;
  int64_t inner;
  int64_t outer_stride;
  int64_t class_stride;
  int64_t inner_stride;
};

Matrix MatrixOf(const Array& array);
Extent ExtentOf(const char* name, const Matrix& x);
xent_status CheckArray(const Array& array);
xent_status CheckAligned(const char* of, const char* name, const void* pointer, int64_t bytes);
// Inputs of any kind, under the name that they have in the call.
xent_status CheckInputs(const char* name, const xent_logits& x, Matrix* matrix);
xent_status CheckDense(const xent_targets& targets, const xent_logits& x, Array* dense);
// All that a call reads, logits under this name first, and all that it writes.
Extents InputsOf(const char* name, const SoftmaxTask& task);
Extents OutputsOf(const SoftmaxTask& task);
// No output overlaps an input or another output; but the first output may be the first input, if it may be in place.
xent_status CheckOverlaps(const Extent* inputs, size_t input_count, const Extent* outputs, size_t output_count,
                          bool may_be_in_place);

// The gradient as outputs have it; CheckGradient fills in what they leave to the inputs.
template <class Outputs>
Array GradientOf(const Outputs& out, const xent_logits& x) {
  return {"outputs",
          "gradient",
          "gradient_",
          out.gradient,
          out.gradient_dtype,
          x.outer,
          x.classes,
          x.inner,
          out.gradient_outer_stride,
          out.gradient_class_stride,
          out.gradient_inner_stride};
}
xent_status CheckGradient(const Array& as_given, const xent_logits& x, Array* gradient);

// The rules of options that every call has.
xent_status CheckThreads(int32_t num_threads, const xent_parallel_runner* optional);
xent_status CheckOptions(const xent_softmax_options& options, bool is_double);

inline xent_status CheckEnumerator(const char* name, const char* type, int32_t value, int32_t last) {
  XENT_REQUIRE(value >= 0 && value <= last, XENT_INVALID_ARGUMENT, "options.%s is %" PRId32 "; it is no %s", name,
               value, type);
  return XENT_OK;
}

inline xent_status CheckRange(const char* name, double value, double least, double most) {
  XENT_REQUIRE(value >= least && value <= most, XENT_INVALID_ARGUMENT, "options.%s is %g; it must be between %g and %g",
               name, value, least, most);
  return XENT_OK;
}

inline xent_status CheckUpstreamFactor(double upstream, bool is_double) {
  const double largest = is_double ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  XENT_REQUIRE(std::fabs(upstream) <= largest, XENT_INVALID_ARGUMENT,
               "options.upstream is %g; it must be finite and fit the gradient's arithmetic", upstream);
  return XENT_OK;
}

inline xent_status CheckEpsilon(const char* name, xent_log_rule rule, double epsilon) {
  XENT_REQUIRE(rule == XENT_LOG_EPSILON || epsilon == 0.0, XENT_INVALID_ARGUMENT,
               "%s is %g; without XENT_LOG_EPSILON it must be 0", name, epsilon);
  XENT_REQUIRE(rule != XENT_LOG_EPSILON || (epsilon > 0.0 && epsilon < 0.5), XENT_INVALID_ARGUMENT,
               "%s is %g; it must lie between 0 and 0.5", name, epsilon);
  return XENT_OK;
}

}  // namespace xent

#endif  // XENT_LIB_CHECK_RULES_H_
