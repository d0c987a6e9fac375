//! A length of time, as people write it.

use std::str::FromStr;
use std::time::Duration;

/// `90s`, `10m`, `1h30m`; a bare number is seconds, as in Argo CD's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

/// The text is no length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write it as 90s, 10m or 1h30m, up to a week")]
pub(crate) struct NotAPeriod;

/// Whoever waits longer than this has forgotten that they wait.
const LONGEST: Duration = Duration::from_hours(7 * 24);

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut seconds: u64 = 0;
        let mut number: Option<u64> = None;
        for c in text.trim().chars() {
            if let Some(digit) = c.to_digit(10) {
                let so_far = number.unwrap_or(0).checked_mul(10).ok_or(NotAPeriod)?;
                number = Some(so_far.checked_add(u64::from(digit)).ok_or(NotAPeriod)?);
                continue;
            }
            let unit = match c {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                _ => return Err(NotAPeriod),
            };
            let amount = number.take().ok_or(NotAPeriod)?;
            let part = amount.checked_mul(unit).ok_or(NotAPeriod)?;
            seconds = seconds.checked_add(part).ok_or(NotAPeriod)?;
        }
        match number {
            // Digits without a unit are seconds when nothing came before them: `1h30` is ambiguous.
            Some(bare) if seconds == 0 => seconds = bare,
            Some(_) => return Err(NotAPeriod),
            None if text.trim().is_empty() => return Err(NotAPeriod),
            None => {}
        }
        let period = Duration::from_secs(seconds);
        if period > LONGEST {
            Err(NotAPeriod)
        } else {
            Ok(Self(period))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_read_as_people_write_it() {
        let seconds = |text: &str| text.parse::<Period>().map(|period| period.0.as_secs()).ok();
        assert_eq!(seconds("10m"), Some(600));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("90"), Some(90));
        for wrong in ["", "s", "10x", "1h30", "-1s", "99999999999999999999s", "8d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
