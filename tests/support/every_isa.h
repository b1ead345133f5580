// Runs a check on every instruction set that this machine supports, forced through xent_isa_cap, and proves that each
// of them really ran: a test that silently stayed on one of them would be worth little.
#ifndef XENT_TESTS_SUPPORT_EVERY_ISA_H_
#define XENT_TESTS_SUPPORT_EVERY_ISA_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/storage.h"
#include "xent/xent.h"

namespace xent_test {

// Best first.
inline std::vector<std::string> SupportedIsas() {
  std::vector<std::string> names;
  for (int32_t i = 0; i < xent_isa_count(); ++i) {
    if (xent_isa_supported(i) == 1) names.push_back(xent_isa_name(i));
  }
  return names;
}

// Instruction sets with fused multiply-add, whose results have the same bits.
inline bool HasFma(const std::string& isa) {
  return isa.rfind("avx", 0) == 0 || isa.rfind("neon", 0) == 0 || isa.rfind("sve", 0) == 0;
}

// Caps the process at one instruction set while it lives.
class IsaCap {
 public:
  explicit IsaCap(const std::string& isa) {
    EXPECT_EQ(xent_isa_cap(isa.c_str()), XENT_OK) << isa << ": " << xent_last_error();
    EXPECT_EQ(xent_isa_chosen(), isa);
  }
  ~IsaCap() { xent_isa_cap(nullptr); }
  IsaCap(const IsaCap&) = delete;
  IsaCap& operator=(const IsaCap&) = delete;
};

// Calls check(isa) under each cap. Stops early after a fatal failure.
template <typename Check>
void ForEveryIsa(Check check) {
  const std::vector<std::string> supported = SupportedIsas();
  ASSERT_FALSE(supported.empty());
  std::vector<std::string> ran;
  for (const std::string& isa : supported) {
    SCOPED_TRACE("instruction set " + isa);
    const IsaCap cap(isa);
    check(isa);
    if (testing::Test::HasFatalFailure()) return;
    ran.push_back(xent_isa_chosen());
  }
  EXPECT_EQ(ran, supported);
}

// Calls check(storage type) for each storage type under each cap.
template <typename Check>
void ForEveryIsaAndType(Check check) {
  ForEveryIsa([&](const std::string&) {
    for (const xent_dtype dtype : kStorageTypes) {
      SCOPED_TRACE(std::string("logits of type ") + TypeName(dtype));
      check(dtype);
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

}  // namespace xent_test

#endif  // XENT_TESTS_SUPPORT_EVERY_ISA_H_
