//===- RecipeSchema.cpp - keys of recipe files -----------------------------===//
//
// A new key is a line here: its default and range reach the package, the JSON
// Schema and `--set` without other changes.
//
//===----------------------------------------------------------------------===//
#include "frontend/Schema.h"
#include "runtime/package/Precision.h"

using namespace pg::frontend;
using namespace pg::frontend::schema;

static Schema makeData() {
  return object(
      "token shards",
      {optional("train", text("file name pattern of the training shards"),
                "fineweb_train_*.bin"),
       optional("validation", text("file name pattern of the validation shards"),
                "fineweb_val_*.bin"),
       optional("bos_id", integer("token that begins a document", 0, 65535),
                "1"),
       optional("check",
                text("what is read of the training shards before the run: "
                     "'tokens' all of them, 'headers' only their sizes (tokens "
                     "are then checked when a shard is opened)",
                     {"tokens", "headers"}),
                "tokens"),
       optional("allow_gaps", boolean("accept numbered shards with a number "
                                      "missing"),
                "false")});
}

static Schema makePrecision() {
  std::vector<std::string> names;
  std::string doc = "precision policy";
  for (const pg::rt::PrecisionPolicy &policy : pg::rt::precisionPolicies()) {
    doc += (names.empty() ? ": " : "; ") + policy.name + " " + policy.summary;
    names.push_back(policy.name);
  }
  return text(doc, names);
}

static Schema makeBatch() {
  return object(
      "what one step reads",
      {optional("step_tokens",
                integer("tokens of one optimizer step; a multiple of "
                        "logical_ranks * rank_tokens; default: that product",
                        1)),
       optional("logical_ranks",
                integer("shares of a step that are read and summed in a fixed "
                        "order, whatever number of processes runs them", 1,
                        1024),
                "1"),
       optional("rank_tokens",
                integer("tokens a logical rank reads in one piece; a multiple "
                        "of micro_tokens; 0 = micro_tokens", 0),
                "0"),
       optional("micro_tokens", integer("tokens of one accumulate call; memory "
                                        "is planned for it", 1),
                "4096"),
       optional("row_length", integer("tokens of one row", 1), "1024"),
       optional("packing", text("'documents' cuts segments at document starts, "
                                "'stream' makes every row one segment",
                                {"documents", "stream"}),
                "documents"),
       optional("max_segment", integer("longest attention segment; 0 = the row",
                                       0), "0")});
}

static Schema makeSchedule() {
  Schema restored = object(
      "steps whose effect is undone before the run",
      {optional("steps", integer("steps of every phase; 0 = none", 0), "0"),
       optional("keep_states",
                text("names of optimizer states that are not undone, * and ? "
                     "allowed, separated by commas"))});
  return object(
      "length and learning rate",
      {optional("steps", integer("optimizer steps; 0 = no limit", 0), "1000"),
       optional("max_tokens", integer("trained tokens that end the run; 0 = no "
                                      "limit", 0), "0"),
       optional("max_seconds", number("seconds of training that end the run; 0 "
                                      "= no limit", 0, 1e9), "0.0"),
       optional("measure",
                text("what phases and learning rate are measured by: 'widest' "
                     "is the limit that is nearest",
                     {"widest", "steps", "tokens", "seconds"}),
                "widest"),
       optional("warmup_steps", integer("steps of linear warm-up", 0), "0"),
       optional("warmdown_fraction", number("fraction of the budget over which "
                                            "the learning rate falls", 0, 1),
                "0.0"),
       optional("warmdown_steps",
                integer("the same in steps, instead of the fraction; with a "
                        "clock, as many as fit at the mean pace", 0), "0"),
       optional("warmdown_shape", text("how it falls", {"linear", "cosine"}),
                "linear"),
       optional("min_lr", number("floor of the learning rate multiplier", 0, 1),
                "0.0"),
       optional("restored_warmup", restored)});
}

/// The value of a module's argument: constant, or changing over the run.
static Schema makeArgs() {
  Schema value = exprOr(
      "a value, or a straight line over the first steps, constant afterwards",
      {required("from", number("value at the first step", -1e30, 1e30)),
       required("to", number("value from the end of the line on", -1e30, 1e30)),
       required("over_steps", integer("steps the line takes", 1))});
  return map("arguments of the module", value);
}

static Schema makeOptimizerGroups() {
  Schema group = object(
      "how the parameters of one group are updated; every parameter belongs to "
      "exactly one",
      {required("module", name("optimizer module, models/optim/<name>.yaml")),
       required("lr", number("learning rate", 0, 1e6)),
       optional("args", makeArgs()),
       optional("labels", list("group labels of its parameters; default: the "
                               "group's own name, any label where there are names",
                               text("a group label"))),
       optional("names", list("patterns, of which a parameter's name matches one: "
                              "* is any text, ? one character",
                              text("a pattern"))),
       optional("except", list("patterns of names that do not belong to it",
                               text("a pattern")))});
  return object("optimizer modules by parameter group",
                {required("groups", map("group -> module and parameters", group,
                                        false, /*closedNames=*/true))});
}

