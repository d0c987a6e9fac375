# One static binary and the certificates of public authorities; no shell, no package manager, no other program.
# Build: docker build --tag lockstep:0.1.0 .
FROM rust:1.95-slim-trixie AS build
# ring and mimalloc have some C in them.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc musl-tools
RUN rustup target add x86_64-unknown-linux-musl
WORKDIR /src
COPY . .
RUN CC_x86_64_unknown_linux_musl=musl-gcc \
    cargo build --locked --release --package lockstep --target x86_64-unknown-linux-musl
# Git objects go here; in Kubernetes an emptyDir is mounted over it.
RUN install --directory --owner=65532 --group=65532 /cache

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /cache /cache
COPY --from=build /src/target/x86_64-unknown-linux-musl/release/lockstep /lockstep
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/lockstep"]
CMD ["serve", "--config=/etc/lockstep/lockstep.yaml", "--cache=/cache"]
