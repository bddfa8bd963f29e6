//===- Cubin.cpp - facts read from machine code without a disassembler ------===//
#include "passes/nvrtc/Cubin.h"

#include <cstring>
#include <elf.h>

namespace pg::nvrtc {
namespace {

constexpr uint16_t kMachineCuda = 190;
constexpr size_t kInstructionBytes = 16;
/// Attributes of .nv.info records with a {symbol, value} payload.
constexpr uint8_t kFormatPayload = 4, kAttributeFrame = 0x11, kAttributeRegisters = 0x2f;

rt::Status corrupt(const char *text) { return {rt::Code::Corrupt, std::string("cubin: ") + text}; }

template <typename T> bool load(std::string_view bytes, uint64_t at, T &value) {
  if (at > bytes.size() || sizeof value > bytes.size() - at)
    return false;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return true;
}

/// A name in a string table, or "" outside it.
std::string nameAt(std::string_view table, uint64_t at) {
  if (at >= table.size())
    return "";
  std::string_view rest = table.substr(at);
  return std::string(rest.substr(0, rest.find('\0')));
}

struct File {
  std::string_view bytes;
  std::vector<Elf64_Shdr> headers;
  std::vector<std::string> names;

  std::string_view section(size_t index) const {
    const Elf64_Shdr &header = headers[index];
    return header.sh_type == SHT_NOBITS ? std::string_view() : bytes.substr(header.sh_offset, header.sh_size);
  }
  const Elf64_Shdr *find(const std::string &name) const {
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] == name)
        return &headers[i];
    return nullptr;
  }
};

rt::StatusOr<File> readFile(std::string_view bytes) {
  Elf64_Ehdr header;
  if (!load(bytes, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != kMachineCuda)
    return corrupt("not a 64-bit CUDA ELF file");
  File file{bytes, {}, {}};
  for (size_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    if (header.e_shoff > bytes.size() || !load(bytes, header.e_shoff + i * sizeof section, section))
      return corrupt("the section table lies outside the file");
    if (section.sh_type != SHT_NOBITS &&
        (section.sh_offset > bytes.size() || section.sh_size > bytes.size() - section.sh_offset))
      return corrupt("a section lies outside the file");
    file.headers.push_back(section);
  }
  if (header.e_shstrndx >= file.headers.size())
    return corrupt("there is no section of names");
  std::string_view names = file.section(header.e_shstrndx);
  for (const Elf64_Shdr &section : file.headers)
    file.names.push_back(nameAt(names, section.sh_name));
  return file;
}

} // namespace

uint32_t CubinKernel::count(uint32_t opcode) const {
  auto found = opcodes.find(opcode);
  return found == opcodes.end() ? 0 : found->second;
}

bool CubinKernel::usesTensorCores() const { return count(kHmma) || count(kImma) || count(kHgmma) || count(kQgmma); }

bool CubinKernel::usesLocalMemory() const { return count(kLdl) || count(kStl); }

rt::StatusOr<std::vector<CubinKernel>> readCubin(std::string_view bytes) {
  auto file = readFile(bytes);
  if (!file)
    return file.status();
  std::map<std::string, CubinKernel> kernels;
  const std::string textPrefix = ".text.";
  for (size_t i = 0; i < file->headers.size(); ++i) {
    const std::string &name = file->names[i];
    if (name.compare(0, textPrefix.size(), textPrefix) != 0)
      continue;
    CubinKernel kernel;
    kernel.name = name.substr(textPrefix.size());
    std::string_view code = file->section(i);
    kernel.codeBytes = code.size();
    for (size_t at = 0; at + kInstructionBytes <= code.size(); at += kInstructionBytes) {
      uint64_t word = 0;
      std::memcpy(&word, code.data() + at, sizeof word);
      ++kernel.opcodes[uint32_t(word & 0x1ff)];
    }
    if (const Elf64_Shdr *shared = file->find(".nv.shared." + kernel.name))
      kernel.sharedBytes = shared->sh_size;
    if (const Elf64_Shdr *constants = file->find(".nv.constant0." + kernel.name))
      kernel.parameterBytes = constants->sh_size;
    kernels[kernel.name] = std::move(kernel);
  }

  // Symbol names, then the records that refer to symbols by number.
  std::vector<std::string> symbols;
  for (size_t i = 0; i < file->headers.size(); ++i) {
    if (file->headers[i].sh_type != SHT_SYMTAB)
      continue;
    size_t linked = file->headers[i].sh_link;
    if (linked >= file->headers.size())
      return corrupt("the symbol table has no names");
    std::string_view table = file->section(i), names = file->section(linked);
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= table.size(); at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      std::memcpy(&symbol, table.data() + at, sizeof symbol);
      symbols.push_back(nameAt(names, symbol.st_name));
    }
  }
  for (size_t i = 0; i < file->headers.size(); ++i) {
    if (file->names[i] != ".nv.info")
      continue;
    std::string_view info = file->section(i);
    for (size_t at = 0; at + 4 <= info.size();) {
      auto format = uint8_t(info[at]), attribute = uint8_t(info[at + 1]);
      uint16_t size = 0;
      std::memcpy(&size, info.data() + at + 2, sizeof size);
      at += 4;
      if (format != kFormatPayload)
        continue;
      uint32_t payload[2];
      if (size >= sizeof payload && load(info, at, payload) && payload[0] < symbols.size()) {
        auto found = kernels.find(symbols[payload[0]]);
        if (found != kernels.end() && attribute == kAttributeRegisters)
          found->second.registers = payload[1];
        if (found != kernels.end() && attribute == kAttributeFrame)
          found->second.frameBytes = payload[1];
      }
      at += size;
    }
  }
  std::vector<CubinKernel> list;
  for (auto &[name, kernel] : kernels)
    list.push_back(std::move(kernel));
  return list;
}

} // namespace pg::nvrtc
