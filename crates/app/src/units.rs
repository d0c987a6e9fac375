//! Durations and sizes as people write them: `60s`, `1h30m`, `10MiB`.

use std::fmt;
use std::time::Duration;

/// A hundred years: longer than any wait that is meant, short enough that adding two cannot overflow.
const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);

/// Reads `300ms`, `60s`, `5m`, `1h30m` and `1.5h`, as Go writes them. None: it is no duration, or longer than a
/// hundred years.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "ns" => Duration::from_nanos(1),
            "us" | "µs" => Duration::from_micros(1),
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        total = total.checked_add(times(number, unit)?)?;
        if total > LONGEST {
            return None;
        }
        rest = tail;
    }
    Some(total)
}

/// A decimal number of units, without going through floating point where the number is whole.
fn times(number: &str, unit: Duration) -> Option<Duration> {
    if let Ok(whole) = number.parse::<u32>() {
        return unit.checked_mul(whole);
    }
    if number.bytes().all(|b| b.is_ascii_digit()) {
        let nanos = number.parse::<u128>().ok()?.checked_mul(unit.as_nanos())?;
        return u64::try_from(nanos).ok().map(Duration::from_nanos);
    }
    let seconds = number.parse::<f64>().ok()? * unit.as_secs_f64();
    Duration::try_from_secs_f64(seconds).ok()
}

/// Writes a duration as [`duration`] reads it, in its largest whole units.
pub fn show_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if nanos != 0 {
        return if nanos % 1_000_000 == 0 {
            format!("{}ms", duration.as_millis())
        } else {
            format!("{}ns", duration.as_nanos())
        };
    }
    let mut text = String::new();
    for (unit, size) in [("h", 3600), ("m", 60), ("s", 1)] {
        let of_larger = match unit {
            "h" => seconds / size,
            "m" => seconds % 3600 / size,
            _ => seconds % 60,
        };
        if of_larger > 0 {
            text.extend([of_larger.to_string().as_str(), unit]);
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The bytes as a length in memory; the largest there is where that is less.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads `512`, `64KiB`, `10MiB`, `1GiB`, and the decimal `kB`, `MB`, `GB`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let s = Duration::from_secs;
        for (text, want) in [
            ("60s", Some(s(60))),
            ("5m", Some(s(300))),
            ("1h30m", Some(s(5400))),
            ("1.5h", Some(s(5400))),
            ("300ms", Some(Duration::from_millis(300))),
            ("0", Some(s(0))),
            ("5", None),
            ("", None),
            ("m", None),
            ("5 m", None),
            ("-5m", None),
            ("99999999999999999999h", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(duration(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_duration_reads_back_what_it_shows() {
        for text in ["5m", "1h30m", "10s", "250ms", "1h1s", "0s"] {
            let read = duration(text).expect("a duration");
            assert_eq!(show_duration(read), text);
        }
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(ByteSize::parse("10MiB"), Some(ByteSize(10 << 20)));
        assert_eq!(ByteSize::parse("1kB"), Some(ByteSize(1000)));
        assert_eq!(ByteSize::parse("512"), Some(ByteSize(512)));
        assert_eq!(ByteSize::parse("10 bananas"), None);
        assert_eq!(ByteSize::parse("99999999999999999999GiB"), None);
        assert_eq!(ByteSize(10 << 20).to_string(), "10MiB");
    }
}
