//! The REST contract, as plain wire types.
