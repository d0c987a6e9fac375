//! A source tree into manifests: plain, kustomize.
