# mitosieve in a container, for grand-challenge.org (MIDOG) and for machines without Python. Research use, not for diagnosis.
#
#   docker build -t mitosieve .
#   docker run --rm --network none --memory 16g --shm-size 1g \
#     -v CASE:/input:ro -v RESULT:/output -v DETECTOR:/opt/ml/model:ro mitosieve
#
# CASE holds images/histopathology-roi-cropout/IMAGE.tif (and inputs.json), RESULT gets mitotic-figures.json (and must be
# writable for user 10001), DETECTOR is a detector folder or a run. To upload one image with its detector inside:
#   FROM mitosieve
#   COPY --chown=0:0 RUN/detector /opt/ml/model
# Options follow the image's name: --model default takes the package's own detector, with nothing mounted (read its card
# first: mitosieve models default; its weights are for non-commercial research); --mpp 0.25 states the resolution of an image that states none.
#
# The network is needed to build, never to run. Versions are those of constraints.txt. The package index's torch brings
# CUDA; for an image of a third of the size name the index of CPU builds that pytorch.org's installation page gives:
#   docker build --build-arg TORCH_INDEX=INDEX -t mitosieve .

FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=
ENV PIP_CONSTRAINT=/build/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/mitosieve \
 && /opt/mitosieve/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX" --no-deps} torch \
 && /opt/mitosieve/bin/pip install .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/mitosieve /opt/mitosieve
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin mitosieve \
 && mkdir -p /input /output /opt/ml/model \
 && chown mitosieve /output
# Compiled functions and fonts are kept below the temporary folder: the user has no home, and / may be read-only.
ENV PATH=/opt/mitosieve/bin:$PATH HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /tmp
ENTRYPOINT ["mitosieve", "container"]
