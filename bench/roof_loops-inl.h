// The plain loops, compiled once per vector width. The file that includes this one defines XENT_ROOF_TARGET (the
// function attribute that turns the instructions on) and, in namespace xent_bench, kBytes (the width), the vector
// types Bits, I32, I64, F32 and F64, and Stream, Fence and Fma. No include guard: one inclusion per translation unit.
//
// exp(x) = 2^n * p(r), n = round(x / ln 2), r = x - n * ln 2, p a Taylor polynomial: a bare loop, without any care for
// special values or the last bits. Two vectors in step are the fastest on Zen 3 (0.67 cycles per float; one 0.72,
// three 0.71, four 0.8): enough to hide latencies, and few enough for 16 registers.

namespace xent_bench {
namespace {

XENT_ROOF_TARGET inline Bits* Vectors(char* line) { return reinterpret_cast<Bits*>(line); }
XENT_ROOF_TARGET inline const Bits* Vectors(const char* line) { return reinterpret_cast<const Bits*>(line); }

// Keeps the compiler from dropping a loop whose result nobody reads.
template <typename V>
XENT_ROOF_TARGET inline void Keep(const V& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

XENT_ROOF_TARGET inline void ReadLine(const char* from, size_t distance, Bits* sums) {
  if (distance != 0) __builtin_prefetch(from + distance);
  for (size_t v = 0; v < kLine / kBytes; ++v) sums[v] += Vectors(from)[v];
}

template <int kStreams, int kLines>
XENT_ROOF_TARGET void Read(const char* from, char*, size_t bytes, size_t distance) {
  constexpr size_t kStep = kLines * kLine;
  const size_t part = bytes / (kStreams * kStep) * kStep;
  Bits even[kLine / kBytes] = {};
  Bits odd[kLine / kBytes] = {};
  for (size_t i = 0; i < part; i += kStep) {
    for (size_t s = 0; s < kStreams; ++s) {
      for (size_t l = 0; l < kLines; ++l) {
        ReadLine(from + s * part + i + l * kLine, distance, (s + l) % 2 == 0 ? even : odd);
      }
    }
  }
  for (size_t i = kStreams * part; i < bytes; i += kLine) ReadLine(from + i, 0, even);
  for (size_t v = 0; v < kLine / kBytes; ++v) even[v] += odd[v];
  Keep(even);
}

XENT_ROOF_TARGET inline void CopyLine(const char* from, char* to, size_t distance) {
  if (distance != 0) __builtin_prefetch(from + distance);
  Bits values[kLine / kBytes];
  for (size_t v = 0; v < kLine / kBytes; ++v) values[v] = Vectors(from)[v];
  for (size_t v = 0; v < kLine / kBytes; ++v) Stream(Vectors(to) + v, values[v]);
}

template <int kStreams, int kLines>
XENT_ROOF_TARGET void Copy(const char* from, char* to, size_t bytes, size_t distance) {
  constexpr size_t kStep = kLines * kLine;
  const size_t part = bytes / (kStreams * kStep) * kStep;
  for (size_t i = 0; i < part; i += kStep) {
    for (size_t s = 0; s < kStreams; ++s) {
      for (size_t l = 0; l < kLines; ++l) {
        const size_t at = s * part + i + l * kLine;
        CopyLine(from + at, to + at, distance);
      }
    }
  }
  for (size_t i = kStreams * part; i < bytes; i += kLine) CopyLine(from + i, to + i, 0);
  Fence();
}

XENT_ROOF_TARGET inline void RewriteLine(char* line, size_t distance, Bits zero) {
  if (distance != 0) __builtin_prefetch(line + distance);
  for (size_t v = 0; v < kLine / kBytes; ++v) Vectors(line)[v] ^= zero;
}

template <int kStreams, int kLines>
XENT_ROOF_TARGET void InPlace(const char*, char* to, size_t bytes, size_t distance) {
  constexpr size_t kStep = kLines * kLine;
  const size_t part = bytes / (kStreams * kStep) * kStep;
  Bits zero = {};
  asm volatile("" : "+m"(zero));  // A zero that the compiler does not know.
  for (size_t i = 0; i < part; i += kStep) {
    for (size_t s = 0; s < kStreams; ++s) {
      for (size_t l = 0; l < kLines; ++l) RewriteLine(to + s * part + i + l * kLine, distance, zero);
    }
  }
  for (size_t i = kStreams * part; i < bytes; i += kLine) RewriteLine(to + i, 0, zero);
}

struct Single {
  using Scalar = float;
  using Float = F32;
  using Int = I32;
  static constexpr int kDegree = 6, kMantissaBits = 23, kBias = 127;
  static constexpr float kLn2High = 0.693145752f, kLn2Low = 1.42860677e-6f;
};

struct Double {
  using Scalar = double;
  using Float = F64;
  using Int = I64;
  static constexpr int kDegree = 11, kMantissaBits = 52, kBias = 1023;
  static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
};

template <typename P>
struct ExpAdd {
  using T = typename P::Scalar;
  using V = typename P::Float;
  using N = typename P::Int;
  static constexpr int kStep = 2;
  static constexpr size_t kLanes = kBytes / sizeof(T);

  XENT_ROOF_TARGET static void Once(const T* x, size_t count, const V* coefficients, V* sums) {
    const V magic = V{} + (T(1.5) * T(int64_t{1} << P::kMantissaBits) + T(P::kBias));
    const V log2e = V{} + T(1.4426950408889634), ln2_high = V{} - P::kLn2High, ln2_low = V{} - P::kLn2Low;
    for (size_t i = 0; i < count; i += kStep * kLanes) {
      V r[kStep], s[kStep], p[kStep];
      for (int k = 0; k < kStep; ++k) r[k] = *reinterpret_cast<const V*>(x + i + k * kLanes);
      for (int k = 0; k < kStep; ++k) s[k] = Fma(r[k], log2e, magic);
      for (int k = 0; k < kStep; ++k) p[k] = s[k] - magic;
      for (int k = 0; k < kStep; ++k) r[k] = Fma(p[k], ln2_high, r[k]);
      for (int k = 0; k < kStep; ++k) r[k] = Fma(p[k], ln2_low, r[k]);
      for (int k = 0; k < kStep; ++k) p[k] = coefficients[P::kDegree];
      for (int d = P::kDegree - 1; d >= 0; --d) {
        for (int k = 0; k < kStep; ++k) p[k] = Fma(p[k], r[k], coefficients[d]);
      }
      for (int k = 0; k < kStep; ++k) {
        sums[k] = Fma(p[k], reinterpret_cast<V>(reinterpret_cast<N>(s[k]) << P::kMantissaBits), sums[k]);
      }
    }
  }

  XENT_ROOF_TARGET static void Run(const T* x, size_t count, int repeats) {
    V coefficients[P::kDegree + 1];
    T factorial = 1;
    for (int d = 0; d <= P::kDegree; ++d) {
      factorial *= T(d == 0 ? 1 : d);
      coefficients[d] = V{} + T(1) / factorial;
    }
    V sums[kStep] = {};
    for (int i = 0; i < repeats; ++i) {
      Once(x, count, coefficients, sums);
      Keep(sums);
    }
  }
};

constexpr Loop kLoops[] = {
    {Traffic::kRead, 1, 1, Read<1, 1>},       {Traffic::kRead, 1, 4, Read<1, 4>},
    {Traffic::kRead, 2, 4, Read<2, 4>},       {Traffic::kRead, 4, 1, Read<4, 1>},
    {Traffic::kRead, 4, 4, Read<4, 4>},       {Traffic::kRead, 8, 1, Read<8, 1>},
    {Traffic::kCopy, 1, 1, Copy<1, 1>},       {Traffic::kCopy, 1, 4, Copy<1, 4>},
    {Traffic::kCopy, 1, 8, Copy<1, 8>},       {Traffic::kCopy, 2, 4, Copy<2, 4>},
    {Traffic::kCopy, 2, 8, Copy<2, 8>},       {Traffic::kCopy, 4, 8, Copy<4, 8>},
    {Traffic::kInPlace, 1, 1, InPlace<1, 1>}, {Traffic::kInPlace, 1, 4, InPlace<1, 4>},
    {Traffic::kInPlace, 2, 4, InPlace<2, 4>}, {Traffic::kInPlace, 4, 1, InPlace<4, 1>},
    {Traffic::kInPlace, 4, 4, InPlace<4, 4>}, {Traffic::kInPlace, 8, 2, InPlace<8, 2>},
};

constexpr LoopTable kTable = {static_cast<int>(kBytes * 8), kLoops, sizeof(kLoops) / sizeof(kLoops[0]),
                              ExpAdd<Single>::Run, ExpAdd<Double>::Run};

}  // namespace
}  // namespace xent_bench
