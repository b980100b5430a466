#!/usr/bin/env bash
# Builds native/ under AddressSanitizer and UndefinedBehaviorSanitizer beside the ordinary build, and runs every set of
# kernels of this machine against sums in double (test/native/check-kernels.cpp). Takes about a minute; by hand.
#   scripts/sanitize.sh [SEED [TURNS]]     CXX names another compiler
set -euo pipefail

cd "$(dirname "$0")/.."
cxx=${CXX:-g++}
out=build/native-sanitized
flags=(-O1 -g -fno-omit-frame-pointer "-fsanitize=address,undefined" -fno-sanitize-recover=all)
# clang leaves the sanitizer out of a shared library, which native/build.sh takes for an error
shared=
if "$cxx" --version | grep -q clang; then shared=-shared-libsan; fi

CXXFLAGS="${flags[*]} $shared" native/build.sh build/mlx "$out"
"$cxx" -std=c++20 -Wall -Wextra -Werror "${flags[@]}" -pthread test/native/check-kernels.cpp \
  "$out"-objects/{kernels*,product,flash,threads}.o -o "$out-objects/check-kernels"

for set in avx512vnni avx512 avx2 portable; do
  if refusal=$(BUNSEN_KERNELS=$set "$out-objects/check-kernels" 1 0 2>&1); then
    BUNSEN_KERNELS=$set "$out-objects/check-kernels" "${1:-1}" "${2:-100}"
  else
    grep -o "BUNSEN_KERNELS is .*" <<<"$refusal" || { echo "$refusal"; exit 1; }
  fi
done
