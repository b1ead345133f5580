# Writes the file INPUT as the C++ array NAME of namespace xent_command, ended by a zero, into OUTPUT.
# Used as: cmake -DINPUT=... -DOUTPUT=... -DNAME=... -P embed.cmake
file(READ "${INPUT}" bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
set(sixteen "0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,")
string(REGEX REPLACE "(${sixteen})" "\\1\n" bytes "${bytes}")
file(WRITE "${OUTPUT}"
     "#include \"embedded.h\"\n\nnamespace xent_command {\n\n"
     "const char ${NAME}[] = {\n${bytes}0};\n\n"
     "}  // namespace xent_command\n")
