// Functions of arrays by other libraries, timed without Python in between. Built by native_functions.py: g++ -O3
// -march=native -fopenmp -shared -fPIC, -DXENT_PEERS_SLEEF with SLEEF, -DXENT_PEERS_HWY with Highway. Loops are what a
// user would write: OpenMP, whole vectors, ordinary stores.
// Arrays are aligned to 64 bytes and have a multiple of 16 elements.
#include <immintrin.h>

#include <chrono>
#include <cmath>
#include <cstdint>

#ifdef XENT_PEERS_SLEEF
#include <sleef.h>
#endif
#ifdef XENT_PEERS_HWY
#define HWY_COMPILE_ONLY_STATIC  // for this machine, as everything here is
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>
namespace hn = hwy::HWY_NAMESPACE;
#endif

namespace {

using Array = void (*)(const void* x, void* y, int64_t n);

// f of every step of `kLanes` elements, threads as OMP_NUM_THREADS says, one for small arrays.
template <typename T, int kLanes, typename Step>
void ForSteps(const void* x, void* y, int64_t n, const Step& step) {
  const T* const from = static_cast<const T*>(x);
  T* const to = static_cast<T*>(y);
#pragma omp parallel for schedule(static) if (n > 65536)
  for (int64_t i = 0; i < n; i += kLanes) step(from + i, to + i);
}

#ifdef __AVX512F__
using Floats = __m512;
using Doubles = __m512d;
#define XENT_LOAD_F(p) _mm512_load_ps(p)
#define XENT_LOAD_D(p) _mm512_load_pd(p)
#define XENT_STORE_F _mm512_store_ps
#define XENT_STORE_D _mm512_store_pd
#define XENT_MVEC_F(name) _ZGVeN16v_##name##f
#define XENT_MVEC_D(name) _ZGVeN8v_##name
#define XENT_SLEEF_F(name) Sleef_##name##f16_u10
#define XENT_SLEEF_D(name) Sleef_##name##d8_u10
#else
using Floats = __m256;
using Doubles = __m256d;
#define XENT_LOAD_F(p) _mm256_load_ps(p)
#define XENT_LOAD_D(p) _mm256_load_pd(p)
#define XENT_STORE_F _mm256_store_ps
#define XENT_STORE_D _mm256_store_pd
#define XENT_MVEC_F(name) _ZGVdN8v_##name##f
#define XENT_MVEC_D(name) _ZGVdN4v_##name
#define XENT_SLEEF_F(name) Sleef_##name##f8_u10
#define XENT_SLEEF_D(name) Sleef_##name##d4_u10
#endif

}  // namespace
#define XENT_DECLARE_MVEC(name)                \
  extern "C" Floats XENT_MVEC_F(name)(Floats); \
  extern "C" Doubles XENT_MVEC_D(name)(Doubles)
XENT_DECLARE_MVEC(exp);
XENT_DECLARE_MVEC(log);
XENT_DECLARE_MVEC(log1p);
XENT_DECLARE_MVEC(expm1);
XENT_DECLARE_MVEC(tanh);
namespace {

// Arrays of f32 and f64 as one initializer, each from an expression for a step.
#define XENT_STEPS(T, kLanes, step) \
  [](const void* x, void* y, int64_t n) { ForSteps<T, kLanes>(x, y, n, [](const T* from, T* to) { step; }); }
#define XENT_VECTORS(of_floats, of_doubles)                                                      \
  {                                                                                              \
    XENT_STEPS(float, sizeof(Floats) / 4, XENT_STORE_F(to, of_floats(XENT_LOAD_F(from)))),       \
        XENT_STEPS(double, sizeof(Doubles) / 8, XENT_STORE_D(to, of_doubles(XENT_LOAD_D(from)))) \
  }
#define XENT_SCALAR(name) \
  { XENT_STEPS(float, 1, *to = std::name(*from)), XENT_STEPS(double, 1, *to = std::name(*from)) }
#define XENT_MVEC(name) XENT_VECTORS(XENT_MVEC_F(name), XENT_MVEC_D(name))
#define XENT_SLEEF(name) XENT_VECTORS(XENT_SLEEF_F(name), XENT_SLEEF_D(name))
#define XENT_HWY_STEPS(T, Name)                                                 \
  XENT_STEPS(T, hn::MaxLanes(hn::ScalableTag<T>()), const hn::ScalableTag<T> d; \
             hn::Store(hn::Name(d, hn::Load(d, from)), d, to))
#define XENT_HWY(Name) \
  { XENT_HWY_STEPS(float, Name), XENT_HWY_STEPS(double, Name) }

// Functions in the order of xent.h; f32, f64. Those that a library lacks are null.
struct Peer {
  const char* name;
  Array arrays[8][2];
};

constexpr Peer kPeers[] = {
    {"glibc loop",
     {XENT_SCALAR(exp), XENT_SCALAR(log), XENT_SCALAR(log1p), XENT_SCALAR(expm1), {}, {}, {}, XENT_SCALAR(tanh)}},
    {"glibc libmvec",
     {XENT_MVEC(exp), XENT_MVEC(log), XENT_MVEC(log1p), XENT_MVEC(expm1), {}, {}, {}, XENT_MVEC(tanh)}},
#ifdef XENT_PEERS_SLEEF
    {"SLEEF u10",
     {XENT_SLEEF(exp), XENT_SLEEF(log), XENT_SLEEF(log1p), XENT_SLEEF(expm1), {}, {}, {}, XENT_SLEEF(tanh)}},
#endif
#ifdef XENT_PEERS_HWY
    {"Highway contrib", {XENT_HWY(Exp), XENT_HWY(Log), XENT_HWY(Log1p), XENT_HWY(Expm1), {}, {}, {}, XENT_HWY(Tanh)}},
#endif
};
constexpr int kPeerCount = sizeof(kPeers) / sizeof(kPeers[0]);

// Calls `call` so many times; seconds for one.
template <typename Call>
double Seconds(int64_t repeats, const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < repeats; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(repeats);
}

}  // namespace

extern "C" {

int peer_count() { return kPeerCount; }
const char* peer_name(int peer) { return kPeers[peer].name; }
int peer_has(int peer, int function, int dtype) { return kPeers[peer].arrays[function - 1][dtype - 1] != nullptr; }

double time_peer(int peer, int function, int dtype, const void* x, void* y, int64_t n, int64_t repeats) {
  const Array array = kPeers[peer].arrays[function - 1][dtype - 1];
  return Seconds(repeats, [=] { array(x, y, n); });
}

// A function of MKL's VML with a mode, by its address.
double time_vml(void (*vml)(int, const void*, void*, int64_t), const void* x, void* y, int64_t n, int64_t mode,
                int64_t repeats) {
  return Seconds(repeats, [=] { vml(static_cast<int>(n), x, y, mode); });
}

}  // extern "C"
