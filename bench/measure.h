// Rounds in which a roof and the library take turns over one workload.
#ifndef XENT_BENCH_MEASURE_H_
#define XENT_BENCH_MEASURE_H_

#include "report.h"
#include "roofs.h"
#include "workload.h"

namespace xent_bench {

// A round is roof, library, roof, library, and a few hundred microseconds of bare exponentials. Every sample meets a
// copy of the data that has left the caches.
Result MeasureCold(Workload* workload, const Roofs& roofs, int rounds);

// A round is exponentials, library, exponentials, library, all over one buffer each.
Result MeasureWarm(Workload* workload, int rounds);

}  // namespace xent_bench

#endif  // XENT_BENCH_MEASURE_H_
