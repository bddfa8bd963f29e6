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
// object), "code.cuda.source" (prelude and kernels, readable) and one
// "code.cuda.<arch>" per architecture (its modules, one after the other). A
// reader checks every number against the file size before it allocates, and
// every hash before it uses a section.
//
//===----------------------------------------------------------------------===//
#ifndef PG_RUNTIME_PACKAGE_PACKAGE_H
#define PG_RUNTIME_PACKAGE_PACKAGE_H

#include "runtime/support/Status.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pg::rt {

/// Bumped on every change of layout or kernel ABI; another version is answered
/// by "recompile" (exit 5).
inline constexpr uint32_t kPackageVersion = 7;

/// Keys an attending token is taken to have where no batch is known: the mean of rows of 1,024.
inline constexpr int64_t kTypicalKeys = 512;

enum class DType : uint8_t { F32, F64, BF16, I32, I1, I8 };
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
  int64_t bits = 0;            ///< of a code, where the elements are codes (I8)
  bool isOptional = false;     ///< keeps its initial value when a weights file lacks it
};

struct State {
  std::string name;            ///< "grad.<parameter>", "adam_m.<parameter>", ...
  /// "gradient", "optimizer", "ema", "hessian" (second moment of the inputs of
  /// the parameter); "adapter" (leading dimension the slots),
  /// "adapter_gradient", "adapter_optimizer"
  std::string role;
  std::string parameter;       ///< parameter it belongs to, or ""
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  double init = 0.0;           ///< initial value of every element, unless
  bool fromParameter = false;  ///< it starts as a copy of its parameter
  InitSpec draw = {"", {}};    ///< what an adapter is drawn from; kind "" = its init
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
  bool wantsRuns = false; ///< a long run for each thread: an item costs less beside its neighbours

  int64_t count(int64_t tokens) const {
    // No sum that could overflow: tokensPerItem is any positive number.
    return (tokensPerItem > 0 ? tokens / tokensPerItem + (tokens % tokensPerItem != 0) : 1) * multiplier;
  }
  bool operator==(const WorkItems &) const = default;
};

/// A value that a launch leaves in one of its buffers: count(N) elements.
struct Written {
  uint32_t buffer = 0;              ///< into Launch::buffers
  DType dtype = DType::F32;
  int64_t tokensPerRow = 0;         ///< rows(N) = tokensPerRow > 0 ? ceil(N / tokensPerRow) : 1
  int64_t rowElements = 1;

  int64_t count(int64_t tokens) const { return WorkItems{tokensPerRow, rowElements, 1}.count(tokens); }
};

struct Launch {
  uint32_t kernel = 0;              ///< into Package::kernels
  std::vector<BufferRef> buffers;   ///< order of KernelFn::buffers
  std::vector<double> scalars;
  WorkItems items;
  std::optional<WorkItems> versionItems; ///< of the kernel's second version (KernelAbi.h), where they differ
  std::vector<Written> writes;      ///< its results and what it adds to or updates
  std::string location;             ///< YAML file:line:column, "" when unknown
};

/// A named tensor an entry takes or gives.
struct Port {
  std::string name;
  DType dtype = DType::I32;
  bool perToken = true;             ///< leading dimension is N
  std::vector<int64_t> shape;       ///< without the token axis
  BufferRef buffer;                 ///< Output ports only: where the value lies
};

/// A value of the memory plan, for messages about memory.
struct PlannedValue {
  uint64_t bytes = 0;               ///< at maxTokens
  std::string kernel;               ///< that makes it
  std::string location;             ///< YAML file:line:column, "" when unknown
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
  std::vector<PlannedValue> largest; ///< of the arena, largest first, a few
};

struct Kernel {
  std::string symbol;               ///< name in the shared object
  uint64_t scratchBytes = 0;        ///< per thread
  std::string summary;              ///< ops fused, for reports
  std::string category;             ///< "matmul", "attention", "row", ...: for the time shares
  bool multipliesPairs = false;     ///< of bf16 numbers, on a CPU with instructions for it (usesBf16Dot)
  double flopsPerToken = 0, bytesPerToken = 0; ///< of one launch, 0 for static work
  double flopsFixed = 0, bytesFixed = 0;
  double flopsPerKey = 0;           ///< beside flopsPerToken, for every key a token attends to
  int64_t keyLimit = 0;             ///< most keys of a token, 0 = all of its segment up to itself

