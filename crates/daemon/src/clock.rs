//! The one place where the daemon asks what time it is (S12).

/// Now, to the nanosecond, as the operating system has it.
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
