# Two images from scratch: `docker build --target node .` and `--target operator`.
# `make image` builds the same targets without a Docker engine or a registry: it hands
# binaries built beforehand to buildah in place of the stage "build".
FROM rust:1.95 AS build
WORKDIR /src
COPY . .
# .cargo/config.toml makes the binaries static; target/ is laid out by target triple
RUN cargo build --release --locked -p raftery-node -p raftery-operator \
 && mkdir -p /out/data \
 && for b in raftery-node raftery-operator; do strip -o /out/$b target/*/release/$b; done

FROM scratch AS operator
LABEL org.opencontainers.image.title="raftery-operator" \
      org.opencontainers.image.description="Kubernetes operator for RaftCluster resources" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0755 /out/raftery-operator /raftery-operator
USER 65532:65532
ENTRYPOINT ["/raftery-operator"]

FROM scratch AS node
LABEL org.opencontainers.image.title="raftery-node" \
      org.opencontainers.image.description="Member of an etcd-compatible Raft cluster" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0755 /out/raftery-node /raftery-node
COPY --from=build --chown=65532:65532 /out/data /var/lib/raftery
USER 65532:65532
# clients, peers, probes and metrics, admin
EXPOSE 2379 2380 2381 2382
VOLUME /var/lib/raftery
ENTRYPOINT ["/raftery-node"]
