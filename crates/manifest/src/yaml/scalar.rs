//! What a plain word means to Go's readers, and how Go prints numbers and dates.

use serde_json::Number;

use super::{Dialect, Tag};

/// What an unquoted scalar is.
///
/// Source: `resolve` of yaml.v2 and yaml.v3, in their order: the words, dates, whole numbers in Go's notations,
/// floats, `0b` and `0o`.
pub(super) fn resolve(dialect: Dialect, text: &str) -> Tag {
    let Some(first) = text.bytes().next() else {
        return Tag::Null;
    };
    match first {
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O' => {
            word(dialect, text)
        }
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" => Tag::Float,
            _ if go_float(text).is_some_and(f64::is_finite) => Tag::Float,
            _ => Tag::Text,
        },
        b'+' | b'-' | b'0'..=b'9' => number(dialect, text),
        _ => Tag::Text,
    }
}

fn word(dialect: Dialect, text: &str) -> Tag {
    match text {
        "~" | "null" | "Null" | "NULL" => Tag::Null,
        _ if truth(dialect, text).is_some() => Tag::Bool,
        _ => Tag::Text,
    }
}

/// The truth value a word means.
pub(super) fn truth(dialect: Dialect, text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ if dialect == Dialect::Kustomize => None,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn number(dialect: Dialect, text: &str) -> Tag {
    if matches!(
        text,
        "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
    ) {
        return Tag::Float;
    }
    if date(text).is_some() {
        return if dialect == Dialect::Kustomize {
            Tag::Date
        } else {
            Tag::Text
        };
    }
    let plain = text.replace('_', "");
    if let Some(number) = go_int(&plain) {
        // yaml.v2 callers put numbers into int64, and what does not fit into a float.
        let fits = dialect == Dialect::Kustomize || i64::try_from(number).is_ok();
        return if fits { Tag::Int } else { Tag::Float };
    }
    if is_float(&plain) && go_float(&plain).is_some_and(f64::is_finite) {
        return Tag::Float;
    }
    Tag::Text
}

/// `[-+]? (. digits | digits (. digits?)?) ([eE] [-+]? digits)?`
fn is_float(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let exponent_holds = exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    let mantissa_holds = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", after)) => digits(after),
        Some((before, after)) => digits(before) && (after.is_empty() || digits(after)),
    };
    exponent_holds && mantissa_holds
}

/// A whole number as `strconv.ParseInt(text, 0, 64)` and `ParseUint` read it; underscores are gone already.
pub(super) fn go_int(text: &str) -> Option<i128> {
    let (negative, signed, rest) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let (base, digits) = match rest.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &rest[2..]),
        [b'0', b'b' | b'B', ..] => (2, &rest[2..]),
        [b'0', b'o' | b'O', ..] => (8, &rest[2..]),
        [b'0', _, ..] => (8, &rest[1..]),
        _ => (10, rest),
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let size = i128::from(u64::from_str_radix(digits, base).ok()?);
    let number = if negative { -size } else { size };
    let largest = if signed {
        i128::from(i64::MAX)
    } else {
        i128::from(u64::MAX)
    };
    (i128::from(i64::MIN)..=largest)
        .contains(&number)
        .then_some(number)
}

/// A float as Go reads it, infinities and not-a-number in YAML's spelling.
pub(super) fn go_float(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    match plain.trim_start_matches(['+', '-']) {
        ".inf" | ".Inf" | ".INF" if plain.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    if !is_float(&plain) {
        // A `!!float` on a whole number in one of Go's notations.
        #[expect(clippy::cast_precision_loss, reason = "Go rounds it as well")]
        return go_int(&plain).map(|number| number as f64);
    }
    plain.parse().ok()
}

/// A whole number of 64 bits as JSON.
pub(super) fn json_int(number: i128) -> Option<Number> {
    i64::try_from(number)
        .map(Number::from)
        .or_else(|_| u64::try_from(number).map(Number::from))
        .ok()
}

/// A float as JSON after Go wrote and read it: a whole one that fits 64 bits is a whole number from then on.
pub(super) fn json_number(number: f64) -> Option<Number> {
    if number == 0.0 {
        return Some(Number::from(0));
    }
    if number.fract() == 0.0 && number.abs() < 1e21 {
        // Go writes these with all digits and no exponent, then reads them back.
        if let Some(whole) = format!("{number:.0}")
            .parse::<i128>()
            .ok()
            .and_then(json_int)
        {
            return Some(whole);
        }
    }
    Number::from_f64(number)
}

/// A float in Go's shortest `%g`: an exponent of at least two digits below 1e-4 and from 1e6 (1e21 would be `%v`).
pub(super) fn go_g(number: f64) -> String {
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // With the shortest digits Go decides by 21, but its YAML writer by 6.
    if (-4..6).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// A date or a point in time in one of the four notations of Go's readers, as RFC 3339.
pub(super) fn date(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8
        || !bytes.iter().take(4).all(u8::is_ascii_digit)
        || bytes.get(4) != Some(&b'-')
    {
        return None;
    }
    let year: u32 = text.get(..4)?.parse().ok()?;
    let (month, rest) = short_number(text.get(5..)?)?;
    let (day, rest) = short_number(rest.strip_prefix('-')?)?;
    if !(1..=12).contains(&month) || day == 0 || day > days(year, month) {
        return None;
    }
    let day = format!("{year:04}-{month:02}-{day:02}");
    let Some(separator) = rest.chars().next() else {
        return Some(format!("{day}T00:00:00Z"));
    };
    let zoned = match separator {
        'T' | 't' => true,
        ' ' => false,
        _ => return None,
    };
    let (hour, rest) = short_number(rest.get(1..)?)?;
    let (minute, rest) = short_number(rest.strip_prefix(':')?)?;
    let (second, rest) = short_number(rest.strip_prefix(':')?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix(['.', ',']) {
        Some(after) => {
            let end = after.bytes().take_while(u8::is_ascii_digit).count();
            if end == 0 || end > 9 {
                return None;
            }
            (after[..end].trim_end_matches('0'), &after[end..])
        }
        None => ("", rest),
    };
    let zone = match zone {
        "" if !zoned => "Z",
        "Z" if zoned => "Z",
        zone if zoned && offset_holds(zone) => {
            if zone == "+00:00" {
                "Z"
            } else {
                zone
            }
        }
        _ => return None,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!(
        "{day}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}"
    ))
}

fn offset_holds(zone: &str) -> bool {
    let bytes = zone.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    bytes.len() == 6
        && matches!(bytes.first(), Some(b'+' | b'-'))
        && bytes.get(3) == Some(&b':')
        && [1, 2, 4, 5].into_iter().all(digit)
}

/// One or two digits, and what stands behind them.
fn short_number(text: &str) -> Option<(u32, &str)> {
    let length = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    Some((text.get(..length)?.parse().ok()?, &text[length..]))
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}
