// Constants and error bounds of twofold-inl.h: with AVX-512 tables of 32 places, with AVX2 of 8.

#if defined(XENT_SIMD_TWOFOLD_TABLES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef XENT_SIMD_TWOFOLD_TABLES_INL_H_
#undef XENT_SIMD_TWOFOLD_TABLES_INL_H_
#else
#define XENT_SIMD_TWOFOLD_TABLES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

// Made by tools/coefficients.
#if HWY_TARGET == HWY_AVX3
// Tables of 32 places.
constexpr int kPlaceBits = 5;
constexpr float kTwofoldTurn[] = {0xb17218p-29f, -0x82e308p-57f};
constexpr float kTwofoldExpTail[] = {0x8p-4f, 0xaaaae4p-26f, 0xaaaacfp-28f};
alignas(64) constexpr uint32_t kTwofoldPowers[] = {
    0x3f800000u, 0x3f7ecd87u, 0x3f7daac3u, 0x3f7c980fu, 0x3f7b95c2u, 0x3f7aa43au, 0x3f79c3d3u, 0x3f78f4f0u,
    0x3f7837f0u, 0x3f778d3au, 0x3f76f532u, 0x3f767043u, 0x3f75fed7u, 0x3f75a15bu, 0x3f75583fu, 0x3f7523f6u,
    0x3f7504f3u, 0x3f74fbafu, 0x3f7508a4u, 0x3f752c4du, 0x3f75672au, 0x3f75b9beu, 0x3f76248cu, 0x3f76a81eu,
    0x3f7744fdu, 0x3f77fbb8u, 0x3f78ccdfu, 0x3f79b907u, 0x3f7ac0c7u, 0x3f7be4bau, 0x3f7d257du, 0x3f7e83b3u};
alignas(64) constexpr float kTwofoldPowersLow[] = {
    0x0p-24f,       -0xca3a0bp-48f, 0xc6cb6ap-48f,  -0xeed17fp-48f, -0xce0611p-50f, -0xd17ddap-48f, 0xcb2481p-48f,
    -0x9586dep-48f, 0x892801p-48f,  -0xe6f467p-49f, 0x9b85f2p-48f,  0x99b6f1p-53f,  -0x851aa9p-48f, -0xe2a0dbp-49f,
    -0x806c56p-50f, -0xb65942p-48f, 0x9302aep-49f,  0xc595dcp-49f,  -0x82e5a2p-48f, -0x8e10a1p-49f, 0xb3d0e5p-51f,
    -0x9a472bp-48f, 0xd1daf2p-51f,  -0x85bf64p-48f, -0xfce183p-50f, -0xf26443p-49f, -0xb4b0dap-51f, -0xda8a8fp-51f,
    -0xd290bep-51f, -0xd5b899p-49f, 0xb0a147p-51f,  -0x956afcp-50f};
constexpr float kTwofoldLn2[] = {0xb172p-16f, 0xbfbe8ep-43f};
alignas(64) constexpr float kTwofoldLogInverses[] = {
    0xb21p-11f, 0xae5p-11f, 0xaabp-11f, 0xa73p-11f, 0xa3dp-11f, 0xa0ap-11f, 0x9d9p-11f, 0x9a9p-11f,
    0x97bp-11f, 0x94fp-11f, 0x925p-11f, 0x8fcp-11f, 0x8d4p-11f, 0x8aep-11f, 0x889p-11f, 0x865p-11f,
    0x842p-11f, 0x821p-11f, 0x8p-3f,    0xf84p-12f, 0xf0fp-12f, 0xea1p-12f, 0xe39p-12f, 0xdd6p-12f,
    0xd79p-12f, 0xd21p-12f, 0xccdp-12f, 0xc7dp-12f, 0xc31p-12f, 0xbe8p-12f, 0xba3p-12f, 0xb61p-12f};
alignas(64) constexpr float kTwofoldLogs[] = {
    -0xa903p-17f, -0x9e1ep-17f, -0x935bp-17f, -0x88bfp-17f, -0xfc9cp-18f, -0xe87ep-18f, -0xd4c8p-18f, -0xc118p-18f,
    -0xaddep-18f, -0x9b22p-18f, -0x88ecp-18f, -0xeda8p-19f, -0xc9bcp-19f, -0xa7p-11f,   -0x849cp-19f, -0xc53p-16f,
    -0x81e8p-20f, -0x82fp-17f,  0x0p-24f,     0xfbdp-17f,   0xf86p-16f,   0xb77cp-19f,  0xf128p-19f,  0x94cep-18f,
    0xb00ep-18f,  0xca84p-18f,  0xe47p-14f,   0xfdbep-18f,  0x8b31p-17f,  0x974fp-17f,  0xa308p-17f,  0xae81p-17f};
