# The image of Beam's workers: the program's CPU image, with the program by which a runner starts
# them. Beam's release must be the one in the image (locks/cpu.lock), Python's too.
#
#   docker build --build-arg VARIANT=cpu --tag ich-keras:cpu .
#   docker build --file docs/cluster/beam.Dockerfile --tag REGISTRY/ich-keras:beam docs/cluster
ARG IMAGE=ich-keras:cpu
ARG BEAM=apache/beam_python3.13_sdk:2.77.0

FROM ${BEAM} AS beam

FROM ${IMAGE}
COPY --from=beam /opt/apache/beam /opt/apache/beam
ENTRYPOINT ["/opt/apache/beam/boot"]
