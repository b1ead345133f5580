// Large, page-aligned buffers, touched first by the threads that will use them.
#ifndef XENT_BENCH_MEMORY_H_
#define XENT_BENCH_MEMORY_H_

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace xent_bench {

inline constexpr size_t RoundUp(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char[], Free>;

// At least `bytes` of memory that nobody has touched. With `huge_pages` the system is asked for pages of 2 MiB;
// otherwise they are what it gives to any program.
inline Memory Allocate(size_t bytes, bool huge_pages = false) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t alignment = bytes >= kHugePage ? kHugePage : 4096;
  const size_t size = RoundUp(bytes > 0 ? bytes : 1, alignment);
  Memory memory(static_cast<char*>(std::aligned_alloc(alignment, size)));
  if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (huge_pages) madvise(memory.get(), size, MADV_HUGEPAGE);
#else
  static_cast<void>(huge_pages);
#endif
  return memory;
}

}  // namespace xent_bench

#endif  // XENT_BENCH_MEMORY_H_
