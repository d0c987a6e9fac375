//! What only a real control plane can show, the layers, the demo, the benchmarks.
