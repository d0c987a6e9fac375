//! Git remotes, fetched into trees.
