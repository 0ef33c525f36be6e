#!/usr/bin/env bash
# Make one virtual environment per peer in .peers/ (not in git), with the
# torch version of our own environment. Run it from the root of the repository.
set -euo pipefail

python=${PYTHON:-.venv/bin/python}
torch=$("$python" -c 'import torch; print(torch.__version__.split("+")[0])')
numpy=$("$python" -c 'import numpy; print(numpy.__version__)')

install() { # NAME PACKAGES...: one environment with exactly these direct requirements
    local folder=.peers/$1
    shift
    "$python" -m venv --clear "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        "torch==$torch" "numpy==$numpy" "$@"
    "$folder/bin/python" -m pip check
    "$folder/bin/python" -m pip freeze >"$folder/versions.txt"
}

install torch-world torch-world==0.2.0
# torchvision follows torch: 0.28 belongs to 2.13, 0.29 to 2.14.
# It imports cv2 and imageio, which only its extras "env" and "format" ask for.
install stable-worldmodel stable-worldmodel==0.1.1 torchvision opencv-python-headless imageio
