//===- EmulatePackage.cpp - pg-emulate: host code in the place of cubins ----------===//
//
// pg-emulate IN.pgx OUT.pgx compiles the package's CUDA text with the host
// compiler against the emulator's half of the prelude and puts the result where
// the cubins of sm_90a would be. With the fake driver such a package runs through
// the real device code on a machine without a GPU.
//
//===----------------------------------------------------------------------===//
#include "test/emulator/Emulator.h"
#include "runtime/package/Package.h"
#include "runtime/support/File.h"

#include <cstdio>

using namespace pg;

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: pg-emulate IN.pgx OUT.pgx\n");
    return 2;
  }
  auto fail = [](const rt::Status &status) {
    std::fprintf(stderr, "pg-emulate: %s\n", status.message().c_str());
    return int(status.code());
  };
  auto package = rt::readPackage(argv[1]);
  if (!package)
    return fail(package.status());
  if (!package->hasCudaCode())
    return fail({rt::Code::Invalid, "the package holds no CUDA text; compile it with --target cuda:source"});
  rt::CudaCode &code = package->cuda;
  std::vector<std::string> symbols;
  for (const rt::CudaKernel &kernel : code.kernels)
    for (const rt::CudaStage &stage : kernel.stages)
      symbols.push_back(stage.symbol);
  for (const rt::CudaStage &stage : code.support)
    symbols.push_back(stage.symbol);
  std::string library = std::string(argv[2]) + ".so";
  std::string problem = emulator::compileKernels("#include <pg_prelude.cuh>\n" + code.source, symbols, library);
  if (!problem.empty())
    return fail({rt::Code::Internal, problem});
  auto bytes = rt::readFile(library);
  std::remove(library.c_str());
  if (!bytes)
    return fail(bytes.status());
  // All kernels are in one library, which every module may be.
  code.images = {{"sm_90a", std::vector<std::string>(code.kernels.size() + 1, *bytes)}};
  rt::Status written = rt::writePackage(*package, argv[2]);
  return written ? 0 : fail(written);
}
