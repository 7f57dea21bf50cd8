#!/usr/bin/env bash
# The one door: sets the environment up, then hands over to asdlib.workbook.cli (--help tells all).
set -euo pipefail
unset CDPATH # with it, cd would print where it went, or go elsewhere
script=${BASH_SOURCE[0]}
while [[ -L $script ]]; do # readlink -f is unknown to older Macs
  folder=$(cd -- "$(dirname -- "$script")" && pwd)
  script=$(readlink -- "$script")
  [[ $script == /* ]] || script=$folder/$script
done
root=$(cd -- "$(dirname -- "$script")" && pwd -P)

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
  command -v "$base" >/dev/null || {
    echo "run_all.sh: $base: no such interpreter. Name Python 3.10 to 3.13 with PYTHON=/path/to/python." >&2
    exit 2
  }
  wanted=$("$base" "$check" fingerprint "$root/requirements.txt") || exit 2 # it has said why
  # Its interpreter may be gone since, after an upgrade of the system: then it does not start.
  if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && "$python" -c "" 2>/dev/null; then
    return
  fi
  local started=$SECONDS
  echo "environment      installing requirements.txt into .venv (once; a few minutes) ..." >&2
  rm -f "$stamp"
  local clear=
  "$python" -c "" 2>/dev/null || clear=--clear
  "$base" -m venv $clear "$root/.venv"
  "$python" -m pip install --quiet --disable-pip-version-check -r "$root/requirements.txt"
  # Editors that open a notebook with this environment find asdlib without run_all.sh.
  echo "$root" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/asdlib.pth"
  echo "$wanted" >"$stamp"
  echo "environment      done in $((SECONDS - started)) s" >&2
}

choose_python
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m asdlib.workbook.cli "$@"
