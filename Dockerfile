# syntax=docker/dockerfile:1
# One static binary and nothing else. `make image` passes the build arguments.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .ci/static .ci/static
COPY benches benches
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cp "$(.ci/static)" /directway

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="directway" \
      org.opencontainers.image.description="LVS direct routing for Kubernetes, declared and reconciled" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /directway /directway
# The agent's capabilities are effective for uid 0 only; the chart runs the controller as another user.
USER 0:0
ENTRYPOINT ["/directway"]
