//! Renders a folder and prints what `kustomize build` would: for comparing with it.

use std::io::Write;
use std::process::ExitCode;

use lockstep_app::{Source, SourceType};
use lockstep_render::{Forest, Limits, print_on, render_alone};
use lockstep_tree::Tree;

fn main() -> ExitCode {
    let run = || -> Result<String, Box<dyn std::error::Error>> {
        let folder = std::env::args().nth(1).ok_or("usage: render DIR")?;
        let (tree, path) = Tree::around(std::path::Path::new(&folder))?;
        let source = Source {
            remote: "https://example.com/none".parse()?,
            target: String::new(),
            path: path.as_str().to_owned(),
            kind: SourceType::Kustomize(Box::default()),
        };
        let threads = std::thread::available_parallelism()?.get();
        let forest = Forest::of(tree).on_threads(threads);
        let rendered = render_alone(&source, &forest, &Limits::default())?;
        for warning in &rendered.warnings {
            writeln!(std::io::stderr(), "{warning}")?;
        }
        let text = print_on(&rendered, threads);
        std::mem::forget(rendered);
        Ok(text)
    };
    match run() {
        Ok(text) if std::io::stdout().write_all(text.as_bytes()).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
