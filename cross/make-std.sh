#!/bin/bash
# make-std.sh TARGET…: rust-std from LIB (the library/ folder of rust-src that matches `rustc -V`)
# into SYSROOT/lib/rustlib/TARGET/lib. Needs no linker, no libc and no C compiler: only rlibs are made.
set -euo pipefail
: "${LIB:?path of the library/ folder of rust-src}" "${SYSROOT:?where to put it}"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"; echo '#![no_std]' > "$work/src/lib.rs"
cat > "$work/Cargo.toml" <<'T'
[package]
name = "mkstd"
version = "0.0.0"
edition = "2021"
[profile.release]
debug = "line-tables-only"
codegen-units = 4
[workspace]
T
for target in "$@"; do
  # RUSTC_BOOTSTRAP here only: a build script that sees it takes stable for nightly.
  ( cd "$work"; env -u RUSTC_WRAPPER RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$LIB" CC=/bin/false \
      RUSTFLAGS="-Cembed-bitcode=yes" CARGO_TARGET_DIR="$work/target" \
      cargo build -q --release -Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test --target "$target" )
  lib="$SYSROOT/lib/rustlib/$target/lib"; mkdir -p "$lib"; rm -f "$lib"/*.rlib
  cp "$work/target/$target/release/deps/"lib*.rlib "$lib/"; rm -f "$lib"/libmkstd-*
  echo "$target: $(find "$lib" -name '*.rlib' | wc -l) rlibs"
done
