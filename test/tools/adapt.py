# RUN: %python %s %t
"""adapt: no score depends on a token it comes before, every document has adapters of its own, threads change no bit."""
import array
import json
import os

import programs

folder = programs.work_folder()
package = programs.package("adapted")
weights = programs.weights("adapted", folder + "/weights.safetensors")

# Five documents in two groups of at most three; some end inside a chunk, one has a single target.
LENGTHS = [30, 9, 44, 1, 17]
stream = []
for number, length in enumerate(LENGTHS):
    stream += [1] + [token % 62 + 2 for token in programs.random_tokens(length - 1, 62, seed=number)]


def adapt(tokens, name, *flags):
    """Scores by document, as lists of floats, and the printed result."""
    source, output = f"{folder}/{name}.tokens", f"{folder}/{name}.nll"
    programs.write_safetensors(source, {"tokens": ("I32", [len(tokens)], array.array("i", tokens).tobytes())})
    said = programs.call([programs.PGRUN, "adapt", package, "--weights", weights, "--tokens", source, "-o", output,
                          "--json", *flags])[0]
    file = programs.read_safetensors(output)
    counts = array.array("i", file["document_targets"][2])
    values, scores = programs.floats(file["nll"][2]), []
    for count in counts:
        scores.append(list(values[:count]))
        values = values[count:]
    return scores, json.loads(said)


adapted, result = adapt(stream, "adapted")
targets = [length for length in LENGTHS[:-1]] + [LENGTHS[-1] - 1]
programs.expect([len(document) for document in adapted] == targets, f"targets {[len(d) for d in adapted]}")
programs.expect(result["tokens"] == sum(targets) and result["documents"] == 5, f"{result}")

# 1. The first chunk of a document meets adapters whose B is zero: the model's own score.
alone, _ = adapt(stream, "alone", "--set", "adapt.optimizer.lr=0")
for number, (mine, plain) in enumerate(zip(adapted, alone)):
    programs.expect(mine[:8] == plain[:8], f"document {number}: the first chunk is adapted")
    moved = [index for index in range(8, len(mine)) if mine[index] != plain[index]]
    programs.expect(bool(moved) == (len(mine) > 8), f"document {number}: later chunks are {'' if moved else 'not '}adapted")

# 2. Another token late in a document changes no score before it, and none of another document.
changed = list(stream)
at = 20  # of document 0: the input after target 19
changed[at] = (changed[at] - 2 + 7) % 62 + 2
other, _ = adapt(changed, "changed")
programs.expect(other[0][:at - 1] == adapted[0][:at - 1], "a score changed before the token did")
programs.expect(other[0][at - 1:] != adapted[0][at - 1:], "no score noticed the token")
programs.expect(other[1:] == adapted[1:], "a document noticed a token of another")

# 3. Threads change nothing; another seed draws other adapters.
programs.expect(adapt(stream, "one", "--threads", "1")[0] == adapted, "one thread gives other scores")
programs.expect(adapt(stream, "five", "--threads", "5")[0] == adapted, "five threads give other scores")
programs.expect(adapt(stream, "seed", "--set", "seed=7")[0] != adapted, "the seed is not used")

# 4. Adapters that are written and read again are the ones that were drawn.
_, _ = adapt(stream, "saved", "--set", "adapt.optimizer.lr=0", "--save-adapters", folder + "/drawn.safetensors")
again, _ = adapt(stream, "again", "--set", "seed=7", "--initial-adapters", folder + "/drawn.safetensors")
programs.expect(again == adapted, "adapters from a file give other scores")
drawn = programs.read_safetensors(folder + "/drawn.safetensors")
programs.expect(len([name for name in drawn if name.startswith("group0.adapter.q.") and name.endswith(".a")]) == 8,
                f"adapters of q: {sorted(drawn)[:9]}")

# 5. Mistakes.
def fails(code, part, *arguments):
    programs.expect_in(part, programs.call([programs.PGRUN, "adapt", *arguments], code=code)[1])


fails(2, "needs either --tokens or --data", package, "--weights", weights)
fails(2, "does not fit: the chunk is at most the window", package, "--weights", weights, "--tokens",
      folder + "/adapted.tokens", "--set", "adapt.window=200")
fails(2, "did you mean 'adapt.chunk'?", package, "--weights", weights, "--tokens", folder + "/adapted.tokens", "--set",
      "adapt.chnk=4")
programs.write_safetensors(folder + "/none.tokens", {"tokens": ("I32", [3], array.array("i", [5, 6, 7]).tobytes())})
fails(1, "the tokens hold no document", package, "--weights", weights, "--tokens", folder + "/none.tokens")
plain = programs.package("pr1693")
fails(2, "has no program 'adapt'; compile it with a recipe that has a section 'adapt'", plain, "--weights",
      programs.weights("pr1693", folder + "/plain.safetensors"), "--tokens", folder + "/adapted.tokens")
