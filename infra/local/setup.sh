#!/bin/sh
# Installs what the commands of the Makefile need, and says in one line why that fails:
#   setup.sh python <python>    into .venv
#   setup.sh node               into infra/local/node_modules

LOG=$(mktemp) || exit 1
trap 'rm -f "$LOG"' EXIT

fail() {
  echo "$*"
  exit 1
}

# What follows this pattern in the first line of the log that contains it; without the addresses of Python objects.
after() {
  sed -n "s/<[^<>]*>: //;s/.*$1//p" "$LOG" | sed -n 1p
}

# `explain <pattern> <message>`: if the log has such a line, fail with the message and what follows the pattern there.
explain() {
  reason=$(after "$1")
  [ -z "$reason" ] || fail "$2: $reason"
}

install_python_packages() {
  command -v "$1" >/dev/null || fail "Python is missing: install Python 3.11 or newer"
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$1" --version) is too old: install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11"
  echo "Installing Python packages into .venv (once)..."
  "$1" -m venv .venv || exit 1
  .venv/bin/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt >"$LOG" 2>&1 && return
  explain "Retry(total=0.*connection broken by " "Cannot reach the Python package index"
  explain "No matching distribution found for " "The Python package index does not have this, which requirements.txt names"
  cat "$LOG"
  fail "The Python packages cannot be installed"
}

install_node_packages() {
  { command -v node && command -v npm; } >/dev/null || fail "Node.js is missing: install Node.js 20 or newer, with npm"
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' ||
    fail "Node.js $(node --version) is too old: install 20 or newer"
  echo "Installing the storage emulator into infra/local/node_modules (once)..."
  npm ci --prefix infra/local --no-audit --no-fund --loglevel=error \
    --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 >"$LOG" 2>&1 && return
  explain "failed, reason: " "Cannot reach the npm registry"
  explain "404  *The requested resource " "The npm registry does not have this, which infra/local/package-lock.json names"
  cat "$LOG"
  fail "The npm packages cannot be installed"
}

case $1 in
  python) install_python_packages "$2" && touch .venv/.ready ;;
  node) install_node_packages && touch infra/local/node_modules/.ready ;;
esac
