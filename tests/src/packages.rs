//! The packages that this workspace is built from, as cargo resolves them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::controlplane::workspace;

/// One package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence as an SPDX expression.
    pub license: String,
    /// Where it comes from; none for our own.
    pub source: Option<String>,
    /// What it says of itself.
    pub description: String,
    /// Its Cargo.toml.
    pub manifest_path: String,
    /// What it needs: the package's id, and whether for its own tests only.
    pub needs: Vec<Need>,
}

/// An edge of the graph.
#[derive(Clone, Debug)]
pub struct Need {
    /// The id of the package that is needed.
    pub id: String,
    /// Only for tests?
    pub only_tests: bool,
}

/// All packages by cargo's id, on this machine's platform, with the features of a build of the whole workspace.
#[derive(Clone, Debug)]
pub struct Packages {
    by_id: BTreeMap<String, Package>,
    ours: Vec<String>,
}

impl Packages {
    /// Asks cargo, without network.
    pub fn read() -> Result<Self> {
        let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .arg("-vV")
            .output()
            .context("rustc cannot be run")?;
        let about = String::from_utf8(rustc.stdout)?;
        let host = about
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc names no host")?;
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "metadata",
                "--offline",
                "--locked",
                "--format-version",
                "1",
                "--filter-platform",
                host,
            ])
            .current_dir(workspace())
            .output()
            .context("cargo cannot be run")?;
        if !output.status.success() {
            bail!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Self::of(&serde_json::from_slice(&output.stdout)?)
    }

    /// Reads what `cargo metadata` prints.
    ///
    /// Its graph holds optional packages that no feature asks for (a weak `name?/feature` is enough), so each edge to
    /// an optional package is kept only where a feature that is on names it.
    fn of(metadata: &Value) -> Result<Self> {
        let text =
            |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let mut declared = BTreeMap::new();
        for package in list(&metadata["packages"]) {
            declared.insert(text(package, "id"), package);
        }
        let mut by_id = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let id = text(node, "id");
            let package = declared
                .get(&id)
                .copied()
                .context("a node without its package")?;
            let needs = list(&node["deps"]).filter_map(|edge| {
                let to = text(edge, "pkg");
                let name = declared.get(&to).map(|package| text(package, "name"))?;
                let only_tests = list(&edge["dep_kinds"]).all(|kind| kind["kind"] == "dev");
                is_on(package, node, &name).then_some(Need { id: to, only_tests })
            });
            let package = Package {
                name: text(package, "name"),
                version: text(package, "version"),
                license: text(package, "license"),
                source: package["source"].as_str().map(str::to_owned),
                description: text(package, "description"),
                manifest_path: text(package, "manifest_path"),
                needs: needs.collect(),
            };
            by_id.insert(id, package);
        }
        let ours = list(&metadata["workspace_members"])
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        Ok(Self { by_id, ours })
    }

    /// Our own.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.ours.iter().filter_map(|id| self.by_id.get(id))
    }

    /// The package with this id.
    pub fn get(&self, id: &str) -> Option<&Package> {
        self.by_id.get(id)
    }

    /// Everything that these need, themselves included; what only their tests need counts with `tests`.
    pub fn tree<'a>(
        &'a self,
        roots: impl IntoIterator<Item = &'a Package>,
        tests: bool,
    ) -> Vec<&'a Package> {
        let mut waiting: Vec<&Package> = roots.into_iter().collect();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        while let Some(package) = waiting.pop() {
            if seen.insert((&package.name, &package.version)) {
                found.push(package);
                let needs = package
                    .needs
                    .iter()
                    .filter(|need| tests || !need.only_tests);
                waiting.extend(needs.filter_map(|need| self.get(&need.id)));
            }
        }
        found
    }

    /// Everything that is built anywhere in this workspace, tests included.
    pub fn all(&self) -> Vec<&Package> {
        self.tree(self.ours(), true)
    }
}

/// Is the dependency of this name not optional, or asked for by a feature that is on?
fn is_on(package: &Value, node: &Value, name: &str) -> bool {
    let declared: Vec<&Value> = list(&package["dependencies"])
        .filter(|one| one["name"] == name)
        .collect();
    if declared.is_empty() || declared.iter().any(|one| one["optional"] == false) {
        return true;
    }
    let on: Vec<&str> = list(&node["features"]).filter_map(Value::as_str).collect();
    declared.iter().any(|one| {
        let called = one["rename"].as_str().unwrap_or(name);
        let asks = |asked: &str| {
            asked == called
                || asked.strip_prefix("dep:") == Some(called)
                || asked
                    .split_once('/')
                    .is_some_and(|(package, _)| package == called)
        };
        on.contains(&called)
            || on.iter().any(|feature| {
                list(&package["features"][feature])
                    .filter_map(Value::as_str)
                    .any(asks)
            })
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
