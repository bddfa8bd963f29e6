# cmake -DTEXT=... -DNAME=... -DOUT=... -P embed.cmake
# A file as the C++ string NAME, cut between pieces that every compiler takes.
file(READ ${TEXT} text)
string(LENGTH "${text}" length)
set(pieces "")
set(begin 0)
while(begin LESS length)
  string(SUBSTRING "${text}" ${begin} 4000 piece)
  string(APPEND pieces "    R\"TEXT(${piece})TEXT\"\n")
  math(EXPR begin "${begin} + 4000")
endwhile()
file(WRITE ${OUT} "constexpr char ${NAME}[] =\n${pieces}    ;\n")
