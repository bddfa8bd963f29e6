//===- BlockBuilder.h - blocks as shared functions -------------------------===//
//
// A block used with the same static arguments and operand types is one private
// function, however many layers use it. Parameters are operands of that
// function: a call site passes its own. Names are relative inside a block and
// become full names level by level.
//
//===----------------------------------------------------------------------===//
#ifndef PG_FRONTEND_BLOCKBUILDER_H
#define PG_FRONTEND_BLOCKBUILDER_H

#include "frontend/Interpreter.h"
#include "frontend/Resolve.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pg::frontend {

/// A parameter as some scope knows it.
struct ParamDecl {
  std::string name; ///< relative to the scope that holds it
  mlir::RankedTensorType type;
  mlir::DictionaryAttr init;
  std::string group;
  std::string quant;
  SpecPos pos;
  /// Uses it went through, down to the block that declares it: two different
  /// sites of one name are an error.
  std::string site;
};

/// Parameters of a scope in declaration order, and how it reads them.
class ParamOwner {
public:
  explicit ParamOwner(Reporter &reporter) : reporter(reporter) {}
  virtual ~ParamOwner() = default;

  /// Adds a parameter; `rank` orders groups (own parameters 0, then the uses).
  /// Declaring the same one again is fine.
  bool declare(ParamDecl decl, int rank, SpecPos pos);
  /// The value of a declared parameter at the present point.
  virtual mlir::Value read(const std::string &name, SpecPos pos) = 0;
  std::vector<ParamDecl> ordered() const;
  const ParamDecl *find(const std::string &name) const;

private:
  struct Held {
    ParamDecl decl;
    int rank;
    size_t sequence;
  };
  Reporter &reporter;
  std::map<std::string, Held> held;
};

/// A block file or private block, parsed.
struct BlockSpec {
  std::string name;
  const SpecNode *node = nullptr;
  Block body;
  bool isSound = true;
};

/// The function made for one instantiation.
struct BlockFunction {
  mlir::func::FuncOp func;          ///< null when nothing is called
  std::vector<ParamDecl> params;    ///< all of the block and what it uses
  std::vector<std::string> operands;///< names of those passed, in order
  bool isSound = false;
};

using StaticArgs = std::map<std::string, Value>;

/// Everything shared by all blocks of a model.
class BlockLibrary {
public:
  BlockLibrary(Project &project, const MergedFile &model, mlir::ModuleOp module,
               Reporter &reporter);

  const BlockSpec *find(const std::string &name, SpecPos pos);
  bool exists(const std::string &name);

  /// The function for these arguments and operand types. Without types
  /// (`operands` null) only parameters are declared, with the model's sizes.
  const BlockFunction &instantiate(const BlockSpec &spec,
                                   const StaticArgs &args,
                                   const std::vector<mlir::RankedTensorType> *operands,
                                   SpecPos pos);

  /// Names visible everywhere: element types, ranges, T, the model's sizes.
  Scope &globals() { return globalScope; }
  std::map<std::string, int64_t> &sizes() { return sizeNames; }
  Reporter &getReporter() { return reporter; }
  /// Blocks that came from files, for the spec text.
  const std::map<std::string, BlockSpec> &used() const { return specs; }

private:
  void build(const BlockSpec &spec, const StaticArgs &args,
             const std::vector<mlir::RankedTensorType> *operands, SpecPos pos,
             BlockFunction &result);

  Project &project;
  const MergedFile &model;
  mlir::ModuleOp module;
  Reporter &reporter;
  Scope globalScope;
  std::map<std::string, int64_t> sizeNames;
  std::map<std::string, BlockSpec> specs;
  std::map<std::string, BlockFunction> functions;
  std::map<std::string, int> counters;
  std::vector<std::string> open; ///< blocks being instantiated, outermost first
};

/// A use of a block in a scope: `uses:` of a block or model, or one layer.
class BlockUse : public Callable {
public:
  BlockUse(BlockLibrary &library, ParamOwner &owner, int rank)
      : library(library), owner(owner), rank(rank) {}

  Value call(const std::vector<Argument> &arguments, SpecPos pos,
             TensorBuilder &tensors) const override;
  /// Declares the parameters of a use that no body called.
  void declareUncalled() const;

  const BlockSpec *spec = nullptr;
  std::string path;        ///< prefix of parameter names
  StaticArgs args;
  const SpecNode *names = nullptr;
  SpecPos pos;

private:
  std::string ownerName(const std::string &relative) const;
  bool declareAll(const BlockFunction &function, SpecPos pos) const;

  BlockLibrary &library;
  ParamOwner &owner;
  int rank;
  mutable bool wasCalled = false;
};

/// Evaluates the declarations that blocks and models share; every fault is
/// reported, and the names concerned become poison.
/// `params:` into `owner` (rank 0) and `scope`; names prefixed by nothing.
void declareParams(const SpecNode *params, Scope &scope, ParamOwner &owner,
                   Reporter &reporter);
/// `uses:` into `scope`; the uses are appended to `made`.
void declareUses(const SpecNode *uses, Scope &scope, BlockLibrary &library,
                 ParamOwner &owner, int firstRank,
                 std::vector<std::unique_ptr<BlockUse>> &made);
/// `let:` into `scope`.
void declareLets(const SpecNode *lets, Scope &scope, Reporter &reporter);
/// Values of an `args:` map; a bare name of a block is a string.
StaticArgs evaluateArgs(const SpecNode *args, Scope &scope,
                        BlockLibrary &library);
/// The block named by `node`, directly or through an argument in `scope`.
const BlockSpec *resolveBlock(const SpecNode &node, Scope &scope,
                              BlockLibrary &library);
/// True when `node` names a block through an argument or a static value.
bool isChosen(const SpecNode &node, const Scope &scope);
/// Drops arguments the block does not have: those of a place where the block is
/// chosen are meant for all candidates. One that looks like a misspelling of an
/// argument the block has and was not given is reported.
void keepKnownArgs(StaticArgs &args, const SpecNode *written,
                   const BlockSpec &spec, Reporter &reporter);
/// Reports arguments the block does not have; drops them.
void checkArgs(StaticArgs &args, const SpecNode *written, const BlockSpec &spec,
               Reporter &reporter);
/// Evaluates a `when:` key; true when there is none.
bool isPresent(const SpecNode &node, Scope &scope, Reporter &reporter);

} // namespace pg::frontend

#endif // PG_FRONTEND_BLOCKBUILDER_H
