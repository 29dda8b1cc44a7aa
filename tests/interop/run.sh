#!/bin/bash
# Adapters and merged models against Hugging Face transformers and peft.
#
#   tests/interop/run.sh ISTHMUS [MODELS]     ISTHMUS: the program; MODELS: a folder of model directories (default ../shared/models)
#
# Exit 0: all agree; 1: something does not; 77: skipped, and the last line says why.
set -u
here=$(cd "$(dirname "$0")" && pwd)
isthmus=${1:?"usage: run.sh ISTHMUS [MODELS]"}
models=${2:-$here/../../../shared/models}
venv=${ISTHMUS_INTEROP_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/isthmus/interop-venv}
python=/usr/bin/python3   # Debian's own: python3-torch is built for it

skip() { echo "interop: skipped: $1"; exit 77; }

[ -x "$isthmus" ] || { echo "interop: expected a program, got $isthmus"; exit 1; }
"$python" -c 'import torch' 2>/dev/null || skip "python3-torch is not installed"
"$python" -c 'import ensurepip' 2>/dev/null || skip "python3-venv is not installed"

# One environment for many runs; it is made anew when the pinned releases change.
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  rm -rf "$venv"
  "$python" -m venv --system-site-packages "$venv" || { echo "interop: the environment could not be made"; exit 1; }
  log=$(mktemp)
  if ! "$venv/bin/pip" install --no-deps --retries 1 --timeout 20 --disable-pip-version-check \
       -r "$here/requirements.txt" >"$log" 2>&1; then
    tail -n 3 "$log"
    unreachable='from versions: none|Connection|Temporary failure|timed out|Network is unreachable'
    grep -Eq "$unreachable" "$log" && { rm -rf "$venv" "$log"; skip "the Python registry does not answer"; }
    rm -rf "$venv" "$log"
    echo "interop: the pinned Python packages could not be installed"
    exit 1
  fi
  rm -f "$log"
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi
# Nothing is ever downloaded: every model is a folder on this machine.
PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false \
  exec "$venv/bin/python" "$here/interop.py" --isthmus "$isthmus" --models "$models"
