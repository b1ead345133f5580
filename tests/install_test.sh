#!/bin/sh
# An installed prefix, moved elsewhere, is all that a user needs:
#   install_test.sh BUILD_FOLDER SOURCE_FOLDER CMAKE PYTHON
# The examples of the README are taken from it, built against the prefix by CMake's find_package and by pkg-config, and
# print what it says; Python calls the library through ctypes, without a build step; the installed command runs.
set -eu
export LC_ALL=C

build=$1
source=$2
cmake=$3
python=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# The first block of this language.
example() {
  awk -v fence="\`\`\`$1" '$0 == fence { inside = 1; next } /^```/ { if (inside) exit } inside' "$source/README.md"
}

# expect NAME OUTPUT...: prints and compares.
expect() {
  printf '%s: %s\n' "$1" "$2"
  [ "$2" = "$3" ] || fail "$1 should print '$3'"
}

"$cmake" --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
prefix=$work/moved
if grep -rI "$work/first\|$build" "$prefix/lib" "$prefix/include" "$prefix/share"; then
  fail "an installed file names the folder it was built in or installed to"
fi

mkdir "$work/project"
example c >"$work/project/example_c.c"
example cpp >"$work/project/example_cpp.cc"
for name in example_c.c example_cpp.cc; do
  lines=$(grep -c . "$work/project/$name") || fail "the README has no $name"
  [ "$lines" -le 16 ] || fail "$name has $lines lines; an example is short"
done
said=$(sed -n 's/^`\(loss [^`]*\)`.*/\1/p' "$source/README.md" | head -n 1)
[ -n "$said" ] || fail "the README does not say what its examples print"

cat >"$work/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C CXX)
find_package(xent 0.1 REQUIRED)
foreach(name example_c.c example_cpp.cc)
  get_filename_component(target ${name} NAME_WE)
  add_executable(${target} ${name})
  target_link_libraries(${target} PRIVATE xent::xent)
endforeach()
CMAKE
"$cmake" -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS=-Wall\ -Werror \
  -DCMAKE_CXX_FLAGS=-Wall\ -Werror >"$work/log" || { cat "$work/log"; fail "find_package does not find xent"; }
"$cmake" --build "$work/project/build" >"$work/log" || { cat "$work/log"; fail "the examples do not build"; }
expect "C, find_package" "$("$work/project/build/example_c")" "$said"
expect "C++, find_package" "$("$work/project/build/example_cpp")" "$said"

# In a sanitizer's build, users would have to link it too; and a static library its run times.
shared=$(find "$prefix" -name 'libxent.so' | head -n 1)
[ -n "$shared" ] || exit 0
folder=$(dirname "$shared")
if command -v pkg-config >/dev/null; then
  PKG_CONFIG_PATH=$folder/pkgconfig
  export PKG_CONFIG_PATH
  # shellcheck disable=SC2046
  ${CC:-cc} "$work/project/example_c.c" $(pkg-config --cflags --libs xent) -Wl,-rpath,"$folder" -o "$work/by_pkg_config"
  expect "C, pkg-config $(pkg-config --modversion xent)" "$("$work/by_pkg_config")" "$said"
fi

expect "Python, ctypes" "$("$python" - "$shared" <<'PYTHON'
import ctypes, math, sys
xent = ctypes.CDLL(sys.argv[1])
values = (ctypes.c_double * 3)(-1.0, 0.0, 1.0)
status = xent.xent_map(1, 2, values, values, ctypes.c_int64(3), None)  # XENT_EXP of XENT_F64, in place
print(status, [round(value, 12) for value in values] == [round(math.exp(x), 12) for x in (-1.0, 0.0, 1.0)])
PYTHON
)" "0 True"
if "$python" -c 'import numpy' 2>/dev/null; then
  example python >"$work/example.py"
  expect "Python, NumPy" "$(LD_LIBRARY_PATH=$folder "$python" "$work/example.py")" "$said"
fi
if [ -x "$prefix/bin/xent" ]; then
  expect "command" "$("$prefix/bin/xent" --version)" "xent $("$python" -c "
import ctypes, sys
xent = ctypes.CDLL('$shared')
xent.xent_version_string.restype = ctypes.c_char_p
print(xent.xent_version_string().decode())")"
fi
