//! Digests over canonical bytes: equal values, equal digests, whatever order they were written in.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The first 16 bytes of a SHA-256, as 32 lower-case hex digits: enough to tell contents apart, not a signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(&Sha256::digest(bytes)[..16]))
    }

    /// The digest of a value. `serde_json::Map` is sorted here (`preserve_order` is off, and a test says so), so
    /// the bytes are canonical.
    pub fn of_value(value: &Value) -> Self {
        Self::of(value.to_string().as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_print_sorted_because_preserve_order_is_off() {
        let value: Value = serde_json::from_str(r#"{"b":1,"a":2}"#).expect("json");
        assert_eq!(value.to_string(), r#"{"a":2,"b":1}"#);
    }
}
