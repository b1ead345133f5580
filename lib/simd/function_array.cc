// The functions of exp-functions-inl.h, log-inl.h and logistic-inl.h over arrays of every storage type, those of f32 by
// twofold-inl.h where that is for them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/simd/function_array.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lib/kernels.h"
#include "lib/simd/loops-inl.h"
#include "lib/simd/twofold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace xent {
namespace HWY_NAMESPACE {

template <class Op, class T>
void MapOf(const void* x, int64_t n, void* y, bool stream) {
  MapOut(static_cast<const T*>(x), n, Op(), static_cast<T*>(y), stream);
  if (stream) hwy::FlushStream();
}

struct MapRow {
  MapKernel of_dtype[4];
};

template <class Op>
constexpr MapRow MapsOf() {
  return {{MapOf<Op, float>, MapOf<Op, double>, MapOf<Op, BF16>, MapOf<Op, F16>}};
}

MapKernel ChooseMap(Function function, Dtype dtype) {
  static constexpr MapRow kMaps[] = {
      MapsOf<Fastest<Exp>>(),     MapsOf<Fastest<Log>>(),        MapsOf<Fastest<Log1p>>(),    MapsOf<Fastest<Expm1>>(),
      MapsOf<Fastest<Sigmoid>>(), MapsOf<Fastest<LogSigmoid>>(), MapsOf<Fastest<Softplus>>(), MapsOf<Fastest<Tanh>>()};
  return kMaps[static_cast<int>(function)].of_dtype[static_cast<int>(dtype)];
}

}  // namespace HWY_NAMESPACE
}  // namespace xent
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xent {

MapKernel MapKernelFor(int isa, Function function, Dtype dtype) {
  static constexpr decltype(&HWY_STATIC_DISPATCH(ChooseMap)) kTable[] = {HWY_CHOOSE_TARGET_LIST(ChooseMap),
                                                                         HWY_CHOOSE_FALLBACK(ChooseMap)};
  return kTable[isa](function, dtype);
}

}  // namespace xent
#endif  // HWY_ONCE
