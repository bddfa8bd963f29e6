//===- ModelSchema.cpp - keys of model, block and optimizer files ----------===//
#include "frontend/Schema.h"

using namespace pg::frontend;
using namespace pg::frontend::schema;

static Schema makeInit() {
  return choice(
      "initial value; 'rows' fills row r with values[r]", {"zeros", "ones"},
      {optional("constant", object("one value everywhere",
                                   {required("value", expr("the value"))})),
       optional("normal",
                object("normal distribution",
                       {required("std", expr("standard deviation")),
                        optional("mean", expr("mean"), "0")})),
       optional("uniform", object("uniform distribution",
                                  {required("low", expr("lower bound")),
                                   required("high", expr("upper bound"))})),
       optional("orthogonal",
                object("orthogonal rows or columns",
                       {optional("gain", expr("factor"), "1")})),
       optional("rows", object("one value per row",
                               {required("values", expr("a list, one number "
                                                        "per row"))}))});
}

static Schema makeParams() {
  return map(
      "trainable tensors, in order",
      object("a trainable tensor",
             {required("shape", list("sizes, outermost first",
                                     expr("an integer expression"))),
              optional("init", makeInit(), "zeros"),
              optional("group", text("optimizer group label"), "default"),
              optional("quant", text("quantisation group label; empty = kept "
                                     "as it is")),
              optional("when", expr("static condition; false = the parameter "
                                    "does not exist"),
                       "true")}),
      /*dotted=*/true);
}

static Schema makeNames() {
  Schema relative = name("name relative to the user's path", /*dotted=*/true);
  return map("parameter of the used block -> name relative to the user's path",
             relative, /*dotted=*/true);
}

static Schema makeArgs() {
  return map("values of the block's arguments; expressions",
             expr("an expression; a quoted scalar is a string"));
}

static Schema makeUses() {
  return map("blocks used by name",
             object("a use of a block",
                    {required("block", name("block name, or an argument that "
                                            "holds one")),
                     optional("args", makeArgs()),
                     optional("names", makeNames()),
                     optional("when", expr("static condition; false = the use "
                                           "does not exist"),
                              "true")}));
}

static Schema makeSites() {
  return list("where adapters may attach",
              object("a site",
                     {required("adapter", name("name of the site")),
                      required("from", name("value the adapter reads, [T, size]")),
                      required("to", name("value the adapter adds to, [T, size]; "
                                          "assigned once"))}));
}

static std::vector<SchemaField> blockFields() {
  return {
      optional("doc", text("what the block computes")),
      required("inputs",
               map("tensors the block is called with, in order",
                   list("T for the token axis, a size, or a name that is bound "
                        "to the size",
                        expr("an integer expression")))),
      optional("params", makeParams()),
      optional("args", map("static arguments and their defaults; 'required' = "
                           "no default",
                           expr("an expression over earlier arguments"))),
      optional("uses", makeUses()),
      optional("let", map("static values, in order", expr("an expression"))),
      optional("sites", makeSites()),
      required("body", body("statements; the last one is 'return'"))};
}

static Schema makeBlock() {
  std::vector<SchemaField> fields = blockFields();
  fields.insert(fields.begin(), required("block", name("name of the block")));
  return object("a block: a function of tensors with its own parameters",
                std::move(fields));
}

static Schema makeLayers() {
  Schema range = object(
      "layers that differ from the rest of the family",
      {required("layers", expr("'a..b' (both included), one index, or a list")),
       optional("block", name("block of these layers")),
       optional("args", makeArgs()),
       optional("names", makeNames())});
  return map("families of equal layers: name[i], path name.<i>",
             object("a family",
                    {required("count", expr("number of layers")),
                     required("block", name("block of every layer")),
                     optional("args", makeArgs()),
                     optional("names", makeNames()),
                     optional("ranges", list("overrides, later ones win",
                                             std::move(range)))}));
}

static Schema makeModel() {
  return object(
      "a model: dimensions, options, parameters, blocks and the forward pass",
      {required("model", text("name of the model")),
       optional("extends", text("file that this one is merged over")),
       optional("dims", map("sizes, in order; visible in every block",
                            expr("an integer expression over earlier sizes and "
                                 "options"),
                            false, /*closedNames=*/true)),
       optional("options", map("switches and numbers", literal("a value"),
                               false, /*closedNames=*/true)),
       optional("phases",
                map("stages of training, by start",
                    object("a stage",
                           {required("start", number("fraction of the training "
                                                     "budget at which it "
                                                     "begins",
                                                     0, 1)),
                            optional("set", map("options of this stage",
                                                literal("a value")))}))),
       optional("let", map("static values, in order, evaluated per phase",
                           expr("an expression"))),
       optional("params", makeParams()),
       optional("uses", makeUses()),
       optional("layers", makeLayers()),
       optional("blocks", map("private blocks",
                              object("a block", blockFields()))),
       optional("sites", makeSites()),
       required("forward", body("statements over tokens and position; returns "
                                "the logits"))});
}

static Schema makeOptimizer() {
  return object(
      "an optimizer: the update of one parameter",
      {required("optimizer", name("name of the module")),
       optional("doc", text("what the module computes")),
       optional("args", map("numbers become run-time scalars; true, false, "
                            "strings and lists are static",
                            expr("default value"))),
       optional("static", list("arguments whose numbers decide structure and so "
                               "stay static", name("an argument"))),
       optional("let", map("static values, in order; 'shape' is the list of "
                           "sizes of p",
                           expr("an expression"))),
       optional("state", map("tensors kept per parameter, with its shape",
                             choice("initial value; 'parameter' is the "
                                    "parameter's own", {"zeros", "ones", "parameter"},
                                    {optional("constant",
                                              object("one value everywhere",
                                                     {required("value",
                                                               expr("the "
                                                                    "value"))}))}))),
       required("body", body("statements over p, g, the states, args, lr, step; "
                             "assigning p or a state updates it"))});
}

static Schema makeQuantiser() {
  return object(
      "a quantiser: what training with fake-quantised weights computes with "
      "instead of a weight",
      {required("quantiser", name("name of the module")),
       optional("doc", text("what the module computes")),
       optional("args", map("numbers become run-time scalars; true, false, "
                            "strings and lists are static",
                            expr("default value"))),
       optional("static", list("arguments whose numbers decide structure and so "
                               "stay static", name("an argument"))),
       optional("let", map("static values, in order; 'shape' is the list of "
                           "sizes of w",
                           expr("an expression"))),
       required("body", body("statements over w, on, the args; returns a tensor "
                             "of w's shape. 'on' is 0 before the start and 1 "
                             "after it: 0 must give w"))});
}

const Schema &pg::frontend::modelSchema() {
  static const Schema schema = makeModel();
  return schema;
}
const Schema &pg::frontend::blockSchema() {
  static const Schema schema = makeBlock();
  return schema;
}
const Schema &pg::frontend::quantiserSchema() {
  static const Schema schema = makeQuantiser();
  return schema;
}
const Schema &pg::frontend::optimizerSchema() {
  static const Schema schema = makeOptimizer();
  return schema;
}
