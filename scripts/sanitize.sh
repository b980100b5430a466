#!/usr/bin/env bash
# Builds native/ under AddressSanitizer and UndefinedBehaviorSanitizer beside the ordinary build, and runs every set of
# kernels of this machine against sums in double (test/native/check-kernels.cpp). Takes about two minutes; by hand.
#   scripts/sanitize.sh [SEED [TURNS]]     CXX names another compiler
set -euo pipefail

cd "$(dirname "$0")/.."
out=build/native-sanitized
sanitizers="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
# a shared library of clang's leaves the sanitizer to the program that opens it
"${CXX:-g++}" --version | grep -q clang && sanitizers+=" -shared-libsan"

CXXFLAGS=$sanitizers native/build.sh build/mlx "$out"
# shellcheck disable=SC2086 # they are many words
"${CXX:-g++}" -std=c++20 -Wall -Wextra -Werror $sanitizers -pthread test/native/check-kernels.cpp \
  "$out"-objects/{kernels*,product,threads}.o -o "$out-objects/check-kernels"

for set in avx512vnni avx512 avx2 portable; do
  if refusal=$(BUNSEN_KERNELS=$set "$out-objects/check-kernels" 1 0 2>&1); then
    BUNSEN_KERNELS=$set "$out-objects/check-kernels" "${1:-1}" "${2:-100}"
  else
    grep -o "BUNSEN_KERNELS is .*" <<<"$refusal" || { echo "$refusal"; exit 1; }
  fi
done
