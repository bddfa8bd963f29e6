//===- EmulatedLaunch.h - one emitted kernel in the emulator ----------------===//
#ifndef PG_TEST_UNIT_CUDA_EMULATEDLAUNCH_H
#define PG_TEST_UNIT_CUDA_EMULATEDLAUNCH_H

#include "passes/cuda/CudaBackend.h"
#include "runtime/package/KernelAbi.h"
#include "test/emulator/Emulator.h"

#include <string>
#include <vector>

namespace pg::test {

/// Runs the stages of a kernel in order on the arguments that the runtime would
/// pass: buffers, scalars, batch, workspace. What went wrong, or "".
std::string launchEmulated(emulator::Kernels &kernels,
                           const cuda::EmittedKernel &kernel,
                           std::vector<void *> buffers,
                           std::vector<double> scalars, const rt::Batch &batch,
                           const emulator::Schedule &schedule);

} // namespace pg::test

#endif // PG_TEST_UNIT_CUDA_EMULATEDLAUNCH_H
