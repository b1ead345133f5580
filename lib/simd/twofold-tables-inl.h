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
constexpr float kTwofoldSoftplusSteps = 28.8f;
alignas(64) constexpr float kTwofoldLogInverses[] = {
    0xb2p-7f, 0xbp-3f,  0xacp-7f, 0xa8p-7f, 0xa4p-7f, 0xa2p-7f, 0x9ep-7f, 0x9cp-7f, 0x98p-7f, 0x96p-7f, 0x92p-7f,
    0x9p-3f,  0x8ep-7f, 0x8cp-7f, 0x88p-7f, 0x86p-7f, 0x84p-7f, 0x82p-7f, 0x8p-3f,  0xfcp-8f, 0xf4p-8f, 0xecp-8f,
    0xe4p-8f, 0xep-4f,  0xd8p-8f, 0xd4p-8f, 0xcep-8f, 0xc8p-8f, 0xc4p-8f, 0xcp-4f,  0xbcp-8f, 0xb6p-8f};
alignas(64) constexpr float kTwofoldLogs[] = {
    -0xa8d5p-17f, -0xa30cp-17f, -0x9747p-17f, -0x8b3bp-17f, -0xfdc8p-18f, -0xf138p-18f, -0xd79ep-18f, -0xca92p-18f,
    -0xaffap-18f, -0xa26ap-18f, -0x86bcp-18f, -0xf138p-19f, -0xd494p-19f, -0xb788p-19f, -0xf85p-16f,  -0xbbap-16f,
    -0xfc1p-17f,  -0xfep-14f,   0x0p-24f,     0x81p-13f,    0xc4a8p-20f,  0xa698p-19f,  0xed38p-19f,  0x88bcp-18f,
    0xadfap-18f,  0xc11ep-18f,  0xde84p-18f,  0xfcc8p-18f,  0x88bcp-17f,  0x934bp-17f,  0x9e13p-17f,  0xaeaep-17f};
alignas(64) constexpr float kTwofoldLogsLow[] = {
    -0xd872ep-38f,  -0xbc21c6p-42f, -0xaeb847p-44f, 0xd51516p-44f,  -0xc36af2p-42f, -0xedc55ep-44f, -0x94e80cp-43f,
    -0xd4e7a3p-42f, 0xf8f587p-43f,  0xa499a4p-42f,  0xc197b9p-46f,  -0xedc55ep-45f, 0x962da9p-43f,  0xb5d46ap-42f,
    -0xc30046p-43f, -0xb1ec66p-42f, -0x9b0e78p-42f, -0xa8b0fcp-43f, 0x0p-24f,       0xacb127p-43f,  -0xabd6c1p-42f,
    0x8ae904p-43f,  0x9d8e11p-42f,  0xe8227ep-43f,  0xd6a87bp-48f,  0xb2a8d2p-46f,  0xe7077bp-44f,  0xe3659ep-42f,
    0xe8227ep-42f,  0x844d37p-44f,  -0xd88ccdp-42f, -0x8829a8p-44f};
alignas(64) constexpr float kTwofoldSoftplusInverses[] = {
    0x8p-3f,  0xf8p-8f, 0xfp-4f,  0xe8p-8f, 0xep-4f,  0xdap-8f, 0xd4p-8f, 0xcep-8f, 0xc8p-8f, 0xc4p-8f,
    0xbep-8f, 0xb8p-8f, 0xb4p-8f, 0xbp-4f,  0xacp-8f, 0xa8p-8f, 0xa4p-8f, 0xap-4f,  0x9ep-8f, 0x9ap-8f,
    0x98p-8f, 0x94p-8f, 0x9p-4f,  0x8ep-8f, 0x8cp-8f, 0x88p-8f, 0x86p-8f, 0x84p-8f, 0x82p-8f, 0x8p-4f};
