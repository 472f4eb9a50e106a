# The server as a container image, for CPUs (the last stage, so the default) and for GPUs (--target cuda):
#
#   docker build -t spatial-mamba-server .
#   docker run --rm -p 8001:8001 --read-only spatial-mamba-server
#
# `make image-check` replays this file without a container engine. Pin the bases by digest where your registry gives one:
# --build-arg BUILD_IMAGE=debian@sha256:... --build-arg RUNTIME_IMAGE=debian@sha256:...
ARG BUILD_IMAGE=debian:12
ARG RUNTIME_IMAGE=debian:12-slim

# Compilers and libraries, in layers that only a change of the set-up makes anew.
FROM ${BUILD_IMAGE} AS tools
ENV SPATIALMAMBA_DEPS=/opt/dependencies
WORKDIR /source
COPY deploy/setup deploy/setup
RUN deploy/setup/install.sh build
COPY . .

FROM tools AS build-cpu
RUN cmake --preset release -DSPATIALMAMBA_TESTS=OFF -DSPATIALMAMBA_CUDA=OFF \
    && cmake --build --preset release \
    && cmake --install build/release --prefix /opt/spatial-mamba --strip

# Needs no GPU and no driver: those come with the machine that runs the image. The run time of CUDA is linked statically.
FROM tools AS build-cuda
RUN deploy/setup/install.sh cuda \
    && cmake --preset release -DSPATIALMAMBA_TESTS=OFF -DSPATIALMAMBA_CUDA=ON \
    && cmake --build --preset release \
    && cmake --install build/release --prefix /opt/spatial-mamba --strip

# Nothing but glibc comes from this base: the installed tree holds every other library.
FROM ${RUNTIME_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="spatial-mamba-server" \
      org.opencontainers.image.description="gRPC inference server for Spatial-Mamba vision models: classify, detect, segment" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
# By number, so that Kubernetes' runAsNonRoot can check it; no such name is needed.
USER 10001:10001
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/spatial-mamba/bin/spatial-mamba-server"]
CMD ["--config", "/opt/spatial-mamba/share/spatial-mamba/config.yaml"]
# For engines that look at it; Kubernetes asks the admin port instead. The start is the longest part: models are warmed up.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/opt/spatial-mamba/bin/spatial-mamba-cli", "--deadline", "4s", "health"]

FROM runtime AS cuda
# What the NVIDIA container toolkit is to bring in from the machine.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/spatial-mamba /opt/spatial-mamba

FROM runtime AS cpu
COPY --from=build-cpu /opt/spatial-mamba /opt/spatial-mamba
