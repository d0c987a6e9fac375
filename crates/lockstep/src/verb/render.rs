//! `lockstep render`: what a directory renders to, without a server, a cluster or a network.

mod provenance;

use lockstep_app::Fault;
use lockstep_app::app::{Directory, Source, SourceType};
use lockstep_render::{Forest, Limits, print_on, render_alone};
use lockstep_tree::Tree;

use crate::cli::{Output, RenderArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Rendering asks nobody, so whose files they are is of no account; an app has to have a repository all the same.
const NOWHERE: &str = "https://nowhere.invalid";

/// Prints the objects that a directory renders to, by the code that the daemon runs.
pub(super) fn run(args: &RenderArgs, screen: &Screen) -> Result<Exit, Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let directory = args.directory.display().to_string();
    let (tree, folder) = Tree::around(&args.directory).map_err(|error| {
        Failure::new(
            Exit::Invalid,
            format!("{directory} can't be read"),
            "name a directory that is there",
        )
        .why(error.to_string())
    })?;
    let plain = args.recurse || !args.include.is_empty() || !args.exclude.is_empty();
    let source = Source {
        remote: NOWHERE.parse().map_err(|_| {
            Failure::new(
                Exit::Unexpected,
                "a fixed address is none",
                "report it: this is a bug",
            )
        })?,
        target: String::new(),
        path: folder.as_str().to_owned(),
        kind: if args.kustomize {
            SourceType::Kustomize(Box::default())
        } else if plain {
            SourceType::Directory(Directory {
                recurse: args.recurse,
                include: args.include.clone(),
                exclude: args.exclude.clone(),
            })
        } else {
            SourceType::Detect
        },
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let forest = Forest::of(tree).on_threads(threads);
    let rendered = render_alone(&source, &forest, &Limits::default())
        .map_err(|error| failure(&directory, &error.fault()))?;
    for warning in &rendered.warnings {
        screen.err(&format!("warning: {warning}\n"));
    }
    if rendered.manifests.is_empty() {
        screen.err(&format!("warning: {directory} renders to nothing\n"));
    }
    match (args.output, args.provenance) {
        (Output::Text, false) => screen.raw(&print_on(&rendered, threads)),
        (Output::Text, true) => screen.raw(&provenance::text(&rendered, screen.arrow_back())),
        (Output::Json, false) => screen.raw(&format!("{}\n", provenance::list(&rendered))),
        (Output::Json, true) => screen.raw(&format!("{}\n", provenance::table(&rendered))),
    }
    // The process ends now. To give every value back before would take a tenth of its time.
    std::mem::forget(rendered);
    Ok(Exit::Yes)
}

fn failure(directory: &str, fault: &Fault) -> Failure {
    let next = fault
        .hint
        .as_deref()
        .unwrap_or("mend the file, then run it again");
    Failure::new(
        Exit::SyncFailed,
        format!("{directory} can't be rendered"),
        next,
    )
    .why(&fault.message)
}
