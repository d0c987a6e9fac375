//! Part e: rendering, beside the reference: whole processes, their peak memory, and many overlays of one base.
//!
//! The reference is `kustomize` or, without it, `kubectl kustomize`; without either its lines are left out. Both sides
//! must print the same bytes, or nothing is measured.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lockstep_app::{Source, SourceType};
use lockstep_render::{Forest, Limits, Parsed, render_alone};
use lockstep_tree::Tree;
use serde_json::json;

use super::cost::usage;
use super::report::{Goal, Report, Times};
use super::{overlays, say};
use crate::controlplane::workspace;

/// Objects of the overlays, and how often ours and the reference build each. The reference takes minutes for the last.
const SIZES: [(usize, usize, usize); 4] =
    [(10, 40, 10), (200, 40, 5), (1_000, 20, 3), (4_000, 10, 1)];

/// From here on the reference is asked only when the flag `--all yes` says so.
const LARGE: usize = 4_000;

/// Overlays of one base, and the objects of that base.
const OVERLAYS: (usize, usize) = (500, 20);

/// A pipe takes this much before a writer has to wait.
const PIPE: usize = 64 << 10;

/// A process is waiting for its pipe when it took no processor time for so long.
const STILL: Duration = Duration::from_millis(200);

/// Measures the renderer.
pub fn measure(all: bool, report: &mut Report) -> Result<()> {
    let ours = Program {
        path: crate::daemon::binary()?,
        arguments: vec!["render", "--kustomize"],
    };
    let reference = reference();
    if let Some(reference) = &reference {
        let version = Command::new(&reference.path).arg("version").output();
        let version = version.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
        report.fact(
            "reference",
            json!({"program": reference.path, "version": version.unwrap_or_default()}),
        );
    } else {
        say("neither kustomize nor kubectl is on PATH: only ours is measured");
    }
    let folder = tempfile::tempdir()?;
    let case = workspace().join("tests/corpus/kustomize/repo-shop-dev");
    let below = fs::read_to_string(case.join("build-path"))?;
    compare(
        "repo-shop-dev",
        &case.join("input").join(below.trim()),
        &ours,
        reference.as_ref(),
        (40, 10),
        report,
    )?;
    let mut per_object = Vec::new();
    for (objects, often, seldom) in SIZES {
        let root = folder.path().join(format!("of-{objects}"));
        write(&root, overlays::overlay(objects))?;
        let asked = reference.as_ref().filter(|_| objects < LARGE || all);
        let times = compare(
            &format!("{objects} objects"),
            &root.join("overlay"),
            &ours,
            asked,
            (often, seldom),
            report,
        )?;
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        per_object.push(times.share(0.0) / objects as f64);
    }
    // The fastest of each: what else the machine does meets the longer one more often.
    if let [.., thousand, four] = per_object.as_slice() {
        report.one(
            'e',
            "4,000: time per object / that of 1,000",
            "",
            four / thousand,
            Goal::AtMost(1.15),
        );
    }
    many(report)
}

struct Program {
    path: PathBuf,
    arguments: Vec<&'static str>,
}

fn reference() -> Option<Program> {
    let path = std::env::var_os("PATH")?;
    let find = |name: &str| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    let kustomize = find("kustomize").map(|path| (path, "build"));
    let (path, verb) = kustomize.or_else(|| Some((find("kubectl")?, "kustomize")))?;
    Some(Program {
        path,
        arguments: vec![verb],
    })
}

/// Builds one folder with both; returns our times.
fn compare(
    what: &str,
    folder: &Path,
    ours: &Program,
    reference: Option<&Program>,
    (often, seldom): (usize, usize),
    report: &mut Report,
) -> Result<Times> {
    say(&format!("rendering: {what}"));
    let (mut our_times, mut their_times) = (Times::default(), Times::default());
    let text = ours.run(folder, &mut our_times)?;
    if let Some(reference) = reference {
        let other = reference.run(folder, &mut their_times)?;
        ensure!(text == other, "{what}: the reference prints something else");
    }
    // One after the other, so that a change of the machine's pace meets both.
    for round in 1..often {
        ours.run(folder, &mut our_times)?;
        if let Some(reference) = reference.filter(|_| round < seldom) {
            reference.run(folder, &mut their_times)?;
        }
    }
    let our_peak = ours.peak(folder)?;
    report.times('e', &format!("{what}: lockstep"), &our_times, Goal::None);
    let mib = |kib: u64| Duration::from_secs(kib).as_secs_f64() / 1024.0;
    let Some(reference) = reference else {
        report.one('e', "  peak memory", "MiB", mib(our_peak), Goal::None);
        return Ok(our_times);
    };
    let their_peak = reference.peak(folder)?;
    report.times('e', &format!("{what}: reference"), &their_times, Goal::None);
    let ratio = their_times.median() / our_times.median();
    let goal = match what {
        "1000 objects" | "4000 objects" => Goal::AtLeast(100.0),
        "10 objects" => Goal::AtLeast(10.0),
        _ => Goal::None,
    };
    report.one('e', "  times faster", "", ratio, goal);
    report.one(
        'e',
        "  peak memory",
        "MiB",
        mib(our_peak),
        Goal::AtMost(mib(their_peak).floor()),
    );
    report.one('e', "  the reference's", "MiB", mib(their_peak), Goal::None);
    Ok(our_times)
}

