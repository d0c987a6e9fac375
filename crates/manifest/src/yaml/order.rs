//! The order in which Go's YAML writer prints the keys of a map.

use std::cmp::Ordering;

/// Compares two keys rune by rune, runs of digits as numbers, letters after everything else.
///
/// Source: `keyList.Less` of yaml.v2. It is **not transitive** (`v10` < `v1beta1` < `v2` < `v10`), and the reference
/// prints such maps in another order from run to run; see [`sorted`].
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.chars(), b.chars());
    for i in 0.. {
        let (x, y) = match (left.next(), right.next()) {
            (Some(x), Some(y)) => (x, y),
            (x, y) => return x.is_some().cmp(&y.is_some()),
        };
        if x == y {
            continue;
        }
        return match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => x.cmp(&y),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
                numbers(&a, &b, i)
            }
        };
    }
    Ordering::Equal
}

/// Neither rune at `i` is a letter: the runs of digits from there, as numbers.
fn numbers(left: &[char], right: &[char], i: usize) -> Ordering {
    let rune = |of: &[char], at: usize| of.get(at).copied().unwrap_or('\0');
    let mut start: i64 = 0;
    if rune(left, i) == '0' || rune(right, i) == '0' {
        for j in (0..i).rev() {
            let digit = rune(left, j);
            if !digit.is_numeric() {
                break;
            }
            if digit != '0' {
                start = 1;
                break;
            }
        }
    }
    let run = |of: &[char]| {
        let mut number = start;
        let mut at = i;
        while rune(of, at).is_numeric() && at < of.len() {
            let digit = i64::from(u32::from(rune(of, at))) - i64::from(u32::from('0'));
            number = number.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        (number, at)
    };
    let ((x, x_end), (y, y_end)) = (run(left), run(right));
    x.cmp(&y)
        .then(x_end.cmp(&y_end))
        .then_with(|| rune(left, i).cmp(&rune(right, i)))
}

/// Sorts by [`compare`] with a fixed algorithm, a merge sort over the byte order of the keys, so that maps for which
/// the comparison has cycles come out the same every time. (The standard library's sort may panic on such.)
pub fn sorted<T>(mut items: Vec<(&str, T)>) -> Vec<(&str, T)> {
    items.sort_by(|a, b| a.0.cmp(b.0));
    // Of letters alone, which most are, the byte order is the one.
    let plain = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphabetic());
    if items.iter().all(|(key, _)| plain(key)) {
        return items;
    }
    let mut runs: Vec<Vec<(&str, T)>> = items.into_iter().map(|item| vec![item]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(left, right),
                None => left,
            });
        }
        runs = merged;
    }
    runs.pop().unwrap_or_default()
}

fn merge<'a, T>(left: Vec<(&'a str, T)>, right: Vec<(&'a str, T)>) -> Vec<(&'a str, T)> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(l), Some(r)) = (left.peek(), right.peek()) {
        let next = if compare(r.0, l.0) == Ordering::Less {
            right.next()
        } else {
            left.next()
        };
        out.extend(next);
    }
    out.extend(left);
    out.extend(right);
    out
}