  /// FLOPs of a launch over `tokens` tokens that attend to `keys` keys in all.
  double flopsAt(double tokens, double keys) const { return flopsFixed + flopsPerToken * tokens + flopsPerKey * keys; }
  /// The same with kTypicalKeys keys for a token.
  double typicalFlops(double tokens) const {
    int64_t keys = keyLimit > 0 && keyLimit < kTypicalKeys ? keyLimit : kTypicalKeys;
    return flopsAt(tokens, tokens * double(keys));
  }
};

/// One code section.
struct CodeTarget {
  std::string target;               ///< "cpu" or "cuda"
  std::string cpu;                  ///< LLVM CPU name, "znver5"; of cuda the compiler, "NVRTC 13.0"
  std::string level;                ///< "x86-64-v4", "x86-64-v3", "x86-64-v2"; of cuda "sm_80,sm_90a"
  std::vector<std::string> features;///< /proc/cpuinfo flags needed at load
};

/// One __global__ function. The stages of a kernel run in order with the same
/// arguments: every buffer as a pointer, every scalar as a double, the Batch by
/// value, the workspace as a pointer (CudaCode.h packs them).
struct CudaStage {
  std::string symbol;
  int64_t threads = 0;              ///< of a block: a multiple of 32, at most 1024
  uint64_t sharedBytes = 0;         ///< of the one dynamic arena
  WorkItems blocks;                 ///< gridDim.x = count(N); grain is not used
};

/// A kernel that is C = op(A) op(B), or adds it to C, and nothing else: a library
/// may stand in for it. Matrices lie row by row; op transposes.
struct CudaProduct {
  uint32_t a = 0, b = 0, c = 0;     ///< into Launch::buffers
  bool transposeA = false, transposeB = false;
  bool accumulates = false;
  DType operands = DType::BF16, result = DType::F32;
  int64_t rows = 0, columns = 0, depth = 0; ///< of C, and contracted; 0 = the tokens

  bool operator==(const CudaProduct &) const = default;
};

/// The device form of Package::kernels[i].
struct CudaKernel {
  std::vector<CudaStage> stages;
  /// Device memory that every launch may scribble on: fixed + N * perToken bytes.
  uint64_t workspaceFixed = 0, workspacePerToken = 0;
  uint64_t sourceBytes = 0;         ///< length of its text in CudaCode::source
  /// Bytes of every buffer of a launch, in order; empty when one is per token.
  /// Launches of such kernels that share no bytes may run side by side.
  std::vector<uint64_t> bufferBytes;
  std::optional<CudaProduct> product;
};

/// Code for one architecture: machine code of a GPU ("sm_80", "sm_90a"), or PTX that the driver of any GPU of at least
/// that capability compiles ("compute_80"; isPtx in CudaCode.h).
struct CudaImage {
  std::string arch;
  /// One module per CudaCode::kernels, then the module of the support kernels: a cubin, or the text of the PTX.
  std::vector<std::string> modules;
};

/// Everything CUDA. Empty kernels = the package holds no CUDA code.
struct CudaCode {
  std::string prelude;              ///< what #include <pg_prelude.cuh> gives
  std::string source;               ///< text of all kernels in order, then of the support kernels
  std::vector<CudaImage> images;
  std::vector<CudaKernel> kernels;  ///< parallel to Package::kernels
  /// Functions the runtime itself launches (runtime/device/cuda/Support.h).
  std::vector<CudaStage> support;
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
  std::string precision;            ///< a policy (runtime/package/Precision.h)
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
  CudaCode cuda;

  const Entry *findEntry(const std::string &name) const;
  bool hasCpuCode() const { return !codeCpu.empty(); }
  bool hasCudaCode() const { return !cuda.kernels.empty(); }
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
