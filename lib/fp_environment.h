// The floating-point environment of a thread while it computes: round to nearest, subnormals kept, no traps. Callers
// leak flush-to-zero (any library linked with -ffast-math sets it), and OpenMP's workers do not inherit theirs.
#ifndef XENT_LIB_FP_ENVIRONMENT_H_
#define XENT_LIB_FP_ENVIRONMENT_H_

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#include <cfenv>
#endif

namespace xent {

// Sets the environment for its lifetime, then puts back what was there, flags included.
class FpEnvironment {
 public:
  FpEnvironment(const FpEnvironment&) = delete;
  FpEnvironment& operator=(const FpEnvironment&) = delete;

#if defined(__x86_64__) || defined(__i386__)
  // Writing takes longer than a small row.
  FpEnvironment() : saved_(_mm_getcsr()) {
    if (saved_ != kDefaultMxcsr) _mm_setcsr(kDefaultMxcsr);
  }
  ~FpEnvironment() {
    if (_mm_getcsr() != saved_) _mm_setcsr(saved_);
  }

 private:
  static constexpr uint32_t kDefaultMxcsr = 0x1F80;
  uint32_t saved_;
#elif defined(__aarch64__)
  FpEnvironment() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_control_));
    __asm__ volatile("mrs %0, fpsr" : "=r"(saved_status_));
    __asm__ volatile("msr fpcr, %0" ::"r"(uint64_t{0}));
  }
  ~FpEnvironment() {
    __asm__ volatile("msr fpcr, %0" ::"r"(saved_control_));
    __asm__ volatile("msr fpsr, %0" ::"r"(saved_status_));
  }

 private:
  uint64_t saved_control_;
  uint64_t saved_status_;
#else
  FpEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FpEnvironment() { std::fesetenv(&saved_); }

 private:
  std::fenv_t saved_;
#endif
};

}  // namespace xent

#endif  // XENT_LIB_FP_ENVIRONMENT_H_
