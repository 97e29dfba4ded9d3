#!/bin/sh
# Installs what the commands of the Makefile need, and says in one line why that fails:
#   setup.sh python <python>    into .venv
#   setup.sh node               into infra/local/node_modules
#   setup.sh ide                into infra/local/ide/node_modules

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

# `npm_ci <folder> <options>`: install what the lock file of the folder names.
npm_ci() {
  folder=$1
  shift
  npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error \
    --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 "$@" >"$LOG" 2>&1 && return
  explain "failed, reason: " "Cannot reach the npm registry"
  explain "404  *The requested resource " "The npm registry does not have this, which $folder/package-lock.json names"
  cat "$LOG"
  fail "The npm packages cannot be installed"
}

install_node_packages() {
  { command -v node && command -v npm; } >/dev/null || fail "Node.js is missing: install Node.js 20 or newer, with npm"
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' ||
    fail "Node.js $(node --version) is too old: install 20 or newer"
  echo "Installing the storage emulator into infra/local/node_modules (once)..."
  npm_ci infra/local
}

# `build <folder> <command>`: build the module of code-server in this folder.
build() {
  (cd "$1" && shift && node "$@") >"$LOG" 2>&1 && return
  tail -n 20 "$LOG"
  fail "A module of code-server cannot be built: $1"
}

# code-server is a program for one version of Node.js, with modules in C++. Its own script would download built ones and
# other programs from servers that no lock file names; here they are built, and search in files uses the system's ripgrep.
install_ide() {
  node -e 'process.exit(parseInt(process.versions.node) === 20 ? 0 : 1)' ||
    fail "code-server 4.100.3 needs Node.js 20, and this is $(node --version)"
  for program in c++ make python3; do
    command -v "$program" >/dev/null || fail "$program is missing: code-server has modules in C++ that are built here"
  done
  npm_config_nodedir=$(node -p 'require("path").resolve(process.execPath, "../..")')
  export npm_config_nodedir
  [ -f "$npm_config_nodedir/include/node/node.h" ] ||
    fail "The headers of Node.js are missing: $npm_config_nodedir/include/node/node.h"
  echo "Installing code-server into infra/local/ide (once, some two minutes, 500 MB)..."
  npm_ci infra/local/ide --ignore-scripts --omit=dev
  modules=$PWD/infra/local/ide/node_modules
  vscode=$modules/code-server/lib/vscode
  for folder in "$vscode" "$vscode/extensions"; do
    npm_ci "$folder" --ignore-scripts --omit=dev --legacy-peer-deps
  done
  gyp=$(npm exec --offline -c 'echo "$npm_config_node_gyp"')
  for name in node-pty @vscode/spdlog native-watchdog; do
    build "$vscode/node_modules/$name" "$gyp" rebuild
  done
  build "$modules/argon2" ../@mapbox/node-pre-gyp/bin/node-pre-gyp rebuild --build-from-source
  case $(uname) in Darwin) system=darwin ;; *) system=linux ;; esac
  ln -sfn node_modules "$vscode/node_modules.asar"
  ln -sfn "code-$system.sh" "$vscode/bin/remote-cli/code-server"
  ln -sfn "browser-$system.sh" "$vscode/bin/helpers/browser.sh"
  ripgrep=$vscode/node_modules/@vscode/ripgrep/bin
  mkdir -p "$ripgrep"
  ! command -v rg >/dev/null || ln -sfn "$(command -v rg)" "$ripgrep/rg"
}

case $1 in
  python) install_python_packages "$2" && touch .venv/.ready ;;
  node) install_node_packages && touch infra/local/node_modules/.ready ;;
  ide) install_ide && touch infra/local/ide/node_modules/.ready ;;
esac
