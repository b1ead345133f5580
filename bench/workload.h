// What the rounds and tables know of a case to measure: a call that can be made on any copy of a ring, what it moves,
// and its name. softmax_workload.h and function_workload.h have the cases.
#ifndef XENT_BENCH_WORKLOAD_H_
#define XENT_BENCH_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "inputs.h"
#include "roofs.h"

namespace xent_bench {

class Workload {
 public:
  virtual ~Workload() = default;

  virtual const Dtype& dtype() const = 0;
  virtual int threads() const = 0;
  virtual int64_t elements() const = 0;
  virtual size_t slots() const = 0;

  // Bytes that a call cannot avoid to move.
  virtual double FloorBytes() const = 0;

  // Calls the library on copy `slot`. Throws if it fails.
  virtual void Call(size_t slot) = 0;

  // What a roof has to do to have moved as much as Call(slot).
  virtual RoofJob Job(size_t slot) const = 0;

  // Whether calls overwrite their input, and undoing that on the copies [begin, end). Not for timed regions.
  virtual bool OverwritesInput() const { return false; }
  virtual void Restore(size_t, size_t) {}

  // Compares one call with a reference in double: "" or what is wrong. A guard against timing a wrong answer, not a
  // test of accuracy.
  virtual std::string Check() = 0;

  // The first cells of a table's row (size, then mode or function), and the same as fields of a JSON object.
  virtual std::string Size() const = 0;
  virtual std::string What() const = 0;
  virtual std::string JsonFields() const = 0;
};

// "`what` is 1, should be 2".
inline std::string GotAndWanted(const std::string& what, double got, double want) {
  char numbers[80];
  std::snprintf(numbers, sizeof(numbers), " is %.9g, should be %.9g", got, want);
  return what + numbers;
}

}  // namespace xent_bench

#endif  // XENT_BENCH_WORKLOAD_H_
