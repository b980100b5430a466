#!/usr/bin/env bash
# Builds native/ under AddressSanitizer and UndefinedBehaviorSanitizer beside the ordinary build and runs all of it: every
# set of kernels of this machine against sums in double (test/native/check-kernels.cpp), then the tests of the library
# (test/native) in a runtime that has the sanitizers loaded. Two minutes on two free cores, half a minute when nothing was
# changed; by hand.
#   scripts/sanitize.sh [SEED [TURNS]]     CXX names another compiler
set -euo pipefail

cd "$(dirname "$0")/.."
cxx=${CXX:-g++}
out=build/native-sanitized
flags=(-O1 -g1 -fno-omit-frame-pointer "-fsanitize=address,undefined" -fno-sanitize-recover=all)
# clang leaves the sanitizer out of a shared library, which native/build.sh takes for an error
shared=
runtimes=(libasan.so libubsan.so)
if "$cxx" --version | grep -q clang; then
  shared=-shared-libsan
  runtimes=("libclang_rt.asan-$(uname -m).so")
fi
# Of those left out three see another library, and one runs the others with each set of kernels, as is done here anyway.
tests=$(ls test/native/*.test.ts | grep -vE '/(abi|build|library|kernel-sets)\.test\.ts$')

CXXFLAGS="${flags[*]} $shared" native/build.sh build/mlx "$out"
"$cxx" -std=c++20 -Wall -Wextra -Werror "${flags[@]}" -pthread test/native/check-kernels.cpp \
  "$out"-objects/{kernels*,product,flash,threads}.o -o "$out-objects/check-kernels"

# A pool of threads that was replaced is left behind on purpose; the runtime's memory is its own, as are its signals.
export ASAN_OPTIONS=detect_leaks=0,handle_segv=0,allow_user_segv_handler=1,allocator_may_return_null=1 # a test asks for too much
for set in avx512vnni avx512 avx2 portable; do
  if refusal=$(BUNSEN_KERNELS=$set "$out-objects/check-kernels" 1 0 2>&1); then
    BUNSEN_KERNELS=$set "$out-objects/check-kernels" "${1:-1}" "${2:-20}"
  else
    grep -o "BUNSEN_KERNELS is .*" <<<"$refusal" || { echo "$refusal"; exit 1; }
  fi
done

# Where an exception is thrown the sanitizer asks for the stack of signals, and cannot do with the one the runtime has.
"$cxx" -shared -fPIC -x c++ - -o "$out-objects/no-signal-stack.so" <<'END'
#include <csignal>
extern "C" int sigaltstack(const stack_t*, stack_t* old) noexcept {
  if (old != nullptr) *old = {nullptr, SS_DISABLE, 0};
  return 0;
}
END

preload=$(for name in "${runtimes[@]}"; do "$cxx" -print-file-name="$name"; done | paste -sd' ')
preload="$preload $PWD/$out-objects/no-signal-stack.so"
# shellcheck disable=SC2086 # the names are ours and without spaces
LD_PRELOAD="$preload" BUNSEN_TEST_LIBRARIES=$PWD/$out node_modules/.bin/bun test --timeout 120000 $tests
