// Loads the library at run time, calls it and unloads it: load_helper LIBRARY CYCLES. It is not linked with the
// library. Fails if a step fails or changes the floating-point control word.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "xent/xent.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
static unsigned ControlWord() { return _mm_getcsr(); }
#else
static unsigned ControlWord() { return 0; }
#endif

namespace {

using CrossEntropy = decltype(&xent_softmax_cross_entropy);

// Enough work for several threads.
bool CallInParallel(CrossEntropy cross_entropy) {
  constexpr int64_t kRows = 1000;
  constexpr int64_t kClasses = 500;
  const std::vector<float> x(kRows * kClasses, 0.5f);
  const std::vector<int64_t> labels(kRows, 3);
  double total = 0;
  const xent_logits logits = xent_logits_rows(x.data(), XENT_F32, kRows, kClasses);
  const xent_targets targets = xent_targets_labels(labels.data(), XENT_I64);
  xent_softmax_options options = xent_softmax_options_default();
  options.num_threads = 4;
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.total = &total;
  return cross_entropy(&logits, &targets, &options, &outputs) == XENT_OK && total > 6.2 && total < 6.3;
}

const char* Cycle(const char* path) {
  const unsigned before = ControlWord();
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return dlerror();
  if (ControlWord() != before) return "loading changed the floating-point control word";
  const auto cross_entropy = reinterpret_cast<CrossEntropy>(dlsym(library, "xent_softmax_cross_entropy"));
  if (cross_entropy == nullptr) return dlerror();
  const unsigned before_call = ControlWord();
  const bool worked = CallInParallel(cross_entropy);
  if (!worked) return "the call failed";
  if ((ControlWord() & ~0x3Fu) != (before_call & ~0x3Fu)) return "calling changed the floating-point control word";
  return dlclose(library) == 0 ? nullptr : dlerror();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  for (int cycle = 0; cycle < std::atoi(argv[2]); ++cycle) {
    const char* error = Cycle(argv[1]);
    if (error == nullptr) continue;
    std::printf("cycle %d: %s\n", cycle, error);
    return 1;
  }
  return 0;
}
