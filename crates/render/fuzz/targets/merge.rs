//! An object and a patch to the strategic merge: two files, and a third with a schema of its own when it is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_render_fuzz::{check, unpack};

const BY_NAME: &[u8] = b"resources: [object.yaml]\npatches: [{path: patch.yaml}]\n";
const BY_TARGET: &[u8] =
    b"resources: [object.yaml]\npatches: [{path: patch.yaml, target: {kind: .*}}]\n";
const WITH_SCHEMA: &[u8] =
    b"resources: [object.yaml]\nopenapi: {path: schema.json}\npatches: [{path: patch.yaml}]\n";

fuzz_target!(|input: &[u8]| {
    let parts: Vec<&[u8]> = unpack(input).into_iter().map(|(_, body)| body).collect();
    let (Some(object), Some(patch)) = (parts.first(), parts.get(1)) else {
        return;
    };
    let mut files = vec![("object.yaml", *object), ("patch.yaml", *patch)];
    for kustomization in [BY_NAME, BY_TARGET] {
        files.push(("kustomization.yaml", kustomization));
        check(&files);
        files.pop();
    }
    if let Some(schema) = parts.get(2) {
        files.extend([
            ("schema.json", *schema),
            ("kustomization.yaml", WITH_SCHEMA),
        ]);
        check(&files);
    }
});
