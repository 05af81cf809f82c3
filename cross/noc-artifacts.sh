#!/bin/bash
# noc-artifacts.sh DEPS BINARY…: what was really linked. Fails on an object in an rlib that rustc did not make, on a
# dynamic library, and on a compiler in .comment that neither rustc nor libc came from.
# LIBC_CC says what libc.a (and libgcc_eh on armv7) was built with, as its .comment has it.
set -euo pipefail
deps=$1; shift
fail=0 count=0
for rlib in "$deps"/*.rlib; do
  [ -e "$rlib" ] || { echo "no rlibs in $deps"; exit 1; }
  count=$((count+1))
  foreign=$(ar t "$rlib" | grep -vE '\.rcgu\.o$|^lib\.rmeta$|^rust\.metadata\.bin$|^symbols\.o$' || true)
  [ -z "$foreign" ] || { echo "foreign object in $(basename "$rlib"): $foreign"; fail=1; }
done
echo "$count rlibs: every member was looked at"
for binary in "$@"; do
  name=$(basename "$binary")
  needed=$(readelf -d "$binary" 2>/dev/null | grep NEEDED || true)
  [ -z "$needed" ] || { echo "$name is dynamic: $needed"; fail=1; }
  producers=$(readelf -p .comment "$binary" | sed -n 's/^ *\[ *[0-9a-f]*\] *//p' | sort -u)
  [ -n "$producers" ] || { echo "$name names no producer: was it stripped of .comment?"; fail=1; }
  other=$(grep -vE '^(rustc version|Linker: LLD|LLD)' <<< "$producers" | grep -vF "${LIBC_CC:-GCC: (Debian 14.2.0}" || true)
  [ -z "$other" ] || { echo "$name holds code of another compiler: $other"; fail=1; }
  echo "$name: no dynamic library needed; made by: $(paste -sd ';' <<< "$producers")"
done
[ $fail -eq 0 ] && echo "no C but libc's" || exit 1
