//! The life of one app, as a state machine that touches nothing.
