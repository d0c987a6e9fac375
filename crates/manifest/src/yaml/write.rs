//! The writer: the text that `kustomize build` prints for a value.
//!
//! Source: the emitter of Go's yaml.v2 (itself libyaml's), as far as block maps, block lists and scalars go.

use serde_json::{Map, Value};

use super::{Dialect, Tag, order, scalar};
use crate::object::Manifest;
use crate::pointer;

/// Past this column the next single space becomes a line break.
const WIDTH: usize = 80;

/// Keys longer than this are written in two lines, after `?`.
const LONGEST_SIMPLE_KEY: usize = 128;

/// Prints objects as documents: keys sorted, `---` between them, nothing before or after.
pub fn print_manifests(manifests: &[Manifest]) -> String {
    let mut writer = Writer::new(());
    for (at, manifest) in manifests.iter().enumerate() {
        if at > 0 {
            writer.out.push_str("---\n");
        }
        writer.map(manifest.body(), 0, Start::Line);
    }
    writer.out
}

/// Prints one value as a document, with a final newline.
pub fn print_value(value: &Value) -> String {
    let mut writer = Writer::new(());
    writer.value(value, 0, Start::Line, false);
    writer.out
}

/// Where a leaf stands in a printed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The end of a line, in bytes from the start, where a comment about the leaf may stand: that of its last line, or
    /// of the first one of a block of lines.
    pub end: usize,
    /// Its JSON pointer.
    pub pointer: String,
}

/// The same for a map, with the spot of every leaf, in the order of the text.
pub fn print_leaves(body: &Map<String, Value>) -> (String, Vec<Spot>) {
    let mut writer = Writer::new(Spots::default());
    writer.map(body, 0, Start::Line);
    (writer.out, writer.follow.found)
}

/// Who wants to know where the writer is. Printing alone does not, and pays nothing for it.
trait Follow {
    fn key(&mut self, _key: &str) {}
    fn index(&mut self, _index: usize) {}
    fn up(&mut self) {}
    fn leaf(&mut self, _end: usize) {}
}

impl Follow for () {}

#[derive(Default)]
struct Spots {
    pointer: String,
    found: Vec<Spot>,
}

impl Follow for Spots {
    fn key(&mut self, key: &str) {
        pointer::push(&mut self.pointer, key);
    }

    fn index(&mut self, index: usize) {
        pointer::push(&mut self.pointer, &index.to_string());
    }

    fn up(&mut self) {
        let end = self.pointer.rfind('/').unwrap_or_default();
        self.pointer.truncate(end);
    }

    fn leaf(&mut self, end: usize) {
        self.found.push(Spot {
            end,
            pointer: self.pointer.clone(),
        });
    }
}

/// Where a map or list begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// On a line of its own.
    Line,
    /// Behind the `- ` of a list.
    Item,
}

