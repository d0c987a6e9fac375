//! Any bytes to the YAML reader, in both dialects; what it reads must be writable, and mean the same when read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_manifest::yaml::{Dialect, Limits, print_value, read, read_objects};
use serde_json::Value;

/// The reference's writer breaks lines at these characters, and its reader then takes them for something else. Ours
/// prints what the reference prints.
const LOSSY: [char; 4] = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];

fn is_lossy(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(LOSSY),
        Value::Array(items) => items.iter().any(is_lossy),
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| key.contains(LOSSY) || is_lossy(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The same, but for whole numbers that kubectl's reader takes for floats, as they do not fit 64 bits with a sign.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let pair =
                |((k, a), (l, b)): ((&String, &Value), (&String, &Value))| k == l && same(a, b);
            a.len() == b.len() && a.iter().zip(b).all(pair)
        }
        (a, b) => a == b,
    }
}

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    for dialect in [Dialect::Kubectl, Dialect::Kustomize] {
        let Ok(documents) = read(input, dialect, "input", &limits) else {
            continue;
        };
        for document in &documents {
            for leaf in document.places().leaves() {
                let place = leaf.last().expect("a leaf was written somewhere");
                assert!(place.line > 0 && place.column > 0, "places count from 1");
            }
            let Ok(value) = document.to_value() else {
                continue;
            };
            let printed = print_value(&value);
            if is_lossy(&value) {
                continue;
            }
            // Written with all aliases in place it may be longer or deeper in lines than what may be read.
            let Ok(again) = read(printed.as_bytes(), Dialect::Kubectl, "printed", &limits) else {
                continue;
            };
            let again = again.first().and_then(|node| node.to_value().ok());
            assert!(
                same(&again.unwrap_or_default(), &value),
                "what is written means what was read:\n{printed}"
            );
        }
    }
    let _ = read_objects(input, "input", &limits);
});
