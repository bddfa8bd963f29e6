# RUN: %python %s %t
"""Sections of a package: tables, resolved specification, canonical program, shared object."""
import subprocess

import programs

package = programs.package("trained")
manifest = programs.manifest(package)
programs.expect(manifest["model"] == "quickstart", manifest["model"])
programs.expect([phase["name"] for phase in manifest["phases"]] == ["plain", "looped"], "phases")
roles = {entry["role"] for entry in manifest["entries"]}
programs.expect(roles == {"score", "logits", "accumulate", "apply"}, f"roles {roles}")
spec = programs.call([programs.PGC, "dump", package, "--section", "spec"])[0]
for part in ("model_file:", "recipe_file:", "optimizer_files:", "adamw"):
    programs.expect_in(part, spec)
ir = programs.call([programs.PGC, "dump", package, "--section", "ir"])[0]
programs.expect_in("func.func @\"accumulate@looped\"", ir)
programs.expect("pg.kernel" not in ir, "the program is the one before fusion")
code = subprocess.run([programs.PGC, "dump", package, "--section", "code"], capture_output=True, check=True).stdout
programs.expect(code.startswith(b"\x7fELF"), "the code is an ELF file")
error = programs.call([programs.PGC, "dump", package, "--section", "cod"], code=2)[1]
programs.expect_in("code", error)
