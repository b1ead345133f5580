// The hash of all results on the input set of determinism_test.cc, per storage type, on every instruction set that has
// fused multiply-add. A change means that results changed: renew it only together with a change of the numerics, from
// what the failing test Bits.HashOfAllResultsIsTheOneOnRecord prints.
#ifndef XENT_TESTS_EXPECTED_HASH_H_
#define XENT_TESTS_EXPECTED_HASH_H_

#include <cstdint>

namespace xent_test {

constexpr uint64_t kExpectedHashF32 = 0x152F25FD4B9470EA;
constexpr uint64_t kExpectedHashF64 = 0x2CB29BDC6F33791D;
constexpr uint64_t kExpectedHashBf16 = 0xEBC28D9064E72AB4;
constexpr uint64_t kExpectedHashF16 = 0xE901EDF0F0EF4AE3;

}  // namespace xent_test

#endif  // XENT_TESTS_EXPECTED_HASH_H_
