# cmake -DTYPES=... -DPRELUDE=... -DOUT=... -P embed.cmake
# The device half of the prelude as one C++ string: pg_types.cuh in the place of its include.
file(READ ${TYPES} types)
file(READ ${PRELUDE} prelude)
string(REPLACE "#include \"pg_types.cuh\"" "${types}" text "${prelude}")
# A raw string literal has no escapes; compilers limit its length, so it is cut between lines.
string(LENGTH "${text}" length)
set(pieces "")
set(begin 0)
while(begin LESS length)
  string(SUBSTRING "${text}" ${begin} 4000 piece)
  string(APPEND pieces "    R\"PRELUDE(${piece})PRELUDE\"\n")
  math(EXPR begin "${begin} + 4000")
endwhile()
file(WRITE ${OUT} "// Made from runtime/kernels by embed.cmake.\nconstexpr char kPreludeText[] =\n${pieces}    ;\n")
