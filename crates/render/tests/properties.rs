//! Rendering is a pure function of a tree: the same tree gives the same bytes and the same list of paths looked at,
//! whatever order folders are listed in, on however many threads, and whatever was rendered before.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;
use lockstep_app::{Source, SourceType};
use lockstep_render::{Forest, Limits, Parsed, print_on, render_alone};
use lockstep_tree::{BlobError, Blobs, Entry, EntryKind, ObjectHash, RelPath, Tree};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

type Files = BTreeMap<String, Vec<u8>>;

/// A tree and the folder of it to build.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    files: Files,
    path: String,
}

/// Every case of the corpus that is a tree of files.
fn corpus() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
        let mut cases = Vec::new();
        for group in ["kustomize", "kustomize-own"] {
            for entry in fs::read_dir(corpus.join(group)).expect("the corpus is there") {
                let folder = entry.expect("readable").path();
                let Ok(path) = fs::read_to_string(folder.join("build-path")) else {
                    continue;
                };
                let mut files = Files::new();
                collect(&folder.join("input"), "", &mut files);
                cases.push(Case {
                    name: folder.display().to_string(),
                    files,
                    path: path.trim().trim_start_matches("./").to_owned(),
                });
            }
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    })
}

fn collect(folder: &Path, below: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{below}{name}");
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
}

/// A path in parts, and contents.
type Split<'f> = (Vec<&'f str>, &'f [u8]);

/// Files from memory whose folders are listed in an order of their own.
struct Shuffled {
    files: HashMap<ObjectHash, Bytes>,
    folders: HashMap<ObjectHash, Vec<Entry>>,
}

impl Blobs for Shuffled {
    fn blob(&self, hash: &ObjectHash, limit: usize) -> Result<Bytes, BlobError> {
        let bytes = self.files.get(hash).ok_or(BlobError::Missing(*hash))?;
        if bytes.len() > limit {
            let size = bytes.len() as u64;
            return Err(BlobError::TooLarge { size, limit });
        }
        Ok(bytes.clone())
    }

    fn folder(&self, hash: &ObjectHash) -> Result<Vec<Entry>, BlobError> {
        let found = self.folders.get(hash).cloned();
        found.ok_or(BlobError::Missing(*hash))
    }
}

fn hash(kind: &str, text: &[u8]) -> ObjectHash {
    let hash = Sha256::new().chain_update(kind).chain_update(text);
    <[u8; 32]>::from(hash.finalize()).into()
}

impl Shuffled {
    fn tree(files: &Files, seed: u64) -> Tree {
        let mut shuffled = Self {
            files: HashMap::new(),
            folders: HashMap::new(),
        };
        let files = files
            .iter()
            .map(|(path, text)| (path.split('/').collect(), text.as_slice()));
        let root = shuffled.add(&files.collect::<Vec<_>>(), seed);
        Tree::new(root, Arc::new(shuffled))
    }

