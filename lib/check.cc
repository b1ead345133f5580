// One rule, one line: what must hold, else the status and the sentence with the argument's name and value. Those of
// softmax cross-entropy are in check_softmax.cc.
#include "lib/check.h"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>

#include "lib/check_rules.h"

namespace xent {
namespace {

thread_local char last_error[512] = "";

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
