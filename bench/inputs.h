// Logits of every storage type, and labels, drawn the same way on every run.
#ifndef XENT_BENCH_INPUTS_H_
#define XENT_BENCH_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "shapes.h"
#include "xent/xent.h"

namespace xent_bench {

enum class Inputs {
  kNormal,     // 4 * N(0, 1): logits of a model in training
  kWide,       // 30 * N(0, 1): most exponentials of a row underflow against its largest
  kAscending,  // each row grows from -20 to 20: the worst order for a running maximum
  kConfident,  // N(0, 1), the label's logit 20 higher: losses near 1e-6
  kNegInf,     // kNormal, every third class masked with -inf (never the label)
  kNeg1e4,     // the same with -1e4, which halves hold too
};

struct Dtype {
  const char* name;
  xent_dtype value;
};
inline constexpr Dtype kDtypes[] = {{"f32", XENT_F32}, {"bf16", XENT_BF16}, {"f16", XENT_F16}, {"f64", XENT_F64}};

// False for a name that is not one.
bool ParseInputs(const std::string& name, Inputs* inputs);
bool ParseDtype(const std::string& name, Dtype* dtype);
const char* InputsName(Inputs inputs);

std::vector<int64_t> MakeLabels(const Shape& shape);

// Writes rows * classes logits, without gaps.
void FillLogits(const Shape& shape, xent_dtype dtype, Inputs inputs, const int64_t* labels, void* logits);

// Element i of an array of the given type.
double LoadAsDouble(const void* data, xent_dtype dtype, int64_t i);

}  // namespace xent_bench

#endif  // XENT_BENCH_INPUTS_H_
