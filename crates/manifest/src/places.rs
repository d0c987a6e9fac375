//! Where every leaf of an object was written, and what it overrode.
//!
//! Reading order: [`Place`] is one spot in a file, [`Trail`] what a value overrode while an object was being made,
//! [`Places`] what the finished object keeps of it: all leaves in one block of bytes, because a daemon holds millions
//! of them and asks for a few. A leaf takes its pointer, of which what it shares with the leaf before is left out, and
//! three small numbers; a place that it overrode takes three numbers more.

use std::collections::HashMap;
use std::sync::Arc;

/// Where a value was written: file, line and column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The path inside the tree, with `/`; or what else says it, such as an Application's field.
    pub file: Arc<str>,
    /// The line, from 1; 0 where there are none.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// The places that a value overrode, while its object is being made. Most values have none, and take no memory for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Option<Arc<Link>>);

#[derive(Debug, PartialEq, Eq)]
struct Link {
    place: Place,
    before: Trail,
    length: usize,
}

impl Trail {
    /// Places kept of one value. Of one that is set more often, the oldest are kept and the newest: a repository may
    /// hold a patch with a million operations on one field.
    pub const MOST: usize = 16;

    /// Does the value override nothing?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The places, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Place> {
        let mut at = self.0.as_deref();
        std::iter::from_fn(move || {
            let link = at?;
            at = link.before.0.as_deref();
            Some(&link.place)
        })
    }

    /// The same, with one place more at its new end. A place that is there already, as the newest, is not added again.
    #[must_use]
    pub fn then(&self, place: &Place) -> Self {
        let (before, length) = match self.0.as_deref() {
            Some(newest) if newest.place == *place => return self.clone(),
            Some(newest) if newest.length >= Self::MOST => (&newest.before, newest.length),
            newest => (self, newest.map_or(0, |newest| newest.length) + 1),
        };
        Self(Some(Arc::new(Link {
            place: place.clone(),
            before: before.clone(),
            length,
        })))
    }

    /// The same with all of another's places at its new end.
    #[must_use]
    pub fn with(&self, newer: &Self) -> Self {
        if self.is_empty() {
            return newer.clone();
        }
        let mut places: Vec<&Place> = newer.newest_first().collect();
        places.reverse();
        places
            .into_iter()
            .fold(self.clone(), |trail, place| trail.then(place))
    }
}

/// A leaf of an object: a value without parts, or an empty map or list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its JSON pointer.
    pub pointer: String,
    /// Every place that set it, oldest first, the one that counts last. Never empty.
    pub places: Vec<Place>,
}

impl Leaf {
    /// Where its value was set last.
    pub fn last(&self) -> Option<&Place> {
        self.places.last()
    }
}

/// Where an object and its leaves were written. Cheap to clone; nothing at all when it is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places(Option<Arc<Packed>>);

#[derive(Debug, PartialEq)]
struct Packed {
    files: Box<[Arc<str>]>,
    bytes: Box<[u8]>,
}

impl Places {
    /// Where the object came from: the document that it is, or the generator's entry that first made it.
    pub fn origin(&self) -> Option<Place> {
        let mut cursor = self.cursor();
        cursor.next()?;
        cursor.places().into_iter().next()
    }

