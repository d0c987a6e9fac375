//! A whole tree to the renderer: the kustomization loader and everything that it sets off.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_render_fuzz::{check, unpack};

fuzz_target!(|input: &[u8]| check(&unpack(input)));
