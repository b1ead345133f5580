// The hash of all results on the input set of determinism_test.cc, per storage type, on every instruction set that has
// fused multiply-add. A change means that results changed: renew it only together with a change of the numerics, from
// what the failing test Bits.HashOfAllResultsIsTheOneOnRecord prints.
#ifndef XENT_TESTS_EXPECTED_HASH_H_
#define XENT_TESTS_EXPECTED_HASH_H_

#include <cstdint>

namespace xent_test {

constexpr uint64_t kExpectedHashF32 = 0x319A3CC2C487CCA7;
constexpr uint64_t kExpectedHashF64 = 0x491EFA397BC5FCBA;
constexpr uint64_t kExpectedHashBf16 = 0x789D970D4A4F020C;
constexpr uint64_t kExpectedHashF16 = 0x2B46BC2632A802EB;

// Results of xent_map on the input set of support/functions.h; f32, f64, bf16, f16. All but f64 hold on every
// instruction set. FunctionBits.HashOfAllResultsIsTheOneOnRecord prints them where they differ.
constexpr uint64_t kExpectedFunctionHash[8][4] = {
    {0x4B51E6D85B3DF9EA, 0x2F4DE1BDCBB07F4D, 0x2F0338F6CB02A675, 0x874003F7425D9F06},  // exp
    {0xEBD80E78F6E9C65F, 0x533543087CE026CE, 0xD7ACB6237090231A, 0x632323C82AC3A7A3},  // log
    {0x0011294F4DD2CAF6, 0x7450723BCB0160A4, 0x2AC5372AA47533C9, 0xAE0EF88969ADD806},  // log1p
    {0xD240A92B7B16A3D9, 0x8812E615896BA899, 0xF23B2B29C606B14C, 0x2C531FB095C49E01},  // expm1
    {0xCB1A555B592723D5, 0xDF60032066E725CE, 0x9F478685CF8211FE, 0x7677528F694AA1DF},  // sigmoid
    {0x3D89F71AA4F043DC, 0xE7E4422EE23003A6, 0xD44B572B40980E19, 0x51EE6754E1CFFA3B},  // log_sigmoid
    {0x30CFA1B2E804EDA4, 0x5B78D9EBDD09604A, 0xF569FEC329399851, 0x0B342B44D12C4013},  // softplus
    {0xA62DB3730D549E84, 0x45A19BEFC068E0CF, 0xD9A66B7026211B89, 0xEC5BEE069D2D49D5},  // tanh
};

}  // namespace xent_test

#endif  // XENT_TESTS_EXPECTED_HASH_H_