impl Program {
    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).arg(folder);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs it to its end; what it printed.
    fn run(&self, folder: &Path, times: &mut Times) -> Result<Vec<u8>> {
        let begun = Instant::now();
        let output = self.command(folder).output()?;
        times.add(begun.elapsed());
        if !output.status.success() {
            bail!("{} fails: {}", self.path.display(), output.status);
        }
        Ok(output.stdout)
    }

    /// The most memory it ever had, in KiB.
    ///
    /// A process that has ended has no memory left to ask for. So it gets a pipe that is full: when it has rendered
    /// and wants to print, it waits, and can be asked.
    fn peak(&self, folder: &Path) -> Result<u64> {
        let (mut reader, mut writer) = std::io::pipe()?;
        writer.write_all(&vec![0; PIPE])?;
        let mut child = self.command(folder).stdout(writer).spawn()?;
        let peak = at_rest(&mut child);
        // The command above is gone, and with it the last writer on our side.
        let drained = std::io::copy(&mut reader.by_ref(), &mut std::io::sink());
        child.wait()?;
        drained?;
        peak
    }
}

/// The peak of a process once it does nothing any more.
fn at_rest(child: &mut Child) -> Result<u64> {
    let mut last = (usage(child.id())?.cpu, Instant::now());
    let mut peak = 0;
    loop {
        let now = usage(child.id())?;
        peak = peak.max(now.peak);
        if (now.cpu - last.0).abs() > f64::EPSILON {
            last = (now.cpu, Instant::now());
        } else if last.1.elapsed() > STILL && now.cpu > 0.0 || last.1.elapsed() > 10 * STILL {
            return Ok(peak);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn write(root: &Path, files: overlays::Files) -> Result<()> {
    for (path, text) in files {
        let file = root.join(path);
        let folder = file.parent().context("every file lies in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(file, text)?;
    }
    Ok(())
}

/// Many overlays of one base, on all processors, as the daemon does it after a commit that changes the base.
fn many(report: &mut Report) -> Result<()> {
    let (overlays, objects) = OVERLAYS;
    say(&format!("rendering: {overlays} overlays of one base"));
    let files = overlays::many(overlays, objects);
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let sources = (0..overlays)
        .map(|at| {
            Ok(Source {
                remote: "https://git.example.com/shop".parse()?,
                target: String::new(),
                path: format!("o{at}"),
                kind: SourceType::Kustomize(Box::default()),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    for (what, bytes) in [
        ("sharing what was read", Parsed::BYTES),
        ("each by itself", 0),
    ] {
        let mut rates = Vec::new();
        for _ in 0..5 {
            let tree = Tree::from_files(files.iter().copied());
            let forest = Forest::of(tree).sharing(Arc::new(Parsed::new(bytes)));
            let next = AtomicUsize::new(0);
            let rendered = AtomicUsize::new(0);
            let workers = std::thread::available_parallelism()?.get();
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|| {
                        while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let result = render_alone(source, &forest, &Limits::default());
                            let count = result.map_or(0, |rendered| rendered.manifests.len());
                            rendered.fetch_add(count, Ordering::Relaxed);
                        }
                    });
                }
            });
            let took = begun.elapsed();
            ensure!(
                rendered.into_inner() == overlays * (objects + 1),
                "every overlay renders"
            );
            #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
            rates.push(overlays as f64 / took.as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN);
        report.one(
            'e',
            &format!("{overlays} overlays, {what}"),
            "1/s",
            median,
            Goal::None,
        );
    }
    Ok(())
}
