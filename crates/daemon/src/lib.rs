//! The daemon: runs effects, serves HTTP, keeps its tasks alive.
