//===- RecipeSchema.cpp - keys of recipe files -----------------------------===//
//
// A new key is a line here: its default and range reach the package, the JSON
// Schema and `--set` without other changes.
//
//===----------------------------------------------------------------------===//
#include "frontend/Schema.h"

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
                "1")});
}

static Schema makeBatch() {
  return object(
      "what one step reads",
      {optional("step_tokens", integer("tokens of one optimizer step; a "
                                       "multiple of micro_tokens", 1)),
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
  return object(
      "length and learning rate",
      {optional("steps", integer("optimizer steps; 0 = until the time is spent",
                                 0), "1000"),
       optional("warmup_steps", integer("steps of linear warm-up", 0), "0"),
       optional("warmdown_fraction", number("fraction of the budget over which "
                                            "the learning rate falls", 0, 1),
                "0.0"),
       optional("min_lr", number("floor of the learning rate multiplier", 0, 1),
                "0.0"),
       optional("max_seconds", number("time budget; 0 = none", 0, 1e9),
                "0.0")});
}

static Schema makeOptimizerGroups() {
  Schema group = object(
      "how the parameters of one group are updated",
      {required("module", name("optimizer module, models/optim/<name>.yaml")),
       required("lr", number("learning rate", 0, 1e6)),
       optional("args", map("arguments of the module", expr("a value")))});
  return object("optimizer modules by parameter group",
                {required("groups", map("group label -> module", group, false,
                                        /*closedNames=*/true))});
}

static Schema makeEval() {
  return object(
      "evaluation",
      {optional("row_length", integer("tokens of one row", 1), "1024"),
       optional("batch_tokens", integer("tokens of one score call; 0 = as many "
                                        "as memory is planned for", 0), "0"),
       optional("every", integer("steps between evaluations; 0 = at the end "
                                 "only", 0), "0"),
       optional("stride", integer("tokens between windows; 0 = rows do not "
                                  "overlap", 0), "0")});
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
       optional("clip", object("gradient clipping",
                               {optional("norm",
                                         number("largest L2 norm; 0 = off", 0,
                                                1e30),
                                         "0.0")})),
       optional("eval", makeEval()),
       optional("seed", integer("seed of all random numbers", 0), "1337"),
       optional("log", object("progress output",
                              {optional("every", integer("steps between lines",
                                                         1), "10")})),
       optional("checkpoint",
                object("checkpoints",
                       {optional("every", integer("steps between checkpoints; "
                                                  "0 = at the end only", 0),
                                 "0")})),
       optional("precision", text("number format", {"f32", "f64"}), "f32"),
       optional("ema", object("averaged weights",
                              {optional("decay", number("0 = off", 0, 1),
                                        "0.0")}))});
}

const Schema &pg::frontend::recipeSchema() {
  static const Schema schema = makeRecipe();
  return schema;
}
