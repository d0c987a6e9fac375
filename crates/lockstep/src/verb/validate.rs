//! `lockstep validate`: every error of configuration and Application files at once, each with its place.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use lockstep_app::config::{self, Config};
use lockstep_manifest::yaml;

use crate::cli::ValidateArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// What a configuration is called, in whatever folder it stands.
const FILE_NAME: &str = "lockstep.yaml";

/// The file that is checked when none is named.
const CONFIGURATION: &str = "config/lockstep.yaml";

/// A file of Applications of this size is another file.
const LARGEST: u64 = 16 << 20;

/// How deep folders are looked into.
const DEEPEST: usize = 32;

/// What a file is.
enum Written {
    Configuration(Vec<u8>),
    Applications(Vec<u8>),
}

/// Checks files. A configuration among them says which environments there are, and which folders are checked with it.
pub(super) fn run(args: &ValidateArgs, screen: &Screen) -> Result<Exit, Failure> {
    let mut named = args.files.clone();
    if named.is_empty() {
        if !Path::new(CONFIGURATION).is_file() {
            return Err(Failure::new(
                Exit::Usage,
                "there is nothing to check",
                "name files or directories: lockstep validate config/lockstep.yaml apps",
            )
            .why(format!("{CONFIGURATION} is not here")));
        }
        named.push(CONFIGURATION.into());
    }
    let mut files = BTreeSet::new();
    for path in &named {
        collect(path, 0, &mut files)?;
    }

    let mut findings = Vec::new();
    let mut checked = 0_usize;
    let mut environments = None;
    let mut applications = Vec::new();
    for path in &files {
        match read(path, named.contains(path))? {
            None => {}
            Some(Written::Applications(text)) => applications.push((path.clone(), text)),
            Some(Written::Configuration(text)) => {
                checked += 1;
                match config::parse(&text, &path.display().to_string()) {
                    Ok(Config {
                        environments: found,
                        applications: folders,
                        ..
                    }) => {
                        environments.get_or_insert(found);
                        let mut below = BTreeSet::new();
                        for folder in folders.iter().filter(|folder| folder.exists()) {
                            collect(folder, 0, &mut below)?;
                        }
                        for path in below.difference(&files) {
                            if let Some(Written::Applications(text)) = read(path, false)? {
                                applications.push((path.clone(), text));
                            }
                        }
                    }
                    Err(errors) => {
                        findings.extend(errors.iter().map(|e| line(e, e.hint.as_deref())));
                    }
                }
            }
        }
    }
    for (path, text) in &applications {
        checked += 1;
        let problems =
            config::validate_applications(text, &path.display().to_string(), environments.as_ref());
        findings.extend(
            problems
                .iter()
                .map(|problem| line(problem, problem.hint.as_deref())),
        );
    }
    report(&findings, checked, screen)
}

fn report(findings: &[String], checked: usize, screen: &Screen) -> Result<Exit, Failure> {
    let files = if checked == 1 {
        "1 file".to_owned()
    } else {
        format!("{checked} files")
    };
    if findings.is_empty() {
        screen.out(&format!("{files} checked, nothing wrong\n"));
        return Ok(Exit::Yes);
    }
    screen.out(&findings.concat());
    let errors = if findings.len() == 1 {
        "1 mistake".to_owned()
    } else {
        format!("{} mistakes", findings.len())
    };
    Err(Failure::new(
        Exit::Invalid,
        format!("{errors} in {files}"),
        "mend the lines above, then run it again",
    ))
}

fn line(error: &dyn std::fmt::Display, hint: Option<&str>) -> String {
    let said = lockstep_api::text::plain(&error.to_string());
    match hint {
        Some(hint) => format!("{said}\n  next   {}\n", lockstep_api::text::plain(hint)),
        None => format!("{said}\n"),
    }
}

/// The YAML and JSON files at and below a path. Hidden ones and links to folders are passed over.
fn collect(path: &Path, depth: usize, into: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    let about = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !about.is_dir() {
        into.insert(path.to_owned());
        return Ok(());
    }
    if depth >= DEEPEST {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let entry = entry.map_err(|error| unreadable(path, &error))?;
        let kind = entry
            .file_type()
            .map_err(|error| unreadable(path, &error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let yaml = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end));
        if !name.starts_with('.') && (kind.is_dir() || (kind.is_file() && yaml)) {
            collect(&entry.path(), depth + 1, into)?;
        }
    }
    Ok(())
}

/// Reads a file and says what it is. One that nobody named is passed over unless it has an Application in it, or the
/// name of a configuration.
fn read(path: &Path, named: bool) -> Result<Option<Written>, Failure> {
    let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut text = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(|error| unreadable(path, &error))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(Failure::new(
            Exit::Invalid,
            format!("{} has more than 16 MiB", path.display()),
            "split it, or leave it out",
        ));
    }
    let about_apps = text.windows(12).any(|part| part == b"argoproj.io/");
    if about_apps {
        return Ok(Some(Written::Applications(text)));
    }
    if !named && path.file_name().is_none_or(|name| name != FILE_NAME) {
        return Ok(None);
    }
    // What is no Kubernetes object is a configuration.
    let object =
        yaml::document(&text, "").is_ok_and(|document| document.value.get("apiVersion").is_some());
    Ok(if object {
        None
    } else {
        Some(Written::Configuration(text))
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Invalid,
        format!("{} can't be read", path.display()),
        "check the path and its rights",
    )
    .why(error.to_string())
}
