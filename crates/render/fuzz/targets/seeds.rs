//! Makes the first inputs of the three targets from the corpus: `seeds CORPUS_DIR SEEDS_DIR`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_render_fuzz::pack;

/// libFuzzer cuts inputs to the longest seed, and goes slower the longer they are.
const LONGEST: usize = 16 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(corpus), Some(seeds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seeds CORPUS_DIR SEEDS_DIR".into());
    };
    for target in ["yaml", "tree", "merge"] {
        fs::create_dir_all(seeds.join(target))?;
    }
    for case in sorted(&corpus)? {
        if case.join("input").is_dir() {
            seed(&case, &seeds)?;
        }
    }
    Ok(())
}

/// One case: its tree, each file, and each object with each patch that the case has.
fn seed(case: &Path, seeds: &Path) -> Result<(), Box<dyn Error>> {
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    let below = fs::read_to_string(case.join("build-path"))?;
    let build = below.trim().trim_start_matches("./").trim_matches('.');
    let input = case.join("input");
    let mut files = Vec::new();
    collect(&input, &mut files)?;
    let mut named = Vec::new();
    for file in &files {
        let path = file.strip_prefix(&input)?.to_string_lossy().into_owned();
        named.push((path, fs::read(file)?));
    }
    // The target builds the root, so a case that is built elsewhere gets a root that names it.
    let root = format!("resources: [{build}]\n");
    let mut tree: Vec<(&str, &[u8])> = named
        .iter()
        .map(|(path, body)| (path.as_str(), body.as_slice()))
        .collect();
    if !build.is_empty() {
        tree.push(("kustomization.yaml", root.as_bytes()));
    }
    write(seeds, "tree", &name, &pack(tree.iter().copied()))?;
    for (at, (_, body)) in tree.iter().enumerate() {
        write(seeds, "yaml", &format!("{name}-{at}"), body)?;
    }
    let is_patch = |path: &str| path.contains("patch");
    let is_schema = |path: &str| path.ends_with(".json") && path.contains("schema");
    let schema = tree.iter().find(|(path, _)| is_schema(path)).copied();
    let patches = tree.iter().filter(|(path, _)| is_patch(path));
    for (at, patch) in patches.enumerate() {
        for (other, object) in tree.iter().enumerate() {
            if !is_patch(object.0) && !object.0.ends_with("kustomization.yaml") {
                let parts = [*object, *patch].into_iter().chain(schema);
                write(
                    seeds,
                    "merge",
                    &format!("{name}-{at}-{other}"),
                    &pack(parts),
                )?;
            }
        }
    }
    Ok(())
}

fn write(seeds: &Path, target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.len() > LONGEST {
        return Ok(());
    }
    fs::write(seeds.join(target).join(name), bytes)
}

fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for path in sorted(folder)? {
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
