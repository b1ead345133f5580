// A process of its own for process_test.cc: what must be seen from the first call on, from outside, or may crash.
//   info         prints the instruction set and thread count in use
//   uncapped     prints the instruction set after the cap is lifted
//   quiet        makes calls that succeed and calls that fail; prints nothing
//   first_call   makes the first call of the process on 8 threads at once
//   small_stack  calls from a thread with a stack of 64 KiB
//   nested       calls from inside OpenMP parallel regions
#include <omp.h>
#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "xent/xent.h"

namespace {

constexpr xent_dtype kTypes[] = {XENT_F32, XENT_F64, XENT_BF16, XENT_F16};

// The gradient of rows x classes logits whose bytes count up: no NaN in any storage type, and f32 beyond 44.
std::vector<unsigned char> Gradient(xent_dtype dtype, int64_t rows, int64_t classes, int32_t threads,
                                    double smoothing = 0, bool is_dense = false, double softcap = 0) {
  const size_t size = static_cast<size_t>(rows * classes * xent_dtype_size(dtype));
  std::vector<unsigned char> logits(size), gradient(size);
  for (size_t i = 0; i < size; ++i) logits[i] = static_cast<unsigned char>(i % 67);
  const std::vector<int64_t> labels(static_cast<size_t>(rows), 1);
  const xent_logits x = xent_logits_rows(logits.data(), dtype, rows, classes);
  const xent_targets targets =
      is_dense ? xent_targets_dense(logits.data(), dtype) : xent_targets_labels(labels.data(), XENT_I64);
  xent_softmax_options options = xent_softmax_options_default();
  options.num_threads = threads;
  options.label_smoothing = smoothing;
  options.focal_gamma = smoothing;
  options.softcap = softcap > 0 ? softcap : smoothing;
  xent_softmax_outputs outputs = xent_softmax_outputs_none();
  outputs.gradient = gradient.data();
  if (xent_softmax_cross_entropy(&x, &targets, &options, &outputs) != XENT_OK) std::abort();
  std::vector<double> lse(static_cast<size_t>(rows));
  outputs.lse = lse.data();
  if (xent_softmax_cross_entropy(&x, &targets, &options, &outputs) != XENT_OK) std::abort();
  return gradient;
}

// A function of such an array, in place.
void MapBytes(xent_dtype dtype, size_t size, int32_t threads) {
  std::vector<unsigned char> x(size);
  for (size_t i = 0; i < size; ++i) x[i] = static_cast<unsigned char>(i % 61);
  xent_map_options options = xent_map_options_default();
  options.num_threads = threads;
  for (xent_function function = XENT_EXP; function <= XENT_TANH; ++function) {
    const int64_t n = static_cast<int64_t>(size) / xent_dtype_size(dtype);
    if (xent_map(function, dtype, x.data(), x.data(), n, &options) != XENT_OK) std::abort();
  }
}

int Info() {
  std::printf("%s %d\n", xent_isa_chosen(), static_cast<int>(xent_num_threads()));
  return 0;
}

int Uncapped() {
  const xent_status status = xent_isa_cap(nullptr);
  std::printf("%s\n", xent_isa_chosen());
  return status;
}

int Quiet() {
  for (const xent_dtype dtype : kTypes) {
    Gradient(dtype, 2000, 500, 4);
    MapBytes(dtype, 1 << 20, 4);
  }
  int failures = 0;
  failures += xent_set_num_threads(-1) != XENT_OK;
  failures += xent_isa_cap("no such name") != XENT_OK;
  failures += xent_softmax_cross_entropy(nullptr, nullptr, nullptr, nullptr) != XENT_OK;
  failures += xent_map(XENT_EXP, XENT_F32, nullptr, nullptr, 1, nullptr) != XENT_OK;
  return failures == 4 ? 0 : 1;
}

int FirstCall() {
  constexpr int kThreads = 8;
  std::atomic<int> waiting{kThreads};
  std::vector<std::vector<unsigned char>> gradients(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      --waiting;
      while (waiting.load() > 0) std::this_thread::yield();
      gradients[static_cast<size_t>(t)] = Gradient(XENT_F32, 300, 500, 2);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<unsigned char> expected = Gradient(XENT_F32, 300, 500, 1);
  for (const auto& gradient : gradients) {
    if (gradient != expected) return 1;
  }
  return 0;
}

// Every way through the library: rows that are staged, long rows, rows shared by columns, terms per class, arrays; one
// thread and four.
void* CallEverything(void*) {
  for (int32_t i = 0; i < xent_isa_count(); ++i) {
    if (xent_isa_supported(i) == 0 || xent_isa_cap(xent_isa_name(i)) != XENT_OK) continue;
    for (const xent_dtype dtype : kTypes) {
      for (const int32_t threads : {1, 4}) {
        Gradient(dtype, 3000, 100, threads);
        Gradient(dtype, 100, 3000, threads);
        Gradient(dtype, 2, 300000, threads);
        Gradient(dtype, 400, 16, threads);
        Gradient(dtype, 100, 10, threads, 0.1);
        Gradient(dtype, 10, 3000, threads, 0.1);
        Gradient(dtype, 100, 300, threads, 0, true);
        Gradient(dtype, 100, 3000, threads, 0, true);
        Gradient(dtype, 100, 3000, threads, 0, false, 30);
        MapBytes(dtype, 1 << 20, threads);
      }
    }
  }
  return nullptr;
}

// AddressSanitizer's frames are several times as large.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kSmallStack = 512 * 1024;
#else
constexpr size_t kSmallStack = 64 * 1024;
#endif

int SmallStack() {
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, kSmallStack) != 0) return 2;
  if (pthread_create(&thread, &attributes, CallEverything, nullptr) != 0) return 3;
  return pthread_join(thread, nullptr);
}

int Nested() {
  const int before = omp_get_max_threads();
  const std::vector<unsigned char> expected = Gradient(XENT_F32, 2000, 500, 8);
  std::atomic<int> different{0};
#pragma omp parallel num_threads(4)
  {
    if (Gradient(XENT_F32, 2000, 500, 8) != expected) ++different;
    const bool changed = omp_get_num_threads() != 4;
    if (changed) ++different;
  }
  return different.load() != 0 || omp_get_max_threads() != before ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc == 2 ? argv[1] : "";
  if (command == "info") return Info();
  if (command == "uncapped") return Uncapped();
  if (command == "quiet") return Quiet();
  if (command == "first_call") return FirstCall();
  if (command == "small_stack") return SmallStack();
  if (command == "nested") return Nested();
  std::fprintf(stderr, "usage: process_helper info|uncapped|quiet|first_call|small_stack|nested\n");
  return 64;
}
