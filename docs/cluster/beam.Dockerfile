# The image of Beam's workers: the program with Beam and the clients of object stores, and the program by which
# a runner starts workers. The releases of Beam and Python must be those of locks/beam.lock and the Dockerfile.
#
#   docker build --build-arg VARIANT=beam --tag ich-keras:beam .
#   docker build --file docs/cluster/beam.Dockerfile --tag REGISTRY/ich-keras:beam-worker docs/cluster
ARG IMAGE=ich-keras:beam
ARG BEAM=apache/beam_python3.13_sdk:2.77.0

FROM ${BEAM} AS beam

FROM ${IMAGE}
COPY --from=beam /opt/apache/beam /opt/apache/beam
ENTRYPOINT ["/opt/apache/beam/boot"]