alignas(64) constexpr float kTwofoldLogsLow[] = {
    -0xdfd186p-42f, 0xd8c94cp-42f,  -0x824d42p-44f, -0xe81dfep-42f, -0xe27397p-42f, 0x80ddaap-43f,  0x96e3a4p-42f,
    -0xb260d2p-46f, -0xbe2809p-48f, 0xd4be9ep-45f,  -0xe5e29p-39f,  -0x9c061fp-42f, 0x86aa9bp-42f,  -0x88451bp-43f,
    -0xc29d0ep-43f, 0xac673dp-42f,  -0xbb0bcep-42f, -0xa8f04dp-43f, 0x0p-24f,       0x9b1678p-42f,  0xc30446p-43f,
    -0xb5cfeap-42f, 0xee055ep-45f,  0x986303p-42f,  -0xf89185p-43f, 0xd50022p-42f,  -0x834657p-43f, 0xc37772p-42f,
    -0xd44d19p-44f, 0xaf3849p-44f,  0xbc29c6p-42f,  -0x8ed803p-44f};
alignas(64) constexpr float kTwofoldSoftplusInverses[] = {
    0x8p-3f,    0xf82p-12f, 0xf0bp-12f, 0xe9cp-12f, 0xe32p-12f, 0xdcfp-12f, 0xd7p-8f,   0xd17p-12f,
    0xcc2p-12f, 0xc72p-12f, 0xc25p-12f, 0xbdcp-12f, 0xb96p-12f, 0xb53p-12f, 0xb13p-12f, 0xad6p-12f,
    0xa9cp-12f, 0xa64p-12f, 0xa2ep-12f, 0x9fbp-12f, 0x9c9p-12f, 0x999p-12f, 0x96bp-12f, 0x93fp-12f,
    0x914p-12f, 0x8ebp-12f, 0x8c4p-12f, 0x89dp-12f, 0x878p-12f, 0x854p-12f, 0x832p-12f, 0x81p-8f};
alignas(64) constexpr float kTwofoldSoftplusLogs[] = {
    0x0p-24f,      0xfff515p-29f, 0xfca21bp-28f, 0xba3708p-27f, 0xf5192cp-27f, 0x96d52ep-26f, 0xb2ba76p-26f,
    0xcd91f4p-26f, 0xe7e12cp-26f, 0x80a324p-25f, 0x8d29d4p-25f, 0x995423p-25f, 0xa5459ap-25f, 0xb0f863p-25f,
    0xbc666dp-25f, 0xc78974p-25f, 0xd25b05p-25f, 0xdd05c9p-25f, 0xe78607p-25f, 0xf1a491p-25f, 0xfbc302p-25f,
    0x82d578p-24f, 0x87ac11p-24f, 0x8c632p-20f,  0x9114a1p-24f, 0x95a323p-24f, 0x9a0c59p-24f, 0x9e895bp-24f,
    0xa2de62p-24f, 0xa727c2p-24f, 0xab455p-20f,  0xaf7415p-24f};
alignas(64) constexpr float kTwofoldSoftplusLogsLow[] = {
    0x0p-24f,       -0xeec959p-54f, -0xe59c91p-55f, 0x89bb65p-58f, -0xf78434p-59f, -0xb174b2p-52f, -0xb9f663p-54f,
    -0x8ac31ap-54f, -0xeb423p-47f,  0xcf23e8p-50f,  0x902e71p-50f, -0x9aedf6p-50f, 0xaa9585p-53f,  -0xaa25dep-52f,
    0x84b3f3p-51f,  0xe70c59p-51f,  0x8dcbbap-51f,  0xb9d3c8p-52f, -0xe70cd9p-50f, -0xcb4b88p-52f, -0xe52487p-50f,
    0xa81bfp-45f,   0xe89f94p-50f,  0xff75fp-45f,   0xe4a6aap-49f, 0xc1c2b3p-53f,  -0xaf53bap-50f, 0xc44e9p-50f,
    0xc99127p-50f,  -0xd3a9f2p-49f, 0xca7637p-52f,  0xa24192p-49f};
