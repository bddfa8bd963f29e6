"""The textual suite: dialect, passes, front end, tools, documents."""
import os
import sys

import lit.formats

config.name = "pg"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".mlir", ".test"]
config.excludes = ["unit", "bench", "golden", "inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.pg_binary_dir, "test")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.pg_binary_dir, "bin"), config.llvm_tools_dir, os.environ["PATH"]])
# Python tests share test/tools/programs.py; it keeps small compiled packages in the build folder.
config.environment["PYTHONPATH"] = os.path.join(config.test_source_root, "tools")
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"
config.environment["PG_SOURCE"] = config.pg_source_dir
config.environment["PG_BUILD"] = config.pg_binary_dir
# Tests of one run share compiled kernels, and leave those of the user alone.
config.environment["PG_CACHE_DIR"] = os.environ.get("PG_CACHE_DIR", os.path.join(config.pg_binary_dir, "kernel-cache"))
config.substitutions.append(("%python", sys.executable))
config.substitutions.append(("%models", os.path.join(config.pg_source_dir, "models")))
config.substitutions.append(("%inputs", os.path.join(config.pg_source_dir, "test", "inputs")))
