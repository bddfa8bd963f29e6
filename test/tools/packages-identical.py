# RUN: %python %s %t
"""The same model gives the same bytes: from another directory, by an absolute path, with other job counts, without the cache."""
import os

import programs

folder = programs.work_folder()


def compile_again(name, jobs, is_relative):
    arguments = programs.PACKAGES[name]
    if is_relative:
        arguments = [os.path.relpath(item, folder) if item.startswith(programs.MODELS) else item for item in arguments]
    output = os.path.join(folder, f"{name}-{jobs}.pgx")
    programs.call([programs.PGC, "compile", *arguments, "--jobs", str(jobs), "--no-cache", "-o", output], cwd=folder)
    programs.same(programs.package(name), output, "packages")


compile_again("baseline", 1, is_relative=False)
compile_again("trained", 2, is_relative=True)

# No section but the code, which is not text, may hold a directory.
package = programs.package("trained")
for section in ("manifest", "spec", "ir"):
    text = programs.call([programs.PGC, "dump", package, "--section", section])[0]
    programs.expect(os.path.dirname(programs.MODELS) not in text, f"section {section} holds a directory")
with open(package, "rb") as file:
    programs.expect(programs.SOURCE.encode() not in file.read(), "the package holds the source directory")
locations = [value["location"] for value in programs.manifest(package)["recipe"].values()]
programs.expect(locations and all("/" not in location for location in locations), f"locations {locations}")
