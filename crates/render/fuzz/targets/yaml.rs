//! Any bytes to the YAML reader, in both dialects; what it reads must be writable, and mean the same when read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_manifest::yaml::{Dialect, Limits, print_value, read, read_objects};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    for dialect in [Dialect::Kubectl, Dialect::Kustomize] {
        let Ok(documents) = read(input, dialect, "input", &limits) else {
            continue;
        };
        for document in &documents {
            let places = document.places();
            assert!(
                places
                    .iter()
                    .all(|(_, place)| place.line > 0 && place.column > 0),
                "places count from 1"
            );
            let Ok(value) = document.to_value() else {
                continue;
            };
            let printed = print_value(&value);
            // Written with all aliases in place it may be longer or deeper in lines than what may be read.
            let Ok(again) = read(printed.as_bytes(), Dialect::Kubectl, "printed", &limits) else {
                continue;
            };
            let again = again.first().and_then(|node| node.to_value().ok());
            assert_eq!(
                again.unwrap_or_default(),
                value,
                "what is written means what was read:\n{printed}"
            );
        }
    }
    let _ = read_objects(input, "input", &limits);
});
