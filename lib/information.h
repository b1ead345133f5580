// ROOM 2, information measures: rows widened to f64 piece by piece, their sums, their gradients.
#ifndef XENT_LIB_INFORMATION_H_
#define XENT_LIB_INFORMATION_H_

#include "lib/parallel.h"
#include "lib/task.h"

namespace xent {

// Computes what the task's outputs ask for. False: the caller's runner failed.
bool InformationOfRows(const InformationTask& task, const Team& team);

// XENT_OK, XENT_RUNNER_FAILED, or XENT_OUT_OF_MEMORY for what is known of each sample.
xent_status InformationOfEnsemble(const EnsembleTask& task, const Team& team);

// False: there is no memory for the sums of the columns.
bool InformationOfTable(const JointTask& task);

}  // namespace xent

#endif  // XENT_LIB_INFORMATION_H_
