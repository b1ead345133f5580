// A function of every element of an array.
#ifndef XENT_LIB_FUNCTION_ARRAY_H_
#define XENT_LIB_FUNCTION_ARRAY_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// False: the caller's runner did not run every task exactly once.
bool MapArray(const MapTask& task, const Team& team);

}  // namespace xent

#endif  // XENT_LIB_FUNCTION_ARRAY_H_
