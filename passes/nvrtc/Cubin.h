//===- Cubin.h - facts read from machine code without a disassembler --------===//
#ifndef PG_PASSES_NVRTC_CUBIN_H
#define PG_PASSES_NVRTC_CUBIN_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace pg::nvrtc {

/// One kernel of a cubin, from its ELF sections (.nv.info, .text.<kernel>,
/// .nv.shared.<kernel>, .nv.constant0.<kernel>).
struct CubinKernel {
  std::string name;
  uint32_t registers = 0;
  uint32_t frameBytes = 0;      ///< local memory of a thread
  uint64_t sharedBytes = 0;     ///< static, with the architecture's reserve
  uint64_t parameterBytes = 0;  ///< constant bank 0
  uint64_t codeBytes = 0;
  /// Instructions by opcode (bits 0-8 of the instruction word).
  std::map<uint32_t, uint32_t> opcodes;

  uint32_t count(uint32_t opcode) const;
  bool usesTensorCores() const;  ///< HMMA, IMMA, HGMMA, QGMMA
  bool usesLocalMemory() const;  ///< LDL or STL
};

/// Opcodes that tests and reports name, bits 0-8.
enum Opcode : uint32_t {
  kHmma = 0x03c, kImma = 0x037, kHgmma = 0x1f0, kQgmma = 0x1f3, kLdsm = 0x03b, kStsm = 0x044, kLdgsts = 0x1ae,
  kUtmaldg = 0x1b4, kUtmastg = 0x1b5, kLdg = 0x181, kStg = 0x186, kLds = 0x184, kLdl = 0x183, kStl = 0x187,
  kMufu = 0x108, kFfma = 0x023, kBar = 0x11d,
};

/// The kernels of a cubin, by name. Corrupt when the bytes are no 64-bit CUDA
/// ELF file or a table lies outside them.
rt::StatusOr<std::vector<CubinKernel>> readCubin(std::string_view bytes);

} // namespace pg::nvrtc

#endif // PG_PASSES_NVRTC_CUBIN_H
