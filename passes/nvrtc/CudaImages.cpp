//===- CudaImages.cpp - the CUDA part of a package ---------------------------===//
#include "passes/nvrtc/CudaImages.h"

#include <cctype>

namespace pg::nvrtc {
namespace {

#include "passes/nvrtc/Support.inc"

/// As pg_support.cu says.
constexpr int64_t kSupportThreads = 256;

} // namespace

std::string supportText() { return kSupportText; }

rt::StatusOr<CudaImages> buildImages(const CudaSource &source, const CompileOptions &options) {
  CudaImages images;
  rt::CudaCode &code = images.code;
  code.prelude = source.prelude;
  std::vector<Source> units;
  auto unit = [&](const std::string &name, const std::string &text) {
    units.push_back({name, source.include + text, source.headerName, source.prelude});
    code.source += text;
  };
  for (const KernelText &kernel : source.kernels) {
    unit(kernel.symbol, kernel.source);
    code.kernels.push_back({kernel.stages, kernel.workspaceFixed, kernel.workspacePerToken, kernel.source.size(), {},
                            kernel.product});
  }
  unit("support", supportText());
  // The grid of a support kernel depends on its data (CudaDevice.cpp).
  for (const char *symbol : {"pg_square_lanes", "pg_sum_lanes", "pg_scale", "pg_add"})
    code.support.push_back({symbol, kSupportThreads, 0, {}});
  if (options.archs.empty())
    return images;

  auto library = Library::get();
  if (!library)
    return library.status();
  images.compiler = "NVRTC " + (*library)->version();
  auto compiled = compileKernels(**library, units, options);
  if (!compiled)
    return compiled.status();
  images.compiled = std::move(*compiled);
  for (size_t a = 0; a < options.archs.size(); ++a) {
    rt::CudaImage image{options.archs[a], {}};
    for (CompiledKernel &kernel : images.compiled[a]) {
      image.modules.push_back(kernel.output.cubin);
      images.cached += kernel.fromCache;
    }
    code.images.push_back(std::move(image));
  }
  // PTX of the oldest architecture without features of its own: what every newer
  // GPU's driver can compile.
  const std::string *oldest = nullptr;
  for (const std::string &arch : options.archs)
    if (std::isdigit(static_cast<unsigned char>(arch.back())) &&
        (!oldest || std::stoi(arch.substr(3)) < std::stoi(oldest->substr(3))))
      oldest = &arch;
  if (oldest) {
    rt::CudaImage image{"compute_" + oldest->substr(3), {}};
    for (const CompiledKernel &kernel : images.compiled[size_t(oldest - options.archs.data())])
      image.modules.push_back(kernel.output.ptx);
    code.images.push_back(std::move(image));
  }
  return images;
}

} // namespace pg::nvrtc
