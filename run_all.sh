#!/usr/bin/env bash
# The one door: sets the environment up, then hands over to asdlib.workbook.cli (--help tells all).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The help needs no environment.
for word in "$@"; do
  if [[ $word == --help || $word == -h ]]; then
    exec cat "$root/asdlib/workbook/help.txt"
  fi
done

check="$root/asdlib/workbook/environment.py" # standard library only: it runs before anything is installed

choose_python() { # sets $python to an interpreter whose environment satisfies the requirements
  if [[ -n ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} ]] && command -v python >/dev/null \
    && python "$check" satisfied "$root/requirements.txt"; then
    python=$(command -v python)
    return
  fi
  python=$root/.venv/bin/python
  local stamp=$root/.venv/.requirements base=${PYTHON:-python3}
  local wanted
  wanted=$("$base" "$check" fingerprint "$root/requirements.txt") || {
    echo "run_all.sh: $base: expected Python 3.10 or newer. Name one with PYTHON=/path/to/python." >&2
    exit 2
  }
  if [[ -x $python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    return
  fi
  local started=$SECONDS
  echo "environment      installing requirements.txt into .venv (once; a few minutes) ..." >&2
  rm -f "$stamp"
  "$base" -m venv "$root/.venv"
  "$python" -m pip install --quiet --disable-pip-version-check -r "$root/requirements.txt"
  # Editors that open a notebook with this environment find asdlib without run_all.sh.
  echo "$root" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/asdlib.pth"
  echo "$wanted" >"$stamp"
  echo "environment      done in $((SECONDS - started)) s" >&2
}

choose_python
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m asdlib.workbook.cli "$@"
