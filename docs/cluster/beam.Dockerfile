# The image of Beam's workers: the CPU image, with the program by which a runner starts workers.
# The releases of Beam and Python must be those of the CPU image (see its lock file).
#
#   docker build --build-arg VARIANT=cpu --tag ich-keras:cpu .
#   docker build --file docs/cluster/beam.Dockerfile --tag REGISTRY/ich-keras:beam docs/cluster
ARG IMAGE=ich-keras:cpu
ARG BEAM=apache/beam_python3.13_sdk:2.77.0

FROM ${BEAM} AS beam

FROM ${IMAGE}
COPY --from=beam /opt/apache/beam /opt/apache/beam
ENTRYPOINT ["/opt/apache/beam/boot"]
