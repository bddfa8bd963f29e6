# RUN: %python %s %t
"""Errors of a file come with file:line:column, the line and a caret, all of them in one run; exit code 1."""
import os

import programs

folder = programs.work_folder()
model = os.path.join(folder, "wrong.model.yaml")


def errors(text, *flags):
    with open(model, "w", encoding="utf-8") as file:
        file.write(text)
    out, err = programs.call([programs.PGC, "check", "wrong.model.yaml", *flags], code=1, cwd=folder)
    programs.expect(out == "", "nothing is printed for a wrong model")
    return err


text = """model: wrong
dims: {V: 16, D: 8}
optoins: {softcap: 30}
params: {w: {shape: [V, D], inti: zeros}}
forward: |
  x = gather(w, tokens)
  return linear(x, w)
"""
err = errors(text)
programs.expect_in("wrong.model.yaml:3:1: error: unknown key 'optoins'", err)
programs.expect_in("did you mean 'options'?", err)
programs.expect_in("optoins: {softcap: 30}\n^", err)
programs.expect_in("wrong.model.yaml:4:29: error: unknown key 'inti'", err)
programs.expect_in("did you mean 'init'?", err)

good = text.replace("optoins", "options").replace("inti", "init")
err = errors(good.replace("linear(x, w)", "liner(x, w)"))
programs.expect_in("wrong.model.yaml:7:10: error:", err)
programs.expect_in("did you mean 'linear'?", err)
programs.expect_in("  return liner(x, w)\n         ^", err)

# The verifier of an op points at the YAML too.
err = errors(good.replace("linear(x, w)", "linear(x[:, :4], w)"))
programs.expect_in("wrong.model.yaml:7:10: error:", err)

# --set is a source of its own, with a position.
err = errors(good, "--set", "dims.D=16", "--set", "dims.Q=3")
programs.expect_in("--set:2:1: error: unknown name 'Q'", err)
err = errors("model: wrong\n  dims: 3\n")
programs.expect_in("wrong.model.yaml:2:", err)
