#!/usr/bin/env bash
# Builds libmlxc.so for Linux from this folder and puts it beside a copy of the MLX libraries: one flat folder that
# works wherever it is copied. Compiles only what changed.
#   native/build.sh [MLX_FOLDER [OUTPUT_FOLDER]]     CXX names another compiler (g++ from 12 on, or clang++ from 16),
#                                                    CXXFLAGS more flags for it
# MLX_FOLDER holds include/ and lib/ of the wheel mlx-cpu, with all its libraries flat in lib/.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
mlx=$(realpath -m "${1:-$here/../build/mlx}")
out=$(realpath -m "${2:-$here/../build/native}")
objects=$out-objects
cd "$here"
cxx=${CXX:-g++}
read -ra more_flags <<<"${CXXFLAGS:-}"
flags=(-std=c++20 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -isystem "$mlx/include")

# RPATH and not the newer RUNPATH: only RPATH also serves what libmlx.so needs, and libmlx.so looks in a folder of the
# wheel's layout.
link_flags=(-shared -Wl,--disable-new-dtags "-Wl,-rpath,\$ORIGIN" -Wl,--version-script=libmlxc.map -Wl,--no-undefined)

main() {
  require
  mkdir -p "$out" "$objects"
  exec 9>"$objects/lock"
  flock 9 # a second build at the same time waits, then finds nothing to do
  trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
  forget_other_builds
  compile_stale
  link
  copy_libraries
  say "$out is complete"
}

require() {
  [ "$(uname -s)" = Linux ] || fail "this is $(uname -s); a Mac takes mlx-c from Homebrew: brew install mlx-c"
  command -v "$cxx" >/dev/null || fail "there is no C++ compiler $cxx; install one with: sudo apt-get install g++"
  [ -f "$mlx/include/mlx/version.h" ] && [ -f "$mlx/lib/libmlx.so" ] ||
    fail "$mlx lacks include/mlx or lib/libmlx.so of MLX; fetch them with: npm run setup"
  printf '#include <source_location>\nauto here = std::source_location::current();' |
    "$cxx" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ||
    fail "$cxx $("$cxx" -dumpversion) does not know C++20; g++ 12 or clang 16 does"
}

# Other flags, another compiler or another MLX: everything is compiled again.
forget_other_builds() {
  local made_with
  made_with="$("$cxx" --version | head -1) $(cksum <"$here/build.sh") ${flags[*]} ${more_flags[*]} ${link_flags[*]} $(cksum <"$mlx/include/mlx/version.h")"
  [ "$(cat "$objects/made-with" 2>/dev/null)" = "$made_with" ] && return
  rm -f "$objects"/*.o
  echo "$made_with" >"$objects/made-with"
}

compile_stale() {
  local stale=() running=0 started=0 file
  for file in $(ls -S ./*.cpp); do # the largest first: nobody waits for it alone at the end
    is_current "$(basename "$file" .cpp)" || stale+=("$(basename "$file" .cpp)")
  done
  for file in "${stale[@]}"; do
    if [ "$running" -eq "$(nproc)" ]; then
      wait -n || fail "the compiler reported the errors above"
      running=$((running - 1))
    fi
    started=$((started + 1))
    say "compiling $file.cpp ($started of ${#stale[@]})"
    compile "$file" &
    running=$((running + 1))
  done
  while [ "$running" -gt 0 ]; do
    wait -n || fail "the compiler reported the errors above"
    running=$((running - 1))
  done
}

# True when the object is newer than every file of ours it was made from.
is_current() {
  local file
  [ -f "$objects/$1.o" ] && [ -f "$objects/$1.d" ] || return 1
  # shellcheck disable=SC2013 # the names are ours and without spaces
  for file in $(sed -e 's/^[^:]*://' -e 's/\\$//' "$objects/$1.d"); do
    [ "$objects/$1.o" -nt "$file" ] || return 1
  done
}

# Written aside and moved, here and below: an interrupted build leaves no half file.
compile() {
  local machine=()
  # -O3: only there does g++ keep an array of vectors in registers, a loop over it unrolled
  case $1 in
    kernels-portable) machine=(-O3) ;;
    kernels-avx2) machine=(-O3 -mavx2 -mfma -mf16c) ;;
    kernels-avx512) machine=(-O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma) ;;
    kernels-avx512vnni) machine=(-O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mavx512vnni) ;;
  esac
  "$cxx" "${flags[@]}" "${machine[@]}" "${more_flags[@]}" -MMD -MF "$objects/$1.d" -c "$1.cpp" -o "$objects/$1.part"
  mv "$objects/$1.part" "$objects/$1.o"
}

# Always done, as it takes a fifth of a second and also notices a source that is gone.
link() {
  local sources=(*.cpp)
  local parts=("${sources[@]/%.cpp/.o}")
  "$cxx" "${more_flags[@]}" "${link_flags[@]}" "${parts[@]/#/$objects/}" -L"$mlx/lib" -Wl,-rpath-link,"$mlx/lib" -lmlx \
    -o "$objects/libmlxc.so"
  if place "$objects/libmlxc.so" libmlxc.so; then
    say "libmlxc.so needs at least $(versions_needed "$out/libmlxc.so")"
  fi
}

# Puts libmlx and what stands for its BLAS and LAPACK beside ours, and takes away what was here before.
copy_libraries() {
  local library name source
  place "$mlx/lib/libmlx.so" libmlx.so || true
  for source in blas lapack; do
    name=$(objdump -p "$mlx/lib/libmlx.so" | sed -n "s/.*NEEDED *\(lib$source[^ ]*\)/\1/p")
    [ -n "$name" ] || fail "$mlx/lib/libmlx.so names no $source, for which native/stand-ins/$source.cpp stands"
    "$cxx" -std=c++20 -O3 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -shared "-Wl,-soname,$name" \
      "stand-ins/$source.cpp" -o "$objects/$name"
    place "$objects/$name" "$name" || true
  done
  for library in "$out"/*.so*; do
    name=$(basename "$library")
    [ "$name" = libmlxc.so ] || [ "$name" = libmlx.so ] || [ -f "$objects/$name" ] || rm "$library"
  done
}

# The greatest version of each system library whose symbols the file uses: "GLIBC_2.32 GLIBCXX_3.4.29 ..."
versions_needed() {
  objdump -T "$1" | sed -n 's/.*(\([A-Z]*_[0-9.]*\)).*/\1/p' | sort -Vru | sort -t_ -k1,1 -us | paste -sd' '
}

# Replaces a file of the output folder if it differs, and by a move: a process that has it open keeps the old one.
# False when there was nothing to do.
place() {
  if cmp -s "$1" "$out/$2"; then
    return 1
  fi
  say "placing $2"
  cp "$1" "$objects/placing" && mv "$objects/placing" "$out/$2" || fail "$out/$2 cannot be written"
}

say() {
  echo "native: $1"
}

fail() {
  echo "native: Cannot build libmlxc.so: $1" >&2
  exit 1
}

main
