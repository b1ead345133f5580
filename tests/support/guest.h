// What a host process may do to a library that is its guest: fork, and set the floating-point environment.
#ifndef XENT_TESTS_SUPPORT_GUEST_H_
#define XENT_TESTS_SUPPORT_GUEST_H_

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace xent_test {

constexpr unsigned kForkTimeout = 60;  // seconds; a hanging child is ended by SIGALRM

// Runs check in a forked child and expects it to return true in time.
template <typename Check>
void ExpectInChild(const Check& check) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(kForkTimeout);
    _exit(check() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the child ended with wait status " << status;
}

#if defined(__x86_64__)
constexpr unsigned kFlushToZero = 0x8000;
constexpr unsigned kDenormalsAreZero = 0x0040;
constexpr unsigned kMasks = 0x1F80;  // no exception traps
constexpr unsigned kRounding[] = {0x0000, 0x2000, 0x4000, 0x6000};

// Makes a call under a control word and expects that the call has left it as it was.
template <typename Call>
auto UnderControlWord(unsigned control_word, const Call& call) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(control_word);
  auto results = call();
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_EQ(after, control_word);
  return results;
}

// A runner whose threads have control words of their own. Their context is an atomic bool that
// becomes false where a task changed one.
inline void RunUnderControlWords(void* kept, int64_t tasks, void (*task)(void*, int64_t), void* task_context) {
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < tasks; ++i) {
    threads.emplace_back([=] {
      const unsigned control_word = kMasks | kFlushToZero | kDenormalsAreZero | kRounding[i % 4];
      _mm_setcsr(control_word);
      task(task_context, i);
      if (_mm_getcsr() != control_word) static_cast<std::atomic<bool>*>(kept)->store(false);
    });
  }
  for (std::thread& thread : threads) thread.join();
}
#endif

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_GUEST_H_