constexpr float kTwofoldLogTail[] = {0xaaaaabp-25f, -0x8p-5f, 0xccc9bap-26f, -0xaab28cp-26f};

// The mantissa, less these bits, has the place in the tables on top, and 1 in the middle of a place.
constexpr uint32_t kTwofoldLogLowBits = 0x3F360000u;
// More than the largest error of a sum of two floats, relative to it (log at 0x1.fbe83p-1: 2^-35.14).
constexpr float kTwofoldError = 0x1p-35f;
constexpr float kTwofoldErrorOfSquare = 0.0f;  // r is small
#else
// Tables of 8 places.
constexpr int kPlaceBits = 3;
constexpr float kTwofoldTurn[] = {0xb17218p-27f, -0x82e308p-55f};
constexpr float kTwofoldExpTail[] = {0xaaaaabp-26f, 0xaaad1ap-28f, 0x887f04p-30f};
alignas(32) constexpr uint32_t kTwofoldPowers[] = {0x3f800000u, 0x3f7b95c2u, 0x3f7837f0u, 0x3f75fed7u,
                                                   0x3f7504f3u, 0x3f75672au, 0x3f7744fdu, 0x3f7ac0c7u};
alignas(32) constexpr float kTwofoldPowersLow[] = {0x0p-24f,      -0xce0611p-50f, 0x892801p-48f,  -0x851aa9p-48f,
                                                   0x9302aep-49f, 0xb3d0e5p-51f,  -0xfce183p-50f, -0xd290bep-51f};
constexpr float kTwofoldLn2[] = {0xb172p-16f, 0xbfbe8ep-43f};
alignas(32) constexpr float kTwofoldLogInverses[] = {0xaabp-11f, 0x9d9p-11f, 0x925p-11f, 0x889p-11f,
                                                     0x8p-3f,    0xe39p-12f, 0xccdp-12f, 0xba3p-12f};
alignas(32) constexpr float kTwofoldLogs[] = {-0x935bp-17f, -0xd4c8p-18f, -0x88ecp-18f, -0x849cp-19f,
                                              0x0p-24f,     0xf128p-19f,  0xe47p-14f,   0xa308p-17f};
alignas(32) constexpr float kTwofoldLogsLow[] = {-0x824d42p-44f, 0x96e3a4p-42f, -0xe5e29p-39f,  -0xc29d0ep-43f,
                                                 0x0p-24f,       0xee055ep-45f, -0x834657p-43f, 0xbc29c6p-42f};
alignas(32) constexpr float kTwofoldSoftplusInverses[] = {0x8p-3f,    0xe1ep-12f, 0xca1p-12f, 0xb6dp-12f,
                                                          0xa6ep-12f, 0x998p-12f, 0x8e2p-12f, 0x845p-12f};
alignas(32) constexpr float kTwofoldSoftplusLogs[] = {0x0p-24f,      0x80334dp-26f, 0xf2475fp-26f, 0xac6618p-25f,
                                                      0xdb19f5p-25f, 0x82f026p-24f, 0x96a601p-24f, 0xa8f679p-24f};
alignas(32) constexpr float kTwofoldSoftplusLogsLow[] = {0x0p-24f,      -0xbe0c8fp-53f, 0xa79909p-51f,  -0xdd6ec1p-51f,
                                                         0x85c146p-51f, 0xd51603p-52f,  -0xe0e2c6p-49f, 0xb713f9p-49f};
constexpr float kTwofoldLogTail[] = {0xaaaaabp-25f, -0xffffa7p-26f, 0xcccbp-18f, -0xab89c5p-26f, 0x93dc3fp-26f};
constexpr uint32_t kTwofoldLogLowBits = 0x3F380000u;
// What is left of r^3 and beyond errs most. (No sum errs by more than 0.73 of both bounds together: log at
// 0x1.2ff5b2p+0.)
constexpr float kTwofoldError = 0x1p-36f;
constexpr float kTwofoldErrorOfSquare = 0x1p-27f;
#endif
constexpr float kPlaces = 1 << kPlaceBits;

#endif

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_TWOFOLD_TABLES_INL_H_
