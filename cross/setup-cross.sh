#!/bin/bash
# setup-cross.sh KIT TARGET…: a rust-std for each musl target below KIT/sysroot, from Debian's source of this rustc.
set -euo pipefail
here=$(dirname "$(realpath "$0")"); kit=$(realpath -m "$1"); shift
targets=("$@"); [ ${#targets[@]} -gt 0 ] || targets=(x86_64-unknown-linux-musl)
arches=()
for target in "${targets[@]}"; do
  case $target in
    x86_64-unknown-linux-musl)      arches+=(amd64) ;;
    aarch64-unknown-linux-musl)     arches+=(arm64) ;;
    armv7-unknown-linux-musleabihf) arches+=(armhf) ;;
    *) echo "no kit for $target: it is for x86_64-, aarch64-unknown-linux-musl and armv7-unknown-linux-musleabihf" >&2; exit 1 ;;
  esac
done
mkdir -p "$kit"
missing=(); for arch in "${arches[@]}"; do [ -e "$kit/library" ] && [ -e "$kit/musl-$arch/libc.a" ] || missing+=("$arch"); done
[ ${#missing[@]} -eq 0 ] || "$here/fetch.sh" "$kit" "${missing[@]}" > "$kit/fetch.log" 2>&1 || { tail -n 5 "$kit/fetch.log" >&2; exit 1; }
export LIB="$kit/library" SYSROOT="$kit/sysroot"
for i in "${!targets[@]}"; do
  target=${targets[$i]}; arch=${arches[$i]}
  rm -rf "$SYSROOT/lib/rustlib/$target"   # two builds of std in one folder are E0464
  "$here/make-std.sh" "$target"
  if [ "$arch" = armhf ]; then
    "$here/make-selfcontained.sh" "$target" "$kit/musl-$arch" "$kit/musl-armhf-libgcc_eh.a"
  else
    "$here/make-selfcontained.sh" "$target" "$kit/musl-$arch"
  fi
done
