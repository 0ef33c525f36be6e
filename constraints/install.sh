#!/usr/bin/env bash
# Make .venv with the tested versions; called by `make install` from the root of the repository.
set -euo pipefail

python=${PYTHON:-python3}

fail() {
    echo "make install: $*" >&2
    exit 2
}

command -v "$python" >/dev/null || fail "no $python here; choose one by PYTHON=python3.12"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
3.11 | 3.12 | 3.13) ;;
*) fail "$python is Python $version, needed is 3.11, 3.12 or 3.13; choose one by PYTHON=python3.12" ;;
esac

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian keeps venv in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq "python$version-venv"
    else
        fail "$python cannot make virtual environments; install its venv package" \
            "(Debian, Ubuntu: sudo apt-get install python$version-venv)"
    fi
fi

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    "$python" -m venv --clear .venv
fi
echo "Installing into .venv (about a minute) ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints/cpu.txt --editable '.[dev,cma,data,encoders,hub,metaworld,minari,mujoco,nevergrad,pusht,rerun,serve,sweep,zarr]'
# Of the extra `loggers` those that take the pinned pillow: trackio wants an earlier one.
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints/cpu.txt tensorboard wandb
.venv/bin/python -m pip check

# PointMaze and Metaworld draw by OpenGL; without it all else works and their tests are skipped.
if [ "$(uname)" = Linux ] && ! .venv/bin/python -c 'from mujoco.egl import GLContext; GLContext(16, 16)' 2>/dev/null; then
    libraries="libegl1 libgl1 libgl1-mesa-dri libosmesa6"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086
        apt-get update -qq && apt-get install -y -qq --no-install-recommends $libraries >/dev/null ||
            echo "make install: OpenGL could not be installed; MuJoCo's pictures need it" >&2
    else
        echo "make install: MuJoCo's pictures need OpenGL (sudo apt-get install $libraries)" >&2
    fi
fi