    /// Where the value at a JSON pointer was set last; of a map or list, where its first leaf was.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        let mut cursor = self.at(pointer)?;
        cursor.last_place()
    }

    /// Every place that set the value at a JSON pointer, oldest first; of a map or list, those of its first leaf.
    /// Empty when it is not known.
    pub fn chain(&self, pointer: &str) -> Vec<Place> {
        self.at(pointer)
            .map_or_else(Vec::new, |mut cursor| cursor.places())
    }

    /// All leaves, in the order in which they were read.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        let mut cursor = self.cursor();
        let known = cursor.skip();
        std::iter::from_fn(move || {
            known?;
            cursor.next()?;
            Some(Leaf {
                pointer: String::from_utf8_lossy(&cursor.pointer).into_owned(),
                places: cursor.places(),
            })
        })
    }

    /// The files that the object was made of, the one where it begins first.
    pub fn files(&self) -> &[Arc<str>] {
        self.0.as_ref().map_or(&[], |packed| &packed.files)
    }

    /// Memory that the places take, file names not counted.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(0, |packed| packed.bytes.len())
    }

    fn cursor(&self) -> Cursor<'_> {
        let packed = self.0.as_deref();
        Cursor {
            files: packed.map_or(&[], |packed| &packed.files),
            rest: packed.map_or(&[], |packed| &packed.bytes),
            pointer: Vec::new(),
        }
    }

    /// The leaf at a pointer, or the first below it.
    fn at(&self, pointer: &str) -> Option<Cursor<'_>> {
        let wanted = pointer.as_bytes();
        let mut cursor = self.cursor();
        cursor.skip()?;
        loop {
            cursor.next()?;
            match cursor.pointer.strip_prefix(wanted) {
                Some([] | [b'/', ..]) => return Some(cursor),
                _ => drop(cursor.skip_places()?),
            }
        }
    }
}

/// A walk through the bytes: `next` reads a pointer, then one of the others its places.
struct Cursor<'p> {
    files: &'p [Arc<str>],
    rest: &'p [u8],
    pointer: Vec<u8>,
}

impl Cursor<'_> {
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn next(&mut self) -> Option<()> {
        let (shared, own) = (self.number()?, self.number()?);
        let (own, rest) = self.rest.split_at_checked(own)?;
        self.rest = rest;
        self.pointer.truncate(shared);
        self.pointer.extend_from_slice(own);
        Some(())
    }

    /// A place, and whether there is one more: the newest comes first.
    fn place(&mut self) -> Option<(usize, u32, u32, bool)> {
        let file = self.number()?;
        let line = u32::try_from(self.number()?).ok()?;
        let column = u32::try_from(self.number()?).ok()?;
        Some((file >> 1, line, column, file & 1 == 1))
    }

    fn made(&self, file: usize, line: u32, column: u32) -> Option<Place> {
        let file = Arc::clone(self.files.get(file)?);
        Some(Place { file, line, column })
    }

    fn last_place(&mut self) -> Option<Place> {
        let (file, line, column, _) = self.place()?;
        self.made(file, line, column)
    }

    fn places(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        while let Some((file, line, column, more)) = self.place() {
            places.extend(self.made(file, line, column));
            if !more {
                break;
            }
        }
        places.reverse();
        places
    }

    fn skip_places(&mut self) -> Option<()> {
        while self.place()?.3 {}
        Some(())
    }

    fn skip(&mut self) -> Option<()> {
        self.next()?;
        self.skip_places()
    }
}

/// Packs the places of one object.
#[derive(Debug, Default)]
pub struct Packer {
    files: Vec<Arc<str>>,
    known: HashMap<Arc<str>, usize>,
    /// The file of the last place, which most often is that of the next one.
    last_file: usize,
    bytes: Vec<u8>,
    pointer: Vec<u8>,
}

impl Packer {
    /// Begins with the places of the object itself.
    pub fn new(place: &Place, trail: &Trail) -> Self {
        let mut packer = Self::default();
        packer.leaf("", place, trail);
        packer
    }

    /// The next leaf: its pointer, where it was set last, and what that overrode.
    pub fn leaf(&mut self, pointer: &str, place: &Place, trail: &Trail) {
        let pointer = pointer.as_bytes();
        let shared = pointer
            .iter()
            .zip(&self.pointer)
            .take_while(|(new, old)| new == old)
            .count();
        let own = pointer.get(shared..).unwrap_or_default();
        self.number(shared);
        self.number(own.len());
        self.bytes.extend_from_slice(own);
        self.pointer.truncate(shared);
        self.pointer.extend_from_slice(own);
        self.place(place, !trail.is_empty());
        let mut older = trail.newest_first().peekable();
        while let Some(place) = older.next() {
            self.place(place, older.peek().is_some());
        }
    }

