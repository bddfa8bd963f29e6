//===- Package.h - the compiled package as plain structs -------------------===//
//
// The only contract between the compiler (which fills these) and the runtime
// (which executes them). Behaviour: read, write, nothing else.
//
// File: 8-byte magic "PGXPKG\r\n", u32 version, u32 section count, u64 file
// length, then one record per section {char name[24], u64 offset, u64 length,
// u8 sha256[32]}, then the SHA-256 of all header bytes before it; sections
// 64-byte aligned. Little-endian. Sections: "manifest" (JSON of the structs
// below), "spec" (resolved model and recipe text), "ir" (canonical pg IR of
// the entries before fusion: the program's identity), "code.cpu" (ELF shared
// object). A reader checks every number against the file size before it
// allocates, and every hash before it uses a section.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_PACKAGE_PACKAGE_H
#define PG_RUNTIME_PACKAGE_PACKAGE_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pg::rt {

/// Bumped on every change of layout or kernel ABI; another version is answered
/// by "recompile" (exit 5).
inline constexpr uint32_t kPackageVersion = 1;

enum class DType : uint8_t { F32, F64, BF16, I32, I1 };
/// Bytes of one element.
int64_t dtypeBytes(DType dtype);
/// Safetensors spelling ("F32", ...).
const char *dtypeName(DType dtype);

/// A runtime initialiser: kind names one of the closed set in
/// runtime/train/Initialise.h, numbers are its arguments.
struct InitSpec {
  std::string kind = "zeros";
  std::map<std::string, double> numbers;
};

struct Parameter {
  std::string name;            ///< participants' state_dict name
  DType dtype = DType::F32;
  std::vector<int64_t> shape;  ///< empty for a scalar
  InitSpec init;
  std::string group;           ///< optimizer group label
  std::string quant;           ///< quantisation group label, "" = passed through
  std::string location;        ///< YAML file:line:column
};

struct State {
  std::string name;            ///< "grad.<parameter>", "adam_m.<parameter>", ...
  std::string role;            ///< "gradient", "optimizer", "ema"
  std::string parameter;       ///< parameter it belongs to, or ""
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  double init = 0.0;
};

/// Where a kernel argument lives. Sizes are at N tokens:
/// bytes(N) = bytesPerToken * N + fixedBytes.
struct BufferRef {
  enum class Kind : uint8_t { Arena, Parameter, State, Input, Scalar, Output };
  Kind kind = Kind::Arena;
  uint32_t index = 0;   ///< into parameters, states, Entry::inputs/scalars/outputs
  uint64_t offset = 0;  ///< Arena: byte offset, planned at maxTokens
};

/// Work items of a launch at N tokens:
///   count(N) = (tokensPerItem > 0 ? ceil(N / tokensPerItem) : 1) * multiplier.
/// Threads receive [begin, end) cut at multiples of grain.
struct WorkItems {
  int64_t tokensPerItem = 0;
  int64_t multiplier = 1;
  int64_t grain = 1;
};

struct Launch {
  uint32_t kernel = 0;              ///< into Package::kernels
  std::vector<BufferRef> buffers;   ///< order of KernelFn::buffers
  std::vector<double> scalars;
  WorkItems items;
};

/// A named tensor an entry takes or gives.
struct Port {
  std::string name;
  DType dtype = DType::I32;
  bool perToken = true;             ///< leading dimension is N
  std::vector<int64_t> shape;       ///< without the token axis
  BufferRef buffer;                 ///< Output ports only: where the value lies
};

/// A program: runs its launches in order, each after the one before has ended.
struct Entry {
  std::string name;                 ///< "score@looped", "accumulate@plain", "apply"
  std::string role;                 ///< "score", "accumulate", "logits", "apply"
  std::string phase;                ///< "" when there is one program for all
  int64_t maxTokens = 0;            ///< Nmax the arena was planned for; 0 = no token axis
  uint64_t arenaBytes = 0;
  std::vector<Port> inputs;         ///< "tokens", "targets", "position", "rows"
  std::vector<std::string> scalars; ///< "lr.matrix", "step", "loss_scale": one f64 slot each,
                                    ///< stored as the policy's float type
  std::vector<Port> outputs;        ///< "nll" [N], "logits" [M, V]
  std::vector<Launch> launches;
};

struct Kernel {
  std::string symbol;               ///< name in the shared object
  uint64_t scratchBytes = 0;        ///< per thread
  std::string summary;              ///< ops fused, for reports
  std::string category;             ///< "matmul", "attention", "row", ...: for the time shares
  double flopsPerToken = 0, bytesPerToken = 0; ///< of one launch, 0 for static work
  double flopsFixed = 0, bytesFixed = 0;
};

/// One code section.
struct CodeTarget {
  std::string target;               ///< "cpu"
  std::string cpu;                  ///< LLVM CPU name, "znver5"
  std::string level;                ///< "x86-64-v4", "x86-64-v3", "x86-64-v2"
  std::vector<std::string> features;///< /proc/cpuinfo flags needed at load
};

struct Phase {
  std::string name;
  double startFraction = 0;         ///< of the training budget at which it begins
};

/// Numbers of the recipe that `pgrun --set` may change without recompiling,
/// flattened: "schedule.warmdown_fraction" -> value.
struct RecipeValue {
  enum class Kind : uint8_t { Int, Float, Bool, String } kind = Kind::Float;
  int64_t i = 0;
  double f = 0;
  bool b = false;
  std::string s;
  std::string location;             ///< YAML origin
};

struct Package {
  std::string model;                ///< model name
  std::string compiler;             ///< version text of pgc
  std::string programHash;          ///< SHA-256 hex of "ir" + structural recipe part
  std::string precision;            ///< "f32" or "f64"
  int64_t vocabulary = 0;
  std::vector<Parameter> parameters;
  std::vector<State> states;
  std::vector<Phase> phases;
  std::vector<Entry> entries;
  std::vector<Kernel> kernels;
  std::vector<CodeTarget> targets;
  std::map<std::string, RecipeValue> recipe;
  std::string spec;                 ///< section text
  std::string ir;                   ///< section text
  std::string codeCpu;              ///< section bytes (ELF)

  const Entry *findEntry(const std::string &name) const;
};

/// Serialises; the same package gives the same bytes.
std::string serialise(const Package &package);
/// Parses and validates; hostile bytes give Code::Corrupt with a reason.
StatusOr<Package> parsePackage(const std::string &bytes);
/// File variants: atomic write; errors name the file.
Status writePackage(const Package &package, const std::string &path);
StatusOr<Package> readPackage(const std::string &path);

} // namespace pg::rt

#endif // PG_RUNTIME_PACKAGE_PACKAGE_H
