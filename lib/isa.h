// Instruction sets: which are compiled in, which this machine runs, which one calls use. The choice is this library's
// own; other users of Highway in the process are not touched.
#ifndef XENT_LIB_ISA_H_
#define XENT_LIB_ISA_H_

#include <cstdint>
#include <string>

namespace xent {

struct Isa {
  const char* name;
  int64_t target;  // Highway's bit
  int slot;        // index into the dispatch tables of lib/simd
  bool supported;  // by this machine
};

// Compiled instruction sets, best first.
int IsaCount();
const Isa& IsaAt(int index);

// The one in use.
const Isa& IsaChosen();

enum class IsaCap { kDone, kUnknown, kUnsupported };

// Nothing better than `name` from now on; nullptr: no cap.
IsaCap CapIsa(const char* name);

}  // namespace xent

#endif  // XENT_LIB_ISA_H_
