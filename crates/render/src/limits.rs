//! What rendering one source may cost.

use lockstep_manifest::yaml;

/// Bounds on one rendering; each error names the bound and the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files read together, a file read twice counted twice.
    pub total_bytes: usize,
    /// Values of all resource files and kustomizations together, counted like bytes; each takes some 200 bytes of memory.
    pub values: usize,
    /// Bytes of all manifests of a plain directory together; Argo CD's own default.
    pub directory_bytes: usize,
    /// Objects.
    pub resources: usize,
    /// Files of a plain directory, and folders of bases and components, counted as often as they are built.
    pub folders: usize,
    /// Bases inside each other.
    pub nesting: usize,
    /// Other repositories that one source's kustomizations name, those that these name counted in.
    pub bases: usize,
    /// Bytes of a compiled regular expression.
    pub regex_bytes: usize,
    /// Bytes that patches, generators and aliases may make of what was read.
    pub made_bytes: usize,
    /// What one YAML text may cost.
    pub yaml: yaml::Limits,
}

impl Default for Limits {
    /// The largest real overlays known have 4,000 objects, 60 folders and 30 MB.
    fn default() -> Self {
        Self {
            total_bytes: 128 << 20,
            values: 4_000_000,
            directory_bytes: 10 << 20,
            resources: 20_000,
            folders: 20_000,
            nesting: 60,
            bases: 32,
            regex_bytes: 1 << 20,
            made_bytes: 256 << 20,
            yaml: yaml::Limits::default(),
        }
    }
}
