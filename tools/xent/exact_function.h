// The functions of xent_map in 300 bits, by MPFR: what the real result of one argument rounds to, and how far from it
// another result is. No result in f64 is so close to the middle of two numbers that 300 bits leave a doubt: the closest
// known differ from it after some 120 bits, and sigmoid of tiny arguments after 161.
#ifndef XENT_TOOLS_EXACT_FUNCTION_H_
#define XENT_TOOLS_EXACT_FUNCTION_H_

#include <memory>

#include "number_format.h"
#include "xent/xent.h"

namespace xent_command {

class ExactFunction {
 public:
  ExactFunction(xent_function function, const FormatShape& shape);
  ~ExactFunction();
  ExactFunction(const ExactFunction&) = delete;
  ExactFunction& operator=(const ExactFunction&) = delete;

  // What the other functions are about from now on.
  void SetArgument(double x);

  // The nearest number of the format, ties to even.
  double Rounded() const;

  // |result - exact| in units in the last place of the binade that `exact` lies in. A result is infinitely far off if
  // just one of it and Rounded() is NaN, or if they are different infinities or just one of them is infinite.
  double ErrorOf(long double result) const;

  // Frees what MPFR keeps for the calling thread, which should do this last.
  static void EndThread();

 private:
  struct Numbers;

  int UlpExponent() const;

  xent_function function_;
  FormatShape shape_;
  std::unique_ptr<Numbers> numbers_;
};

}  // namespace xent_command

#endif  // XENT_TOOLS_EXACT_FUNCTION_H_
