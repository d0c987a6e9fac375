//! `lockstep render` beside Kustomize 5.5: the same bytes, the same refusals.
//!
//! A case is a folder of `tests/corpus/kustomize` (recorded from the reference) or `tests/corpus/kustomize-own` (found
//! since): `input/`, the folder below it to build in `build-path`, and what is to be printed in `expected.yaml`. A case
//! without that is one the reference refuses: its words are in `expected-error.txt`, and ours, which the renderer's
//! own tests compare, in `our-error.txt`. Prints what failed and how many passed; a word as argument picks cases.

use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A debug build takes a tenth of a second for the slowest case.
const LONGEST: Duration = Duration::from_mins(1);

/// "Input refused" and "render failed" in the table of exit codes.
const REFUSED: [i32; 2] = [3, 6];

/// Lines shown of both sides where they part.
const SHOWN: usize = 6;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<String> = wanted
        .into_iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let own = run_all(&corpus.join("kustomize-own"), &wanted);
    let shared = run_all(&corpus.join("kustomize"), &wanted);
    let mut text = String::new();
    for failure in own.failures.iter().chain(&shared.failures) {
        text.push_str(failure);
    }
    let (own_failed, failed) = (own.failures.len(), shared.failures.len());
    let own_passed = own.passed;
    text.extend([
        format!("our own cases: {own_passed} passed, {own_failed} failed\n"),
        format!("{} passed, {failed} failed\n", shared.passed),
    ]);
    let printed = std::io::stdout().write_all(text.as_bytes()).is_ok();
    let ran = wanted.len() + own.passed + shared.passed > 0;
    if printed && ran && own_failed + failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Outcome {
    passed: usize,
    failures: Vec<String>,
}

/// Runs the cases of a folder, as many at a time as there are processors.
fn run_all(folder: &Path, wanted: &[String]) -> Outcome {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the corpus is in the repository")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.join("build-path").is_file())
        .filter(|path| wanted.is_empty() || wanted.iter().any(|word| name_of(path).contains(word)))
        .collect();
    cases.sort();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = run(case) {
                        let mut failures = failures.lock().expect("no case panics");
                        failures.push(format!("FAIL {}: {why}\n", name_of(case)));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no case panics");
    failures.sort();
    Outcome {
        passed: cases.len() - failures.len(),
        failures,
    }
}

fn name_of(case: &Path) -> String {
    case.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn run(case: &Path) -> Result<(), String> {
    let below = fs::read_to_string(case.join("build-path")).map_err(|e| e.to_string())?;
    let target = match below.trim() {
        "" | "." => case.join("input"),
        below => case.join("input").join(below),
    };
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["render", "--kustomize"])
        .arg(target)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("it does not start: {e}"))?;
    let (stdout, stderr) = outputs(&mut child)?;
    let status = child.wait().map_err(|e| e.to_string())?;
    let words = String::from_utf8_lossy(&stderr);
    if let Some(signal) = status.signal() {
        return Err(format!("killed by signal {signal}\n{words}"));
    }
    if words.contains("panicked at") {
        return Err(format!("it panicked\n{words}"));
    }
    let code = status.code().unwrap_or(-1);
    let Ok(expected) = fs::read(case.join("expected.yaml")) else {
        return if !REFUSED.contains(&code) {
            Err(format!("exit code {code} is no refusal\n{words}"))
        } else if !stdout.is_empty() || !words.starts_with("error: ") {
            Err(format!("a refusal looks otherwise\n{words}"))
        } else {
            Ok(())
        };
    };
    if code != 0 {
        return Err(format!("exit code {code}\n{words}"));
    }
    if stdout == expected {
        return Ok(());
    }
    Err(difference(&expected, &stdout))
}

/// Standard output and standard error to their end, or the child's end when they take too long.
fn outputs(child: &mut Child) -> Result<(Vec<u8>, Vec<u8>), String> {
    fn read_on(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if from.read_to_end(&mut bytes).is_ok() {
                drop(send.send(bytes));
            }
        });
        receive
    }
    let begun = Instant::now();
    let stdout = read_on(child.stdout.take().expect("it is piped"));
    let stderr = read_on(child.stderr.take().expect("it is piped"));
    let mut wait = |from: &mpsc::Receiver<Vec<u8>>| {
        from.recv_timeout(LONGEST.saturating_sub(begun.elapsed()))
            .map_err(|_| {
                drop(child.kill());
                drop(child.wait());
                format!("no answer in {} s", LONGEST.as_secs())
            })
    };
    Ok((wait(&stdout)?, wait(&stderr)?))
}

/// Both sides from the first line on that differs.
fn difference(expected: &[u8], got: &[u8]) -> String {
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        text.split('\n').map(|line| format!("{line:?}")).collect()
    };
    let (expected, got) = (lines(expected), lines(got));
    let same = expected
        .iter()
        .zip(&got)
        .take_while(|(a, b)| a == b)
        .count();
    let side = |lines: &[String], sign: char| -> String {
        let mut text = String::new();
        for line in lines.iter().skip(same).take(SHOWN) {
            text.extend([format!("  {sign} {line}\n")]);
        }
        text
    };
    format!(
        "the output differs from line {} on\n{}{}",
        same + 1,
        side(&expected, '-'),
        side(&got, '+')
    )
}