    /// What was packed.
    pub fn finish(self) -> Places {
        Places(Some(Arc::new(Packed {
            files: self.files.into(),
            bytes: self.bytes.into(),
        })))
    }

    fn place(&mut self, place: &Place, more: bool) {
        let file = self.file(&place.file);
        self.number(file << 1 | usize::from(more));
        self.number(usize::try_from(place.line).unwrap_or(usize::MAX));
        self.number(usize::try_from(place.column).unwrap_or(usize::MAX));
    }

    fn file(&mut self, file: &Arc<str>) -> usize {
        let same = |known: &Arc<str>| Arc::ptr_eq(known, file);
        if self.files.get(self.last_file).is_some_and(same) {
            return self.last_file;
        }
        let next = self.files.len();
        let at = *self.known.entry(Arc::clone(file)).or_insert(next);
        if at == next {
            self.files.push(Arc::clone(file));
        }
        self.last_file = at;
        at
    }

    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes
                .push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.bytes.push(u8::try_from(number).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, line: u32) -> Place {
        Place {
            file: file.into(),
            line,
            column: 3,
        }
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let (base, patch, far) = (
            place("base.yaml", 2),
            place("patch.yaml", 7),
            place("ä.yaml", 70_000),
        );
        let mut packer = Packer::new(&base, &Trail::default());
        packer.leaf("/data/a", &base, &Trail::default());
        packer.leaf("/data/ä", &patch, &Trail::default().then(&base));
        packer.leaf("/data/äö", &far, &Trail::default().then(&base).then(&patch));
        packer.leaf("/metadata/name", &base, &Trail::default());
        let places = packer.finish();
        let leaves: Vec<(String, Vec<Place>)> = places
            .leaves()
            .map(|leaf| (leaf.pointer, leaf.places))
            .collect();
        assert_eq!(
            leaves,
            [
                ("/data/a".to_owned(), vec![base.clone()]),
                ("/data/ä".to_owned(), vec![base.clone(), patch.clone()]),
                (
                    "/data/äö".to_owned(),
                    vec![base.clone(), patch.clone(), far.clone()]
                ),
                ("/metadata/name".to_owned(), vec![base.clone()]),
            ]
        );
        assert_eq!(places.origin(), Some(base.clone()));
        assert_eq!(places.place("/data/äö"), Some(far));
        assert_eq!(places.chain("/data/ä"), [base.clone(), patch]);
        assert_eq!(places.place("/data"), Some(base));
        assert_eq!(places.place("/dat"), None);
        assert_eq!(places.place("/spec"), None);
        let files: Vec<&str> = places.files().iter().map(|file| &**file).collect();
        assert_eq!(files, ["base.yaml", "patch.yaml", "ä.yaml"]);
    }

    #[test]
    fn nothing_is_known_of_an_object_that_nobody_read() {
        let none = Places::default();
        assert_eq!(none.origin(), None);
        assert_eq!(none.place("/data"), None);
        assert_eq!(none.leaves().count(), 0);
    }

    #[test]
    fn a_value_that_is_set_a_million_times_keeps_its_first_places_and_its_last() {
        let trail = (1..=100_000).fold(Trail::default(), |trail, line| {
            trail.then(&place("patch.yaml", line))
        });
        let mut lines: Vec<u32> = trail.newest_first().map(|place| place.line).collect();
        lines.reverse();
        let mut want: Vec<u32> = (1..16).collect();
        want.push(100_000);
        assert_eq!(lines, want);
    }

    #[test]
    fn a_place_that_sets_a_value_twice_counts_once() {
        let one = Trail::default().then(&place("a.yaml", 1));
        assert_eq!(one.then(&place("a.yaml", 1)), one);
        let two = one.then(&place("a.yaml", 2));
        assert_eq!(Trail::default().with(&two), two);
        assert_eq!(one.with(&two), two);
    }
}
