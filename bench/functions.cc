// Functions of arrays, in cache (4096 elements, the same again and again, one thread) and from memory. Names are
//   functions/FUNCTION/DTYPE/ISA/n:N/threads:T
#include <memory>
#include <set>
#include <string>

#include "benchmarks.h"
#include "function_workload.h"
#include "machine.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

constexpr int64_t kInCache = 4096;
constexpr int64_t kFromMemory = 1 << 24;

void RegisterCase(const FunctionCase& c, const std::string& isa) {
  const std::string name = std::string("functions/") + xent_function_name(c.function) + "/" + c.dtype.name + "/" + isa +
                           "/n:" + std::to_string(c.elements) + "/threads:" + std::to_string(c.threads);
  Register(name, isa, [c] { return std::make_unique<FunctionWorkload>(c); });
}

void RegisterFunction(xent_function function, const Dtype& dtype, const std::string& isa) {
  RegisterCase({function, dtype, kInCache, 1, false, 0}, isa);
  const size_t footprint = 4 * LastLevelCacheBytes();
  for (int threads : std::set<int>{1, CpuCount()}) {
    RegisterCase({function, dtype, kFromMemory, threads, false, footprint}, isa);
  }
}

}  // namespace

void RegisterFunctions() {
  for (xent_function function = 1; xent_function_name(function) != nullptr; ++function) {
    for (const Dtype& dtype : kDtypes) {
      for (int32_t i = 0; i < xent_isa_count(); ++i) {
        if (xent_isa_supported(i) == 1) RegisterFunction(function, dtype, xent_isa_name(i));
      }
    }
  }
}

}  // namespace xent_bench
