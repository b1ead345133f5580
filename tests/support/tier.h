// Quick or long: the long tier runs the same tests with more rows, forks and cycles. The environment decides
// (XENT_TEST_LONG=1); ctest sets it for the tests that -DXENT_LONG_TESTS=ON registers.
#ifndef XENT_TESTS_SUPPORT_TIER_H_
#define XENT_TESTS_SUPPORT_TIER_H_

#include <cstdlib>
#include <cstring>

namespace xent_test {

inline bool IsLongTier() {
  const char* text = std::getenv("XENT_TEST_LONG");
  return text != nullptr && std::strcmp(text, "1") == 0;
}

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_TIER_H_
