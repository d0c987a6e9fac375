//! One Kubernetes API server: observe, watch, claim, apply, delete.
