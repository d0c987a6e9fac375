//! A read-only snapshot of files at a revision.
