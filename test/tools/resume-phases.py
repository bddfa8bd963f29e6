# RUN: %python %s %t
"""--stop-after X, then --start-at X, gives what the straight run gives, for every phase; --dump-ir shows them all."""
import os

import programs

folder = programs.work_folder()
phases = ["spec", "inlined", "derived", "decomposed", "fused", "outlined", "planned"]
arguments = programs.PACKAGES["pr1693"]
dumps = os.path.join(folder, "dumps")
straight = programs.call([programs.PGC, "compile", *arguments, "--stop-after", "planned", "--dump-ir", dumps])[0]
programs.expect(sorted(os.listdir(dumps)) == [f"{n:02}-{phase}.mlir" for n, phase in enumerate(phases)],
                f"dumps {os.listdir(dumps)}")
for phase in phases:
    text = programs.call([programs.PGC, "compile", *arguments, "--stop-after", phase])[0]
    path = os.path.join(folder, phase + ".mlir")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    resumed = programs.call([programs.PGC, "compile", path, "--start-at", phase, "--stop-after", "planned"])[0]
    programs.expect(resumed == straight, f"the run resumed at {phase} ends in another plan")

# A dump with locations is accepted too, and becomes the same code.
programs.call([programs.PGC, "compile", *programs.PACKAGES["baseline"], "--stop-after", "planned", "--dump-ir", dumps])
resumed = f"{folder}/decomposed.pgx"
programs.call([programs.PGC, "compile", f"{dumps}/03-decomposed.mlir", "--start-at", "decomposed", "-o", resumed])
code = [programs.call(["sh", "-c", f"'{programs.PGC}' dump '{path}' --section code | cksum"])[0]
        for path in (resumed, programs.package("baseline"))]
programs.expect(code[0] == code[1], f"code of the resumed package {code}")

# Other phase's IR is refused with the op that does not belong there.
error = programs.call([programs.PGC, "compile", f"{folder}/planned.mlir", "--start-at", "spec", "--stop-after",
                       "planned"], code=1)[1]
programs.expect_in("error:", error)
for flags in (["--start-at", "fussed"], ["--stop-after", "fussed"]):
    error = programs.call([programs.PGC, "compile", f"{folder}/planned.mlir", *flags, "-o",
                           f"{folder}/no.pgx"], code=2)[1]
    programs.expect_in("unknown phase 'fussed'", error)
