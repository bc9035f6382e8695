# The program with its locked environment.
#
#   docker build --tag ich-keras .
#   docker build --tag ich-keras:cpu --build-arg VARIANT=cpu .
#   docker build --tag ich-keras:beam --build-arg VARIANT=beam .
#   docker run --gpus all -v DATA:/data -v RUNS:/runs ich-keras fit halfres.yaml
#
# docs/guides/container.md says more. TensorFlow's wheels bring the CUDA libraries, so that the host needs
# the driver and the NVIDIA Container Toolkit only.

# Any image with Python 3.11 to 3.13 and its module venv.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
# gpu, cpu, or beam for the workers of Apache Beam.
ARG VARIANT=gpu
RUN python3 -m venv /opt/ich-keras
ENV PATH=/opt/ich-keras/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# Before the program: this layer is gigabytes, and changes with the versions only.
COPY locks/${VARIANT}.lock requirements.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --only-binary :all: --require-hashes -r requirements.lock
# Headers and libclang, of no use without a compiler, and the packages' own tests: half a gigabyte.
RUN find /opt/ich-keras -type d \( -path '*/tensorflow/include' -o -path '*/site-packages/clang' \
    -o -path '*/onnx/backend/test' -o -name tests \) -prune -exec rm -r {} +
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY experiments experiments
COPY tfrecords_tools tfrecords_tools
COPY ich_keras ich_keras
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist .

FROM ${BASE_IMAGE}
# Of who owns what the program writes; `docker run --user` takes any other.
ARG UID=1000
ARG GID=1000
RUN groupadd --non-unique --gid "${GID}" ich \
    && useradd --non-unique --uid "${UID}" --gid "${GID}" --create-home ich \
    && install --directory --owner "${UID}" --group "${GID}" /data /runs
COPY --from=build /opt/ich-keras /opt/ich-keras
RUN --mount=type=bind,from=build,source=/build/dist,target=/dist \
    /opt/ich-keras/bin/pip install --no-deps --no-index --no-cache-dir /dist/*.whl

# Where a command looks when it is told nothing, and caches that any user may write.
ENV PATH=/opt/ich-keras/bin:$PATH \
    ICH_DATA=/data/rsna-ich \
    ICH_SHARDS=/data/shards \
    ICH_RUNS=/runs \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG VERSION=1.0.0
# The commit, which a run notes: there is no checkout here to ask.
ARG REVISION=
ENV ICH_COMMIT=${REVISION}
LABEL org.opencontainers.image.title="ich-keras" \
      org.opencontainers.image.description="Detection of intracranial hemorrhage on head CT slices; for research, not for diagnosis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

USER ${UID}:${GID}
WORKDIR /runs
VOLUME ["/data", "/runs"]
# As Ctrl-C: what was finished stays, and the same command goes on. Process 1 would not hear SIGTERM.
STOPSIGNAL SIGINT
ENTRYPOINT ["ich-keras"]
