// The functions of xent_map from the C library, in more bits than the type under test has, with a bound on what they
// may be off by. Where that leaves two answers, exact_function.h decides.
#ifndef XENT_TOOLS_FUNCTION_REFERENCE_H_
#define XENT_TOOLS_FUNCTION_REFERENCE_H_

#include <cstdint>

#include "xent/xent.h"

namespace xent_command {

// y[i] = f(x[i]) for i in [0, n). `double` serves the types up to f32, long double f64: where results
// have long been 0 or infinite in the type under test, they may be those of an argument nearer to 0.
void ApplyReference(xent_function function, const double* x, int64_t n, double* y);
void ApplyReference(xent_function function, const long double* x, int64_t n, long double* y);

// The largest relative error: 16 units in the last place and 8, at least twice what function_reference_test finds.
template <typename Work>
struct ReferenceError;
template <>
struct ReferenceError<double> {
  static constexpr double kRelative = 0x1p-48;
};
template <>
struct ReferenceError<long double> {
  static constexpr long double kRelative = 0x1p-60L;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_FUNCTION_REFERENCE_H_
