// What rules about arguments are written with.
#ifndef XENT_LIB_CHECK_RULES_H_
#define XENT_LIB_CHECK_RULES_H_

#include <cstdint>
#include <limits>

#include "lib/check.h"
#include "lib/task.h"

namespace xent {

constexpr int64_t kMaxBytes = std::numeric_limits<int64_t>::max();

// Evaluates a rule's status and returns from the caller where it failed.
#define XENT_RULE(expression)                            \
  do {                                                   \
    const xent_status rule_status = (expression);        \
    if (rule_status != XENT_OK) return rule_status;      \
  } while (false)

#define XENT_REQUIRE(condition, ...) XENT_RULE((condition) ? XENT_OK : Fail(__VA_ARGS__))

inline bool IsRealDtype(xent_dtype dtype) { return dtype >= XENT_F32 && dtype <= XENT_F16; }
inline bool IsLabelDtype(xent_dtype dtype) { return dtype >= XENT_U8 && dtype <= XENT_I64; }

inline Dtype DtypeOf(xent_dtype dtype) { return static_cast<Dtype>(dtype - XENT_F32); }

inline bool IsAligned(const void* pointer, int64_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

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

// The rules of options that every call has.
xent_status CheckThreads(int32_t num_threads, const xent_parallel_runner* optional);

// Those of arguments that several functions have.
Extent ExtentOf(const char* name, const Matrix& x);
xent_status CheckLogits(const xent_logits& x, Matrix* matrix);
xent_status CheckOptions(const xent_softmax_options& options, bool is_double);
xent_status CheckAligned(const char* of, const char* name, const void* pointer, int64_t bytes);

}  // namespace xent

#endif  // XENT_LIB_CHECK_RULES_H_
