//! One commit and the files in it, read from the object database when somebody asks for them.

use std::sync::Arc;

use gix::ObjectId;
use gix::objs::CommitRef;
use jiff::Timestamp;
use lockstep_app::app::Revision;
use lockstep_tree::Tree;

use crate::objects::{Objects, object_hash};
use crate::store::{LARGEST_COMMIT_BYTES, Store, StoreError};

/// What people want to know of a commit.
///
/// Shape: texts are the author's own, cut to a line and without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its complete id.
    pub revision: Revision,
    /// The first line of its message.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// The author's address, as the commit says; nobody has checked it.
    pub author_email: String,
    /// When it was committed, as the committer's clock had it.
    pub committed_at: Timestamp,
}

/// A commit with its files.
///
/// It keeps the repository it is read from: files stay readable while a snapshot lives, whatever is fetched since.
#[derive(Clone)]
pub struct Snapshot {
    /// The files.
    pub tree: Tree,
    /// The commit.
    pub commit: Commit,
}

/// Longer subjects and names are cut: the page shows one line.
const LONGEST_LINE: usize = 200;

impl Snapshot {
    pub(crate) fn read(store: &Arc<Store>, id: ObjectId) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Corrupt("its commit cannot be read");
        let data = store.object(&id, gix::objs::Kind::Commit, LARGEST_COMMIT_BYTES)?;
        let commit = CommitRef::from_bytes(&data, store.hash).map_err(|_| unreadable())?;
        let author = commit.author().map_err(|_| unreadable())?;
        let committed_at = commit.time().map_or(0, |time| time.seconds);
        let tree = Tree::new(
            object_hash(&commit.tree())?,
            Arc::new(Objects::new(Arc::clone(store))),
        );
        Ok(Self {
            tree,
            commit: Commit {
                revision: id.to_string().parse().map_err(|_| unreadable())?,
                subject: line(commit.message().title),
                author: line(author.name),
                author_email: line(author.email),
                committed_at: Timestamp::from_second(committed_at).unwrap_or(Timestamp::UNIX_EPOCH),
            },
        })
    }
}

/// The first line of a text, shortened and without anything that a terminal would act on.
fn line(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .trim()
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(LONGEST_LINE)
        .collect()
}
