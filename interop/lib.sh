# What the suites share: `check NAME COMMAND…` runs a function or a program, in time, and says whether it held.
# Sourced with: set -euo pipefail; B=BOOTSTRAP; . lib.sh
PREFIX="interop-$$-$(date +%s)"
WORK=$(mktemp -d); trap 'rm -rf "$WORK"' EXIT
FAILED=0

# check NAME COMMAND…: in a subshell of its own, and not as a condition, where errexit would be ignored.
check() {
  local name=$1 status; shift
  set +e
  ( set -euo pipefail; trap - EXIT; "$@" ) > "$WORK/log" 2>&1 < /dev/null
  status=$?
  set -e
  if [ $status -eq 0 ]; then
    echo "ok $name"
  else
    echo "not ok $name"
    tail -n 12 "$WORK/log" | sed 's/^/    /'
    FAILED=$((FAILED+1))
  fi
}

# same EXPECTED ACTUAL: two files hold the same lines.
same() { diff -u "$1" "$2" | head -n 10 || true; cmp -s "$1" "$2"; }

# need PROGRAM HINT: a suite without its client fails.
need() { command -v "$1" > /dev/null || { echo "not ok $1 is on the machine"; echo "    $2"; exit 1; }; }

finish() { [ "$FAILED" -eq 0 ]; }
