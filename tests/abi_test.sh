#!/bin/sh
# What the built library and its headers promise to a linker and a compiler:
#   abi_test.sh symbols LIBRARY LIST     the dynamic symbols that it defines are those of LIST, no more and no fewer
#   abi_test.sh libraries LIBRARY        it needs nothing but the C, C++ and OpenMP run times; its SONAME is 0.MINOR
#   abi_test.sh headers INCLUDE_DIR      each header compiles alone, without a warning, in every standard it promises
set -eu
export LC_ALL=C

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

symbols() {
  # Version nodes (type A) are no symbols; a version suffix is no part of a name.
  nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$work/defined"
  sort "$2" >"$work/expected"
  diff "$work/expected" "$work/defined" || fail "the exported symbols are not those of $2"
  if grep -v '^xent_' "$work/defined"; then fail "exported symbols must start with xent_"; fi
  if nm -D --undefined-only "$1" | grep -E ' (abort|exit|_exit|printf|puts|fprintf|fputs|fwrite)(@|$)'; then
    fail "the library could print or end the process"
  fi
}

libraries() {
  # The first field of ldd is a name or, for the loader, a path.
  ldd "$1" | awk '{ sub(/.*\//, "", $1); print $1 }' >"$work/needed"
  [ -s "$work/needed" ] || fail "ldd says nothing about $1"
  known='linux-vdso|libc|libm|libstdc\+\+|libgcc_s|libgomp|libpthread|ld-linux[-a-z0-9_]*'
  if grep -vE "^($known)\.so" "$work/needed"; then
    fail "the library needs more than the C, C++ and OpenMP run times"
  fi
  readelf -d "$1" >"$work/dynamic"
  grep -qE 'SONAME.*\[libxent\.so\.0\.[0-9]+\]' "$work/dynamic" || fail "the SONAME is not libxent.so.0.MINOR"
  grep -q 'NODELETE' "$work/dynamic" || fail "unloading must be a no-op: OpenMP's threads outlive dlclose"
}

# compile COMPILER LANGUAGE STANDARD HEADER
compile() {
  printf '#include <%s>\nint main(void) { return 0; }\n' "$4" >"$work/alone.$2"
  "$1" -std="$3" -I"$include" -Wall -Wextra -Wpedantic -Wconversion -Werror -fsyntax-only "$work/alone.$2" ||
    fail "$4 does not compile alone with $1 -std=$3"
  count=$((count + 1))
}

headers() {
  include=$1
  count=0
  for compiler in gcc clang; do
    command -v "$compiler" >/dev/null || continue
    for standard in c99 c11 c17 c2x; do compile "$compiler" c "$standard" xent/xent.h; done
  done
  for compiler in g++ clang++; do
    command -v "$compiler" >/dev/null || continue
    for standard in c++17 c++20 c++2b; do
      compile "$compiler" cc "$standard" xent/xent.h
      compile "$compiler" cc "$standard" xent/xent.hpp
    done
  done
  [ "$count" -ge 10 ] || fail "only $count compilations: is there a compiler?"
  if LC_ALL=C grep -n '[^ -~]' "$include"/xent/xent.h; then fail "xent.h is not plain ASCII"; fi
  echo "$count compilations"
}

command=$1
shift
"$command" "$@"
