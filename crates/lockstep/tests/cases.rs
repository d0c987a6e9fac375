//! The command line as its user meets it: scripted answers of a daemon in, standard output, standard error and exit
//! code out. `BLESS=1` rewrites what is expected; the diff is then to be read like code.
//!
//! A case is a file under `tests/cases`. Lines before the first `---` are its script: `$` the command, `@` a variable,
//! `>` an answer (method, path, status, file of `tests/answers`), taken in order, the last one again and again.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files: Vec<PathBuf> = fs::read_dir(here.join("cases"))
        .expect("there are cases")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    let trials = files
        .into_iter()
        .map(|path| {
            let name = path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().replace('-', " "));
            let here = here.clone();
            Trial::test(name, move || run(&path, &here))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One case.
struct Script {
    text: String,
    command: Vec<String>,
    variables: Vec<(String, String)>,
    answers: Answers,
}

/// Answers by method and path: status and body.
type Answers = BTreeMap<String, VecDeque<(u16, String)>>;

fn read(path: &Path, here: &Path) -> (Script, String) {
    let whole = fs::read_to_string(path).expect("the case can be read");
    let (text, want) = whole.split_once("---\n").unwrap_or((&whole, ""));
    let mut script = Script {
        text: text.to_owned(),
        command: Vec::new(),
        variables: Vec::new(),
        answers: Answers::new(),
    };
    for line in text.lines() {
        let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
        match sign {
            "$" => script.command = rest.split_whitespace().map(str::to_owned).collect(),
            "@" => {
                let (name, value) = rest.split_once('=').expect("NAME=VALUE");
                script.variables.push((name.to_owned(), value.to_owned()));
            }
            ">" => {
                let mut words = rest.split_whitespace();
                let mut word = || words.next().expect("method, path, status, file").to_owned();
                let key = format!("{} {}", word(), word());
                let status = word().parse().expect("a status");
                let file = here.join("answers").join(word());
                let body =
                    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                script
                    .answers
                    .entry(key)
                    .or_default()
                    .push_back((status, body));
            }
            _ => {}
        }
    }
    (script, want.to_owned())
}

fn run(path: &Path, here: &Path) -> Result<(), Failed> {
    let (script, want) = read(path, here);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let answers = Arc::new(Mutex::new(script.answers));
    let streams = Arc::new(Mutex::new(Vec::new()));
    // It ends with the process: a listener that is never closed is the test's whole life.
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (answers, streams) = (Arc::clone(&answers), Arc::clone(&streams));
            std::thread::spawn(move || serve(connection, &answers, &streams));
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(&script.command)
        .current_dir(here)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("LOCKSTEP_SERVER", &address)
        .envs(script.variables)
        .stdin(Stdio::null())
        .output()?;
    // Files are named from the top of their repository, or, where there is none, of the file system.
    let tops = [
        format!("{}/", here.display())
            .trim_start_matches('/')
            .to_owned(),
        "crates/lockstep/tests/".to_owned(),
    ];
    let text = |bytes: &[u8]| {
        let said = String::from_utf8_lossy(bytes).replace(&address, "SERVER");
        tops.iter().fold(said, |said, top| said.replace(top, ""))
    };
    let exit = output
        .status
        .code()
        .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let got = format!(
        "exit {exit}\n--- stdout\n{}--- stderr\n{}",
        timeless(&text(&output.stdout)),
        timeless(&text(&output.stderr))
    );
    if got == want {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, format!("{}---\n{got}", script.text))?;
        return Ok(());
    }
    Err(format!("BLESS=1 accepts this. Wanted:\n{want}\nGot:\n{got}").into())
}

/// Progress carries how long things took here, which is another time at each run.
fn timeless(text: &str) -> String {
    let line = |line: &str| {
        let measured =
            |last: &str| last.ends_with('s') && last.starts_with(|c: char| c.is_ascii_digit());
        let own = line.starts_with("healthy  ")
            || line.contains(" matches git")
            || line.contains(" is healthy at");
        match line.rsplit_once(' ') {
            Some((before, last)) if own && measured(last) => {
                format!("{} TIME\n", before.trim_end())
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

fn serve(
    mut connection: TcpStream,
    answers: &Mutex<Answers>,
    streams: &Mutex<Vec<TcpStream>>,
) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    reader
        .take(length)
        .read_to_string(&mut String::new())
        .ok()?;
    let mut words = first.split_whitespace();
    let key = format!("{} {}", words.next()?, words.next()?);
    if key == "GET /api/v1/stream" {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nevent: hello\n\n";
        connection.write_all(head.as_bytes()).ok()?;
        streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        return Some(());
    }
    let (status, body) = {
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.get_mut(&key) {
            Some(queue) if queue.len() > 1 => queue.pop_front()?,
            Some(queue) => queue.front()?.clone(),
            None => (404, format!("{{\"unscripted\":\"{key}\"}}")),
        }
    };
    let answer = format!(
        "HTTP/1.1 {status} X\r\nDate: Thu, 12 Mar 2026 14:31:58 GMT\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(answer.as_bytes()).ok()?;
    // Whoever has read one answer waits for the doorbell before asking again.
    for stream in streams
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter_mut()
    {
        let _gone = stream.write_all(b"event: app\ndata: {}\n\n");
    }
    Some(())
}
