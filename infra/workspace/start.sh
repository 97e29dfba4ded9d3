#!/bin/sh
# Starts a workspace: git's settings, SSH where a key was given, the supervisor, and the editor, which is code-server
# where it is installed, else page.py. Local containers run this script too.
here=$(cd "$(dirname "$0")" && pwd)
cd "${WORKSPACE_DIR:-/workspace}" || exit 1
export WORKSPACE_DIR="$PWD"
umask 022

[ -z "$GIT_USER_NAME" ] || git config --global user.name "$GIT_USER_NAME"
[ -z "$GIT_USER_EMAIL" ] || git config --global user.email "$GIT_USER_EMAIL"
# The token stays in the environment: git asks this line for it, each time.
[ -z "$GITHUB_TOKEN" ] || git config --global credential.https://github.com.helper \
  '!f() { echo username=x-access-token; echo "password=$GITHUB_TOKEN"; }; f'

# Only in the image: a local container shares the machine's programs, and has no user of its own.
if [ -n "$WORKSPACE_SSHD" ] && [ -n "$SSH_PUBLIC_KEY" ]; then
  mkdir -p -m 700 "$HOME/.ssh"
  printf '%s\n' "$SSH_PUBLIC_KEY" >"$HOME/.ssh/authorized_keys"
  [ -f "$HOME/.ssh/host_key" ] || ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/host_key"
  "$WORKSPACE_SSHD" -f /dev/null -h "$HOME/.ssh/host_key" -p 2222 -o PidFile=none -o UsePAM=no \
    -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o "SetEnv=WORKSPACE_DIR=$WORKSPACE_DIR"
fi

python3 "$here/supervisor.py" &

# Without a password nobody gets in.
PASSWORD=${CODE_SERVER_PASSWORD:-$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')}
export PASSWORD
unset CODE_SERVER_PASSWORD
if command -v code-server >/dev/null; then
  exec code-server --auth password --bind-addr "${LOCAL_ADDRESS:-0.0.0.0}:8080" --disable-telemetry \
    --disable-update-check --disable-getting-started-override "$WORKSPACE_DIR"
fi
exec python3 "$here/page.py"
