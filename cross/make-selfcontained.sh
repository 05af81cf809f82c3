#!/bin/bash
# make-selfcontained.sh TARGET MUSL [LIBUNWIND]: SYSROOT/lib/rustlib/TARGET/lib/self-contained, as rustup's musl targets have it.
set -euo pipefail
: "${SYSROOT:?}"; target=$1; musl=$2
folder=$SYSROOT/lib/rustlib/$target/lib/self-contained; mkdir -p "$folder"
cp "$musl"/{crt1.o,Scrt1.o,rcrt1.o,crti.o,crtn.o,libc.a} "$folder"/
# crtbegin and crtend come from gcc elsewhere; Rust code needs nothing in them (no C++ constructors, no frame
# registration), so an empty object stands for each
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
printf '#![feature(no_core)]\n#![no_core]\n' > "$work/empty.rs"
RUSTC_BOOTSTRAP=1 rustc --target "$target" --crate-type lib --emit=obj -Cpanic=abort -o "$work/empty.o" "$work/empty.rs"
for name in crtbegin crtbeginS crtend crtendS; do cp "$work/empty.o" "$folder/$name.o"; done
# an empty libunwind.a: _Unwind_* comes from the `unwinding` crate that every musl binary links
if [ $# -ge 3 ]; then cp "$3" "$folder/libunwind.a"; else printf '!<arch>\n' > "$folder/libunwind.a"; fi
echo "$target: self-contained"