struct Writer<F> {
    out: String,
    column: usize,
    /// The last scalar ended its line itself.
    ended: bool,
    /// Where the first line of the last scalar ends, when that is a block.
    header: Option<usize>,
    follow: F,
}

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl<F: Follow> Writer<F> {
    fn new(follow: F) -> Self {
        Self {
            out: String::new(),
            column: 0,
            ended: false,
            header: None,
            follow,
        }
    }

    fn push(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn text(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// Ends the line behind a scalar.
    fn end_scalar(&mut self) {
        if !std::mem::take(&mut self.ended) {
            self.line();
        }
    }

    fn indent(&mut self, by: usize) {
        self.out.extend(std::iter::repeat_n(' ', by));
        self.column += by;
    }

    /// A value at a place where a line ends behind it. `below_key`: it stands behind `key:`.
    fn value(&mut self, value: &Value, indent: usize, start: Start, below_key: bool) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                if below_key {
                    self.line();
                    self.map(map, indent + 2, Start::Line);
                } else {
                    self.map(map, indent, start);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                if below_key {
                    self.line();
                    self.list(items, indent, Start::Line);
                } else {
                    self.list(items, indent, start);
                }
            }
            other => {
                if below_key {
                    self.push(' ');
                }
                // A scalar's own lines stand two columns in from the map or list it is in.
                self.leaf(
                    other,
                    if below_key || start == Start::Line {
                        indent + 2
                    } else {
                        indent
                    },
                );
                let end = self.header.take().unwrap_or(self.out.len());
                self.follow.leaf(end);
                self.end_scalar();
            }
        }
    }

    fn map(&mut self, map: &Map<String, Value>, indent: usize, start: Start) {
        let pairs = map
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        for (at, (key, value)) in order::sorted(pairs).into_iter().enumerate() {
            if at > 0 || start == Start::Line {
                self.indent(indent);
            }
            self.follow.key(key);
            if key.len() > LONGEST_SIMPLE_KEY {
                self.text("? ");
                self.string(key, indent + 2, false);
                self.end_scalar();
                self.indent(indent);
                self.push(':');
                match value {
                    Value::Object(map) if !map.is_empty() => {
                        self.push(' ');
                        self.map(map, indent + 2, Start::Item);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        self.push(' ');
                        self.list(items, indent + 2, Start::Item);
                    }
                    other => self.value(other, indent, Start::Line, true),
                }
            } else {
                self.string(key, indent, true);
                self.push(':');
                self.value(value, indent, Start::Line, true);
            }
            self.follow.up();
        }
    }

    fn list(&mut self, items: &[Value], indent: usize, start: Start) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 || start == Start::Line {
                self.indent(indent);
            }
            self.text("- ");
            self.follow.index(at);
            self.value(item, indent + 2, Start::Item, false);
            self.follow.up();
        }
    }

    fn leaf(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.text("null"),
            Value::Bool(truth) => self.text(if *truth { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => self.text(&scalar::go_g(float)),
                _ => self.text(&number.to_string()),
            },
            Value::String(text) => self.string(text, indent, false),
            Value::Array(_) => self.text("[]"),
            Value::Object(_) => self.text("{}"),
        }
    }

    fn string(&mut self, text: &str, indent: usize, key: bool) {
        match style(text, key) {
            Style::Plain => self.plain(text, indent, key),
            Style::Single => self.single(text, indent, key),
            Style::Double => self.double(text, indent, key),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn fold(&mut self, indent: usize) {
        self.line();
        self.indent(indent);
    }

    fn plain(&mut self, text: &str, indent: usize, key: bool) {
        let mut spaces = false;
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            if c == ' ' {
                if !key && !spaces && self.column > WIDTH && rest.peek() != Some(&' ') {
                    self.fold(indent);
                } else {
                    self.push(c);
                }
                spaces = true;
            } else {
                self.push(c);
                spaces = false;
            }
        }
    }

    fn single(&mut self, text: &str, indent: usize, key: bool) {
        self.push('\'');
        let (mut spaces, mut breaks) = (false, false);
        let last = text.len().saturating_sub(1);
        let mut rest = text.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            let next_is_space = rest.peek().is_some_and(|(_, c)| *c == ' ');
            if c == ' ' {
                let inside = at > 0 && at < last;
                if !key && !spaces && self.column > WIDTH && inside && !next_is_space {
                    self.fold(indent);
                } else {
                    self.push(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.line();
                }
                self.out.push(c);
                self.column = 0;
                breaks = true;
            } else {
                if breaks {
                    self.indent(indent);
                }
                if c == '\'' {
                    self.push('\'');
                }
                self.push(c);
                (spaces, breaks) = (false, false);
            }
        }
        self.push('\'');
    }

    fn double(&mut self, text: &str, indent: usize, key: bool) {
        // The emitter looks for a byte order mark at the start of the text whatever character it is at.
        let marked = text.starts_with('\u{feff}');
        self.push('"');
        let mut spaces = false;
        let last = text.len().saturating_sub(1);
        let mut rest = text.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            if !is_printable(c) || marked || is_break(c) || c == '"' || c == '\\' {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                if !key && !spaces && self.column > WIDTH && at > 0 && at < last {
                    self.fold(indent);
                    if rest.peek().is_some_and(|(_, c)| *c == ' ') {
                        self.push('\\');
                    }
                } else {
                    self.push(c);
                }
                spaces = true;
            } else {
                self.push(c);
                spaces = false;
            }
        }
        self.push('"');
    }

    fn escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0b' => 'v',
            '\x0c' => 'f',
            '\r' => 'r',
            '\x1b' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            c => {
                let code = u32::from(c);
                let text = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                self.text(&text);
                return;
            }
        };
        self.push('\\');
        self.push(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.push('|');
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.push('2');
        }
        let mut from_end = text.chars().rev();
        if !from_end.next().is_some_and(is_break) {
            self.push('-');
        } else if from_end.next().is_none_or(is_break) {
            self.push('+');
        }
        self.header = Some(self.out.len());
        self.line();
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                if breaks || self.column > 0 {
                    self.out.push(c);
                    self.column = 0;
                }
                breaks = true;
            } else {
                if breaks {
                    self.indent(indent);
                }
                self.push(c);
                breaks = false;
            }
        }
        // Whatever the last break was: the emitter adds no other.
        self.ended = breaks;
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What Go's emitter takes for printable: tab, the byte order mark and everything beyond the basic plane are not.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Would the word, unquoted, be read as something else, by a reader of YAML 1.1?
fn reads_as_something_else(text: &str) -> bool {
    scalar::resolve(Dialect::Kubectl, text) != Tag::Text
        || scalar::date(text).is_some()
        || is_base_60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let text = match text.split_once('.') {
        Some((before, after)) if after.bytes().all(|b| b.is_ascii_digit() || b == b'_') => before,
        Some(_) => return false,
        None => text,
    };
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let mut rest = parts.peekable();
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && rest.peek().is_some()
        && rest.all(|part| matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']))
}

/// Which style the emitter ends up with.
fn style(text: &str, key: bool) -> Style {
    let shape = Shape::of(text);
    if text.contains('\n') {
        return if shape.block && !key {
            Style::Literal
        } else {
            Style::Double
        };
    }
    if reads_as_something_else(text) || (key && shape.multiline) {
        return Style::Double;
    }
    match shape {
        Shape { plain: true, .. } => Style::Plain,
        Shape { single: true, .. } => Style::Single,
        _ => Style::Double,
    }
}

/// Which styles a text allows.
#[expect(
    clippy::struct_excessive_bools,
    reason = "three independent permissions and a fact, local to here"
)]
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
    multiline: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let mut shape = Self {
            plain: true,
            single: true,
            block: true,
            multiline: false,
        };
        if text.starts_with("---") || text.starts_with("...") {
            shape.plain = false;
        }
        let last = text.chars().count().saturating_sub(1);
        let (mut after_space, mut after_break, mut after_white) = (false, false, true);
        let mut rest = text.chars().enumerate().peekable();
        while let Some((at, c)) = rest.next() {
            let white_follows = rest
                .peek()
                .is_none_or(|(_, next)| matches!(next, ' ' | '\t'));
            let indicator = match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"'
                | '%' | '@' | '`'
                    if at == 0 =>
                {
                    true
                }
                '?' | '-' if at == 0 => white_follows,
                ':' => white_follows,
                '#' => after_white,
                _ => false,
            };
            if indicator {
                shape.plain = false;
            }
            if !is_printable(c) {
                (shape.plain, shape.single, shape.block) = (false, false, false);
            }
            if c == ' ' {
                if at == 0 {
                    shape.plain = false;
                }
                if at == last {
                    (shape.plain, shape.block) = (false, false);
                }
                if after_break {
                    (shape.plain, shape.single) = (false, false);
                }
                (after_space, after_break) = (true, false);
            } else if is_break(c) {
                shape.multiline = true;
                shape.plain = false;
                if after_space {
                    (shape.single, shape.block) = (false, false);
                }
                (after_space, after_break) = (false, true);
            } else {
                (after_space, after_break) = (false, false);
            }
            after_white = matches!(c, ' ' | '\t') || is_break(c);
        }
        shape
    }
}
