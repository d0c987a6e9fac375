//! Instants on the wire.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: RFC 3339, UTC, always three digits of milliseconds, so that texts compare as times do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Timestamp);

impl Time {
    /// The instant itself.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Whole milliseconds from `earlier` to this; none when the clock went backwards between them.
    pub fn millis_since(self, earlier: Self) -> Option<u64> {
        u64::try_from(self.0.as_millisecond() - earlier.0.as_millisecond()).ok()
    }

    /// The clock time, `14:07:41`.
    pub fn clock(self) -> String {
        self.0.strftime("%H:%M:%S").to_string()
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Timestamp::from_str(&text)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_always_has_three_digits_of_milliseconds() {
        let time = Time::from(Timestamp::from_second(1_773_325_841).expect("in range"));
        let text = serde_json::to_string(&time).expect("it is text");
        assert_eq!(text, "\"2026-03-12T14:30:41.000Z\"");
        assert_eq!(
            serde_json::from_str::<Time>(&text).expect("it reads back"),
            time
        );
    }
}
