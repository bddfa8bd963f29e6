#!/usr/bin/env bash
# Installs what is missing (Debian packages), configures and builds into build/.
#   tools/build.sh [TARGET...]     default: everything; the quickstart asks for pgc and pgrun only
# PG_SKIP_INSTALL=1 never calls the package manager. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(cmake ninja-build
  clang-22 llvm-22-dev libmlir-22-dev mlir-22-tools llvm-22-tools lld-22
  zlib1g-dev libzstd-dev libyaml-cpp-dev nlohmann-json3-dev libcli11-dev
  libsentencepiece-dev libgtest-dev python3)

say() { printf '\n== %s\n' "$*" >&2; }
fail() { printf 'build: %s\n' "$*" >&2; exit 3; }

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "this script installs Debian 12 packages and found no apt-get; install by hand: ${missing[*]}"
  [ "${PG_SKIP_INSTALL:-0}" = 0 ] || fail "missing packages (PG_SKIP_INSTALL is set): ${missing[*]}"
  root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "not root and no sudo: run as root  apt-get install --no-install-recommends ${missing[*]}"
    root=(sudo)
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  "${root[@]}" apt-get update -q >&2 || fail "apt-get update failed: is the network there?"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2 ||
    fail "apt-get could not install ${missing[*]} (MLIR 22 is in Debian 12's security suite: enable bookworm-security)"
fi

llvm=/usr/lib/llvm-22
[ -x "$llvm/bin/clang++" ] || fail "no clang++ in $llvm/bin although clang-22 is installed"
launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_C_COMPILER_LAUNCHER=ccache)
fi

say "configuring build/"
cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$llvm" \
  -DCMAKE_C_COMPILER="$llvm/bin/clang" -DCMAKE_CXX_COMPILER="$llvm/bin/clang++" \
  -DCMAKE_EXE_LINKER_FLAGS="-fuse-ld=lld" -DCMAKE_SHARED_LINKER_FLAGS="-fuse-ld=lld" \
  "${launcher[@]}" >build-configure.log 2>&1 ||
  { cat build-configure.log >&2; fail "cmake failed (log above)"; }
rm -f build-configure.log

say "building ${*:-everything} with $(nproc) jobs"
ninja -C build -j "$(nproc)" "$@" >&2
