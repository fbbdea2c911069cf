# The image of audit-relay: the program, the four libraries it needs, certificates. docs/image.md tells how to
# build it, what is in it, and why.
#
#   docker build -t audit-relay .

# With a digest, where builds must be the same for ever: --build-arg RUST_IMAGE=...rust@sha256:...
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-bookworm

# hadolint ignore=DL3029
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS tools
RUN cargo install --locked --root /opt/tools cargo-auditable --version 0.7.7 && \
    cargo install --locked --root /opt/tools cargo-cyclonedx --version 0.5.9

# hadolint ignore=DL3029
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS builder
ARG TARGETARCH=amd64
ENV PATH=/opt/tools/bin:$PATH

# Which target, which linker, where its libraries are. Only arm64 is ever another machine than the builder.
# hadolint ignore=DL3008
RUN set -eu; \
    case "$TARGETARCH" in \
    amd64) machine=x86_64 ;; \
    arm64) machine=aarch64 ;; \
    *) echo "there is no image for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    libraries=/lib/$machine-linux-gnu variables=; \
    set -- libc6 libgcc-s1; \
    if [ "$TARGETARCH" != "$(dpkg --print-architecture)" ]; then \
        [ "$TARGETARCH" = arm64 ] || { echo "build for $TARGETARCH on such a machine" >&2; exit 1; }; \
        apt-get update; \
        apt-get install -y --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross; \
        rm -rf /var/lib/apt/lists/*; \
        rustup target add aarch64-unknown-linux-gnu; \
        libraries=/usr/aarch64-linux-gnu/lib; \
        set -- libc6-arm64-cross libgcc-s1-arm64-cross; \
        variables="export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc"; \
    fi; \
    printf '%s\n' "machine=$machine" "target=$machine-unknown-linux-gnu" "libraries=$libraries" \
        "$variables" >/opt/target; \
    printf '%s\n' "$@" ca-certificates base-files >/opt/packages

# All but the program: it changes seldom, and is a layer of its own.
# hadolint ignore=SC2154
RUN set -eu; . /opt/target; \
    mkdir -p "/base/lib/$machine-linux-gnu" /base/etc/ssl/certs /base/etc/audit-relay/secrets /base/var/lib/dpkg/status.d; \
    cp -L "$libraries/libc.so.6" "$libraries/libm.so.6" "$libraries/libgcc_s.so.1" "/base/lib/$machine-linux-gnu/"; \
    case "$machine" in x86_64) loader=/lib64/ld-linux-x86-64.so.2 ;; *) loader=/lib/ld-linux-aarch64.so.1 ;; esac; \
    mkdir -p "/base$(dirname "$loader")"; \
    cp -L "$libraries/$(basename "$loader")" "/base$loader"; \
    cp -L /etc/ssl/certs/ca-certificates.crt /base/etc/ssl/certs/; \
    cp -L /etc/os-release /base/etc/os-release; \
    echo 'hosts: files dns' >/base/etc/nsswitch.conf; \
    printf '%s\n' 'root:x:0:0:root:/:/nologin' 'nonroot:x:65532:65532:nonroot:/var/lib/audit-relay:/nologin' >/base/etc/passwd; \
    printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >/base/etc/group; \
    while read -r package; do \
        dpkg-query --status "$package" >"/base/var/lib/dpkg/status.d/$package"; \
        mkdir -p "/base/usr/share/doc/$package"; \
        cp -L "/usr/share/doc/$package/copyright" "/base/usr/share/doc/$package/"; \
    done </opt/packages; \
    install -d -o 65532 -g 65532 -m 1777 /base/var/lib/audit-relay

COPY --from=tools /opt/tools /opt/tools
WORKDIR /src
COPY . .

# Of SQLite's modules none that indexes texts or places is used. Unwind tables would only serve a debugger.
ENV CARGO_TARGET_DIR=/target \
    LIBSQLITE3_FLAGS="-USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS5 -USQLITE_ENABLE_RTREE" \
    RUSTFLAGS="-C force-unwind-tables=no -C link-arg=-Wl,-z,pack-relative-relocs"
# The sources are touched, since a cache may be newer than they are. Each library that the program names must be there.
# hadolint ignore=SC2154
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/target,sharing=locked \
    set -eu; . /opt/target; \
    touch src/lib.rs src/main.rs; \
    cargo auditable build --locked --profile image --target "$target" --bin audit-relay; \
    install -D -m 0755 "/target/$target/image/audit-relay" /program/usr/local/bin/audit-relay; \
    cargo cyclonedx --format json --target "$target" --override-filename audit-relay.cdx; \
    install -D -m 0644 audit-relay.cdx.json /program/usr/share/sbom/audit-relay.cdx.json; \
    install -D -m 0644 LICENSE /program/usr/share/doc/audit-relay/copyright; \
    readelf -d /program/usr/local/bin/audit-relay >/opt/dynamic; \
    sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' /opt/dynamic >/opt/needed; \
    while read -r library; do \
        test -n "$(find /base/lib* -name "$library")" || { echo "$library is not in the image" >&2; exit 1; }; \
    done </opt/needed

# The list of all crates alone: docker build --target sbom --output .
FROM scratch AS sbom
COPY --from=builder /program/usr/share/sbom/ /

FROM scratch
COPY --from=builder /base/ /
COPY --from=builder /program/ /
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="audit-relay" \
      org.opencontainers.image.description="A dependable relay for the audit events of the Flipt feature-flag server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
ENV PATH=/usr/local/bin
USER 65532:65532
# Health and metrics; pushes of Flipt, where a source listens there.
EXPOSE 9464 8787
ENTRYPOINT ["/usr/local/bin/audit-relay"]
CMD ["run"]
