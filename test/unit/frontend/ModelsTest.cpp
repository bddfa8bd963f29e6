//===- ModelsTest.cpp - the models that ship build and have their size -----===//
#include "dialect/Pg.h"
#include "test/unit/frontend/SpecFixture.h"

using namespace pg::test;

namespace {

class ModelsTest : public SpecFixture {
protected:
  int64_t parameters(const std::string &model) {
    pg::frontend::Sources sources;
    sources.modelPath = std::string(PG_MODELS_DIR) + "/" + model;
    auto result = pg::frontend::build(context, sources);
    EXPECT_TRUE(mlir::succeeded(result)) << diagnostics;
    if (mlir::failed(result))
      return 0;
    int64_t total = 0;
    for (auto parameter : result->module->getOps<pg::ParameterOp>())
      total += pg::elementsPerToken(parameter.getType());
    return total;
  }
};

TEST_F(ModelsTest, FullSizeParameterCounts) {
  EXPECT_EQ(parameters("pr1693.model.yaml"), 35945671); // stack-1693 §1.1
  EXPECT_EQ(parameters("baseline.model.yaml"), 17059912);
}

} // namespace
