// Softmax cross-entropy, cold. Names are
//   softmax/{loss,gradient,gradient_in_place}/DTYPE/ISA/rows:R/classes:K/threads:T
#include <memory>
#include <set>
#include <string>

#include "benchmarks.h"
#include "machine.h"
#include "softmax_workload.h"
#include "xent/xent.h"

namespace xent_bench {
namespace {

void RegisterCase(const SoftmaxCase& c, const std::string& isa) {
  const std::string name = std::string("softmax/") + ModeName(c.mode) + "/" + c.dtype.name + "/" + isa +
                           "/rows:" + std::to_string(c.shape.rows) + "/classes:" + std::to_string(c.shape.classes) +
                           "/threads:" + std::to_string(c.threads);
  Register(name, isa, [c] { return std::make_unique<SoftmaxWorkload>(c); });
}

}  // namespace

void RegisterSoftmax() {
  const std::set<int> thread_counts = {1, CpuCount()};
  const size_t footprint = 4 * LastLevelCacheBytes();
  for (Mode mode : kModes) {
    for (const Dtype& dtype : kDtypes) {
      for (int32_t i = 0; i < xent_isa_count(); ++i) {
        if (xent_isa_supported(i) == 0) continue;
        for (const Shape& shape : kShapes) {
          for (int threads : thread_counts) {
            RegisterCase({kVariants, shape, dtype, mode, Inputs::kNormal, threads, false, footprint}, xent_isa_name(i));
          }
        }
      }
    }
  }
}

}  // namespace xent_bench