    fn add(&mut self, files: &[Split<'_>], seed: u64) -> ObjectHash {
        let mut inside: BTreeMap<&str, Vec<Split<'_>>> = BTreeMap::new();
        for (path, text) in files {
            let (first, rest) = path.split_first().expect("a name");
            inside.entry(first).or_default().push((rest.to_vec(), text));
        }
        let mut entries = Vec::new();
        for (name, files) in inside {
            let file = files.iter().find(|(rest, _)| rest.is_empty());
            let (kind, hash) = match file {
                Some((_, text)) => {
                    let hash = hash("file", text);
                    self.files.insert(hash, Bytes::copy_from_slice(text));
                    (EntryKind::File, hash)
                }
                None => (EntryKind::Folder, self.add(&files, seed)),
            };
            let name = name.to_owned();
            entries.push(Entry { name, kind, hash });
        }
        let listing: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
        let own = hash("folder", listing.join("\n").as_bytes());
        // Sorted by a digest that has the seed in it: any order, and the same one for the same seed.
        entries.sort_by_key(|entry| hash(&seed.to_string(), entry.name.as_bytes()));
        self.folders.insert(own, entries);
        own
    }
}

/// Everything that is to be the same: bytes, paths, warnings, places; or the error's code, words and place.
type Outcome = Result<(String, Vec<RelPath>, Vec<String>, String), String>;

fn outcome(case: &Case, tree: &Tree, parsed: &Arc<Parsed>) -> Outcome {
    outcome_on(1, case, tree, parsed)
}

fn outcome_on(threads: usize, case: &Case, tree: &Tree, parsed: &Arc<Parsed>) -> Outcome {
    let source = Source {
        remote: "https://git.example.com/shop".parse().expect("an address"),
        target: String::new(),
        path: case.path.clone(),
        kind: SourceType::Kustomize(Box::default()),
    };
    let forest = Forest::of(tree.clone())
        .sharing(Arc::clone(parsed))
        .on_threads(threads);
    match render_alone(&source, &forest, &Limits::default()) {
        Ok(rendered) => {
            let manifests = rendered.manifests.iter();
            let leaves = manifests.flat_map(|manifest| manifest.places().leaves());
            let places: Vec<_> = leaves.map(|leaf| (leaf.pointer, leaf.places)).collect();
            Ok((
                print_on(&rendered, threads),
                rendered.read.iter().cloned().collect(),
                rendered.warnings,
                format!("{places:?}"),
            ))
        }
        Err(error) => Err(format!("{:?}", error.fault())),
    }
}

fn plain(case: &Case) -> Outcome {
    let files = case.files.iter();
    let tree = Tree::from_contents(files.map(|(path, text)| (path.as_str(), text.as_slice())));
    outcome(case, &tree, &Arc::new(Parsed::new(0)))
}

fn a_case() -> impl Strategy<Value = Case> {
    let known = (0..corpus().len()).prop_map(|at| corpus()[at].clone());
    prop_oneof![2 => known, 1 => made()]
}

/// A base and an overlay with any of what overlays do, in any order, some of it wrong.
fn made() -> impl Strategy<Value = Case> {
    let object = prop_oneof![
        Just("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {k: v, name: NAME}\n"),
        Just(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME}\nspec: {replicas: 1, template: {spec: \
             {containers: [{name: c, image: 'img:1', envFrom: [{configMapRef: {name: o0}}]}]}}}\n"
        ),
        Just(
            "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\nspec: {ports: [{port: 80}, {port: 81}]}\n"
        ),
    ];
    let step = prop_oneof![
        Just("namePrefix: a-\n"),
        Just("nameSuffix: -z\n"),
        Just("namespace: shop\n"),
        Just("labels: [{pairs: {team: shop, on: '1'}, includeSelectors: true}]\n"),
        Just("commonAnnotations: {b: '2', a: '1'}\n"),
        Just("images: [{name: img, newTag: '2'}]\n"),
        Just("replicas: [{name: o0, count: 3}]\n"),
        Just(
            "configMapGenerator: [{name: g, literals: [b=2, a=1]}, {name: o1, behavior: merge, literals: [x=y]}]\n"
        ),
        Just("secretGenerator: [{name: s, literals: [p=q]}]\n"),
        Just(
            "patches: [{target: {kind: Deployment}, patch: '[{\"op\": \"add\", \"path\": \"/spec/paused\", \"value\": true}]'}]\n"
        ),
        Just(
            "replacements: [{source: {name: o0, fieldPath: metadata.name}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.name], options: {create: true}}]}]\n"
        ),
        Just("sortOptions: {order: fifo}\n"),
        Just("buildMetadata: [originAnnotations, transformerAnnotations]\n"),
    ];
    let objects = proptest::collection::vec(object, 1..12);
    let steps = proptest::collection::btree_set(step, 0..8);
    let below = proptest::bool::ANY;
    (objects, steps, below).prop_map(|(objects, steps, below)| {
        let mut files = Files::new();
        let mut names = Vec::new();
        for (at, object) in objects.iter().enumerate() {
            let name = format!("part-{at}.yaml");
            let text = object.replace("NAME", &format!("o{at}"));
            files.insert(format!("base/{name}"), text.into_bytes());
            names.push(name);
        }
        let base = format!("resources: [{}]\n", names.join(", "));
        files.insert("base/kustomization.yaml".to_owned(), base.into_bytes());
        let steps: String = steps.into_iter().collect();
        let (path, above) = if below { ("over", "..") } else { ("", ".") };
        let text = format!("resources: [{above}/base]\n{steps}");
        let file = format!("{path}{}kustomization.yaml", if below { "/" } else { "" });
        files.insert(file, text.into_bytes());
        Case {
            name: "made".to_owned(),
            files,
            path: path.to_owned(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_in_which_folders_are_listed_changes_nothing(case in a_case(), seed in any::<u64>()) {
        let tree = Shuffled::tree(&case.files, seed);
        let alone = Arc::new(Parsed::new(0));
        prop_assert_eq!(outcome(&case, &tree, &alone), plain(&case), "{}", case.name);
        // Once more from the same tree, which knows its folders by now.
        prop_assert_eq!(outcome(&case, &tree, &alone), plain(&case), "{}", case.name);
    }

    #[test]
    fn what_was_rendered_before_changes_nothing(
        cases in proptest::collection::vec(a_case(), 2..6),
        bytes in prop_oneof![Just(0), 1_000_usize..200_000, Just(Parsed::BYTES)],
    ) {
        let shared = Arc::new(Parsed::new(bytes));
        for round in 0..2 {
            for case in &cases {
                let tree = Shuffled::tree(&case.files, round);
                prop_assert_eq!(outcome(case, &tree, &shared), plain(case), "{}", case.name);
            }
        }
    }

    #[test]
    fn threads_that_share_a_tree_and_what_was_read_change_nothing(case in a_case(), threads in 1_usize..5) {
        let want = plain(&case);
        let tree = Shuffled::tree(&case.files, 7);
        let shared = Arc::new(Parsed::new(Parsed::BYTES));
        let all: Vec<Outcome> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| outcome_on(threads, &case, &tree, &shared)))
                .collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        for one in all {
            prop_assert_eq!(&one, &want, "{}", case.name);
        }
    }
}

#[test]
fn every_case_of_the_corpus_is_the_same_from_a_shared_store() {
    let shared = Arc::new(Parsed::new(Parsed::BYTES));
    for round in 0..2 {
        for case in corpus() {
            let tree = Shuffled::tree(&case.files, round);
            let want = plain(case);
            assert_eq!(outcome(case, &tree, &shared), want, "{}", case.name);
            let own = Arc::new(Parsed::new(0));
            assert_eq!(outcome_on(3, case, &tree, &own), want, "{}", case.name);
        }
    }
    assert!(!shared.is_empty());
}