static Schema makeClip() {
  return object(
      "gradient clipping",
      {optional("norm", number("largest L2 norm; 0 = off", 0, 1e30), "0.0"),
       optional("mode", text("'joint' clips the step's gradient once, "
                             "'per_logical_rank' clips the gradient of every "
                             "logical rank before they are averaged",
                             {"joint", "per_logical_rank"}),
                "joint")});
}

static Schema makeQat() {
  Schema group = object(
      "fake quantisation of the parameters of one quantisation group",
      {required("module", name("quantiser module, models/quant/<name>.yaml")),
       optional("args", makeArgs())});
  return object(
      "training with fake-quantised weights",
      {optional("groups", map("quantisation group label -> module", group, false,
                              /*closedNames=*/true)),
       optional("start_fraction", number("fraction of the training budget at "
                                         "which it begins", 0, 1), "0.0"),
       optional("lr_below", number("it waits until the learning rate multiplier "
                                   "is below this; 0 = does not wait", 0, 1e6),
                "0.0")});
}

static Schema makeQuantise() {
  Schema group = object(
      "how the weights of one quantisation group are held: integer codes and a "
      "scale for each row",
      {required("bits", integer("bits of a code", 2, 8)),
       optional("rank", integer("rank of a correction that is added to the "
                                "dequantised weight; 0 = none", 0, 64),
                "0")});
  return object(
      "weights held as integer codes",
      {optional("weights",
                text("'materialise' computes the weights once, when a file with "
                     "codes is loaded; 'fused' makes programs that read the "
                     "codes themselves (score, logits, adapt)",
                     {"materialise", "fused"}),
                "materialise"),
       optional("groups", map("quantisation group label -> how", group, false,
                              /*closedNames=*/true))});
}

static Schema makeEval() {
  return object(
      "evaluation",
      {optional("row_length", integer("tokens of one row", 1), "1024"),
       optional("batch_tokens", integer("tokens of one score call; 0 = as many "
                                        "as memory is planned for", 0), "0"),
       optional("every", integer("steps between evaluations, and at the end; 0 "
                                 "= none", 0), "0"),
       optional("stride", integer("tokens between windows; 0 = rows do not "
                                  "overlap", 0), "0")});
}

static Schema makeAdapt() {
  return object(
      "adapters at the model's sites, trained on each document while it is "
      "scored; asks for the programs 'adapt'",
      {required("rank", integer("rank of every adapter", 1, 4096)),
       optional("slots", integer("documents adapted side by side", 1, 65536),
                "1"),
       optional("scale", number("factor of what an adapter adds", -1e6, 1e6),
                "1.0"),
       optional("sites", list("names of the sites that get adapters; default "
                              "all", name("a site of the model"))),
       optional("chunk", integer("targets scored between two updates", 1),
                "48"),
       optional("window", integer("most tokens of context, the chunk included",
                                  1), "2048"),
       optional("keep_a", boolean("the next documents start from the adapters' "
                                  "A instead of a new draw"),
                "false"),
       required("optimizer",
                object("how adapters are updated",
                       {required("module", name("optimizer module, "
                                                "models/optim/<name>.yaml")),
                        required("lr", number("learning rate", 0, 1e6)),
                        optional("args", map("arguments of the module",
                                             expr("a value")))}))});
}

static Schema makeRecipe() {
  return object(
      "a recipe: data, batch, schedule, optimizer and evaluation",
      {required("recipe", text("name of the recipe")),
       optional("extends", text("file that this one is merged over")),
       optional("data", makeData()),
       optional("batch", makeBatch()),
       optional("schedule", makeSchedule()),
       required("optimizer", makeOptimizerGroups()),
       optional("clip", makeClip()),
       optional("qat", makeQat()),
       optional("quantise", makeQuantise()),
       optional("eval", makeEval()),
       optional("adapt", makeAdapt()),
       optional("seed", integer("seed of all random numbers", 0), "1337"),
       optional("log", object("progress output",
                              {optional("every", integer("steps between lines",
                                                         1), "10")})),
       optional("checkpoint",
                object("checkpoints",
                       {optional("every", integer("steps between checkpoints; "
                                                  "0 = by time only", 0),
                                 "0"),
                        optional("every_seconds",
                                 number("seconds of training between "
                                        "checkpoints; 0 = by steps only", 0,
                                        1e9),
                                 "600.0"),
                        optional("keep", integer("newest ones that are kept", 1,
                                                 1000000), "2"),
                        optional("keep_best",
                                 boolean("also keep the one with the lowest "
                                         "validation loss"),
                                 "true")})),
       optional("precision", makePrecision(), "f32"),
       optional("ema", object("averaged weights: e = decay e + (1 - decay) p "
                              "after every step, from the initial weights",
                              {optional("decay", number("0 = off", 0, 1),
                                        "0.0")}))});
}

const Schema &pg::frontend::recipeSchema() {
  static const Schema schema = makeRecipe();
  return schema;
}
