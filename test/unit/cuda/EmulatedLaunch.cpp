//===- EmulatedLaunch.cpp - one emitted kernel in the emulator --------------===//
#include "EmulatedLaunch.h"

namespace pg::test {

std::string launchEmulated(emulator::Kernels &kernels,
                           const cuda::EmittedKernel &kernel,
                           std::vector<void *> buffers,
                           std::vector<double> scalars, const rt::Batch &batch,
                           const emulator::Schedule &schedule) {
  // The layout of the prelude's Batch.
  struct View {
    long long n;
    const int *rowBegin, *rowEnd, *segmentBegin, *segmentEnd, *slot;
  } view{batch.numTokens,    batch.rowBegin,   batch.rowEnd,
         batch.segmentBegin, batch.segmentEnd, batch.slot};
  emulator::GuardedMemory workspace(kernel.workspaceFixed +
                                    kernel.workspacePerToken * batch.numTokens);
  void *space = workspace.data();
  std::vector<void *> params;
  for (void *&buffer : buffers)
    params.push_back(&buffer);
  for (double &scalar : scalars)
    params.push_back(&scalar);
  params.push_back(&view);
  params.push_back(&space);
  for (const cuda::Stage &stage : kernel.stages) {
    emulator::Launch launch;
    launch.blocks = stage.blocks.count(batch.numTokens);
    launch.threads = stage.threads;
    launch.sharedBytes = stage.sharedBytes;
    launch.params = params.data();
    std::string error = kernels.run(stage.symbol, launch, schedule);
    if (!error.empty())
      return stage.symbol + ": " + error;
  }
  return "";
}

} // namespace pg::test