alignas(64) constexpr float kTwofoldSoftplusLogs[] = {
    0x0p-24f,     0x8208p-20f, 0x842cp-19f, 0xc99cp-19f,  0x88bcp-18f,  0xa48ap-18f,  0xc11ep-18f, 0xde84p-18f,
    0xfcc8p-18f,  0x88bcp-17f, 0x98a8p-17f, 0xa915p-17f,  0xb456p-17f,  0xbfd8p-17f,  0xcb9dp-17f, 0xd7a9p-17f,
    0xe4p-9f,     0xf0a4p-17f, 0xf715p-17f, 0x821bp-16f,  0x85738p-20f, 0x8c478p-20f, 0x934bp-16f, 0x96df8p-20f,
    0x9a818p-20f, 0xa1edp-16f, 0xa5b8p-16f, 0xa9918p-20f, 0xad7ap-16f,  0xb172p-16f};
alignas(64) constexpr float kTwofoldSoftplusLogsLow[] = {
    0x0p-24f,       0xbb13cfp-42f,  0xc5acf2p-43f,  -0x868a9bp-42f, 0xe8227ep-43f,  -0x9f3313p-45f,
    0xb2a8d2p-46f,  0xe7077bp-44f,  0xe3659ep-42f,  0xe8227ep-42f,  -0xe1e2cap-42f, 0xe0738ap-42f,
    0x83e9c7p-42f,  -0xb884fdp-43f, 0xd0c4d6p-44f,  0x95248dp-42f,  -0xc71755p-43f, 0xa1a272p-42f,
    0xab5a0ap-45f,  0xbe7604p-45f,  0xdc5a0bp-42f,  -0xdf86e2p-44f, 0x844d37p-43f,  0xaaf61cp-42f,
    -0xea4c4ep-42f, -0xd06dc4p-49f, -0xa41a3dp-43f, -0xecbcc4p-44f, 0xb86c94p-46f,  0xbfbe8ep-43f};
constexpr float kTwofoldLogTail[] = {0xaaaaaap-25f, -0xfffffep-26f, 0xcceb2fp-26f, -0xaacb3fp-26f};

// The mantissa, less these bits, has the place in the tables on top, and 1 in the middle of a place.
constexpr uint32_t kTwofoldLogLowBits = 0x3F354000u;
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
constexpr float kTwofoldSoftplusSteps = 7.48f;
alignas(32) constexpr float kTwofoldLogInverses[] = {0xbp-3f, 0xap-3f,  0x98p-7f, 0x88p-7f,
                                                     0x8p-3f, 0xe8p-8f, 0xdp-4f,  0xcp-4f};
alignas(32) constexpr float kTwofoldLogs[] = {-0xa30cp-17f, -0xe48p-14f, -0xaffap-18f, -0xf85p-16f,
                                              0x0p-24f,     0xc99cp-19f, 0xd4ap-14f,   0x934bp-17f};
alignas(32) constexpr float kTwofoldLogsLow[] = {-0xbc21c6p-42f, 0x838656p-43f,  0xf8f587p-43f,  -0xc30046p-43f,
                                                 0x0p-24f,       -0x868a9bp-42f, -0x961ba9p-42f, 0x844d37p-44f};
alignas(32) constexpr float kTwofoldSoftplusInverses[] = {0x8p-3f,  0xep-4f,  0xc8p-8f, 0xb8p-8f,
                                                          0xa8p-8f, 0x98p-8f, 0x9p-4f,  0x8p-4f};
alignas(32) constexpr float kTwofoldSoftplusLogs[] = {0x0p-24f,    0x88bcp-18f,  0xfcc8p-18f, 0xa915p-17f,
                                                      0xd7a9p-17f, 0x85738p-20f, 0x934bp-16f, 0xb172p-16f};
alignas(32) constexpr float kTwofoldSoftplusLogsLow[] = {0x0p-24f,      0xe8227ep-43f, 0xe3659ep-42f, 0xe0738ap-42f,
                                                         0x95248dp-42f, 0xdc5a0bp-42f, 0x844d37p-43f, 0xbfbe8ep-43f};
constexpr float kTwofoldLogTail[] = {0xaaaaabp-25f, -0xffffacp-26f, 0xcccb03p-26f, -0xab839fp-26f, 0x93d975p-26f};
constexpr uint32_t kTwofoldLogLowBits = 0x3F350000u;
#endif
constexpr float kPlaces = 1 << kPlaceBits;

#endif

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#endif  // XENT_SIMD_TWOFOLD_TABLES_INL_H_
