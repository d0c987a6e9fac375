//! A document as a tree that keeps order, text and place.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::scalar;
use crate::places::{Place, Trail};
use crate::pointer;

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// Another number.
    Float,
    /// Text.
    Text,
    /// A point in time; text in the end, in another spelling.
    Date,
}

/// How a scalar was written. A value that is merged into its place is written so, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In quotes of either kind.
    Quoted,
    /// As a block, line by line (`|`).
    Literal,
    /// As a block whose lines are joined (`>`).
    Folded,
}

/// A value without parts: what it is, and its text as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// What it is.
    pub tag: Tag,
    /// Its text, without quotes and escapes.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

impl Scalar {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Tag::Text, text)
    }

    /// Anything else, by its text.
    pub fn new(tag: Tag, text: impl Into<String>) -> Self {
        Self {
            tag,
            text: text.into(),
            style: Style::Plain,
        }
    }
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A value without parts.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order it was written.
    Map(Vec<Pair>),
}

/// One key of a map with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The key. Only text can be written out as JSON.
    pub key: Scalar,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

/// One value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub content: Content,
    /// Where it was written, or what set it last. A block's place is the beginning of its first line that is not blank.
    pub place: Place,
    /// What that overrode.
    pub trail: Trail,
    /// Values of one object with the same link other than 0 change together; see kustomize's labels.
    pub link: u32,
}

/// A value that JSON does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NotJson {
    /// What it is.
    pub what: String,
    /// Where it stands.
    pub place: Place,
}

impl Pair {
    fn no_text_key(&self) -> NotJson {
        NotJson {
            what: format!("the key {} is no text; quote it", self.key.text),
            place: self.place.clone(),
        }
    }
}

impl Node {
    /// A node from its parts.
    pub fn new(content: Content, place: Place) -> Self {
        Self {
            content,
            place,
            trail: Trail::default(),
            link: 0,
        }
    }

    /// A text.
    pub fn text(text: impl Into<String>, place: Place) -> Self {
        Self::new(Content::Scalar(Scalar::text(text)), place)
    }

    /// A whole number.
    pub fn int(number: i64, place: Place) -> Self {
        Self::new(
            Content::Scalar(Scalar::new(Tag::Int, number.to_string())),
            place,
        )
    }

    /// A truth value.
    pub fn bool(truth: bool, place: Place) -> Self {
        Self::new(
            Content::Scalar(Scalar::new(Tag::Bool, truth.to_string())),
            place,
        )
    }

    /// An empty map.
    pub fn map(place: Place) -> Self {
        Self::new(Content::Map(Vec::new()), place)
    }

    /// An empty list.
    pub fn list(place: Place) -> Self {
        Self::new(Content::List(Vec::new()), place)
    }

    /// `null`.
    pub fn null(place: Place) -> Self {
        Self::new(Content::Scalar(Scalar::new(Tag::Null, "null")), place)
    }

    /// Is it `null`?
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.tag == Tag::Null)
    }

    /// The scalar, when it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The text, when it is text.
    pub fn as_text(&self) -> Option<&str> {
        self.as_scalar()
            .filter(|scalar| scalar.tag == Tag::Text)
            .map(|scalar| scalar.text.as_str())
    }

    /// The text of any scalar but `null`.
    pub fn as_written(&self) -> Option<&str> {
        self.as_scalar()
            .filter(|scalar| scalar.tag != Tag::Null)
            .map(|scalar| scalar.text.as_str())
    }

    /// The truth value, when it is one.
    pub fn as_bool(&self) -> Option<bool> {
        let scalar = self.as_scalar().filter(|scalar| scalar.tag == Tag::Bool)?;
        Some(scalar.text.eq_ignore_ascii_case("true"))
    }

    /// The whole number, when it is one that fits.
    pub fn as_int(&self) -> Option<i64> {
        let scalar = self.as_scalar().filter(|scalar| scalar.tag == Tag::Int)?;
        scalar::go_int(&scalar.text.replace('_', "")).and_then(|number| number.try_into().ok())
    }

    /// The items, when it is a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.content {
            Content::List(items) => Some(items),
            Content::Scalar(_) | Content::Map(_) => None,
        }
    }

    /// The items, when it is a list.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.content {
            Content::List(items) => Some(items),
            Content::Scalar(_) | Content::Map(_) => None,
        }
    }

    /// The pairs, when it is a map.
    pub fn as_map(&self) -> Option<&[Pair]> {
        match &self.content {
            Content::Map(pairs) => Some(pairs),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// The pairs, when it is a map.
    pub fn as_map_mut(&mut self) -> Option<&mut Vec<Pair>> {
        match &mut self.content {
            Content::Map(pairs) => Some(pairs),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// The value under a key, when it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?
            .iter()
            .find(|pair| pair.key.text == key)
            .map(|pair| &pair.value)
    }

    /// The value under a key, when it is a map that has it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.as_map_mut()?
            .iter_mut()
            .find(|pair| pair.key.text == key)
            .map(|pair| &mut pair.value)
    }

    /// The value under these keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Sets a key of a map, at the end when it is new; what stood there is forgotten. On anything but a map nothing
    /// happens.
    pub fn set(&mut self, key: &str, value: Self) {
        if let Some(old) = self.get_mut(key) {
            *old = value;
        } else if let Content::Map(pairs) = &mut self.content {
            let place = value.place.clone();
            pairs.push(Pair {
                key: Scalar::text(key),
                place,
                value,
            });
        }
    }

    /// Removes a key of a map; returns what was there.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let pairs = self.as_map_mut()?;
        let at = pairs.iter().position(|pair| pair.key.text == key)?;
        Some(pairs.remove(at).value)
    }

    /// The map under a key, made where nothing or `null` stands. None when something else does.
    pub fn map_under(&mut self, key: &str, place: &Place) -> Option<&mut Self> {
        if self.get(key).is_none_or(Self::is_null) {
            self.set(key, Self::map(place.clone()));
        }
        self.get_mut(key)
            .filter(|node| matches!(node.content, Content::Map(_)))
    }

    /// The same as JSON, numbers in the shape that they have after Go wrote and read them.
    ///
    /// Errors: infinity, not-a-number, and keys that are no text.
    pub fn to_value(&self) -> Result<Value, NotJson> {
        Ok(match &self.content {
            Content::Scalar(scalar) => self.scalar_value(scalar)?,
            Content::List(items) => {
                Value::Array(items.iter().map(Self::to_value).collect::<Result<_, _>>()?)
            }
            Content::Map(pairs) => {
                let mut map = Map::new();
                for pair in pairs {
                    if pair.key.tag != Tag::Text {
                        return Err(pair.no_text_key());
                    }
                    map.insert(pair.key.text.clone(), pair.value.to_value()?);
                }
                Value::Object(map)
            }
        })
    }

    /// The same, taking the texts along instead of copying them.
    pub fn into_value(self) -> Result<Value, NotJson> {
        Ok(match self.content {
            Content::Scalar(Scalar {
                tag: Tag::Text,
                text,
                ..
            }) => Value::String(text),
            Content::Scalar(_) => self.to_value()?,
            Content::List(items) => {
                let items = items.into_iter().map(Self::into_value);
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Content::Map(pairs) => {
                let mut map = Map::new();
                for pair in pairs {
                    if pair.key.tag != Tag::Text {
                        return Err(pair.no_text_key());
                    }
                    map.insert(pair.key.text, pair.value.into_value()?);
                }
                Value::Object(map)
            }
        })
    }

    fn scalar_value(&self, scalar: &Scalar) -> Result<Value, NotJson> {
        let bad = |what: &str| NotJson {
            what: format!("{:?} {what}", scalar.text),
            place: self.place.clone(),
        };
        Ok(match scalar.tag {
            Tag::Null => Value::Null,
            Tag::Bool => Value::Bool(scalar.text.eq_ignore_ascii_case("true")),
            Tag::Text => Value::String(scalar.text.clone()),
            Tag::Date => {
                Value::String(scalar::date(&scalar.text).ok_or_else(|| bad("is no date"))?)
            }
            Tag::Int => {
                let plain = scalar.text.replace('_', "");
                let number = scalar::go_int(&plain).and_then(scalar::json_int);
                Value::Number(number.ok_or_else(|| bad("is no whole number of 64 bits"))?)
            }
            Tag::Float => {
                let number = scalar::go_float(&scalar.text).ok_or_else(|| bad("is no number"))?;
                Value::Number(
                    scalar::json_number(number).ok_or_else(|| bad("cannot be written as JSON"))?,
                )
            }
        })
    }

    /// A node from JSON, everything at one place.
    pub fn from_value(value: &Value, place: &Place) -> Self {
        let scalar = |tag, text: String| Content::Scalar(Scalar::new(tag, text));
        let content = match value {
            Value::Null => scalar(Tag::Null, "null".to_owned()),
            Value::Bool(truth) => scalar(Tag::Bool, truth.to_string()),
            Value::String(text) => scalar(Tag::Text, text.clone()),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (None, None) => scalar(
                    Tag::Float,
                    number.as_f64().map(scalar::go_g).unwrap_or_default(),
                ),
                _ => scalar(Tag::Int, number.to_string()),
            },
            Value::Array(items) => Content::List(
                items
                    .iter()
                    .map(|item| Self::from_value(item, place))
                    .collect(),
            ),
            Value::Object(map) => Content::Map(
                map.iter()
                    .map(|(key, value)| Pair {
                        key: Scalar::text(key),
                        place: place.clone(),
                        value: Self::from_value(value, place),
                    })
                    .collect(),
            ),
        };
        Self::new(content, place.clone())
    }

    /// Calls `visit` with the pointer of every leaf (empty maps and lists are leaves), and of maps and lists when asked.
    pub(crate) fn each(&self, at: &mut String, inner: bool, visit: &mut impl FnMut(&str, &Self)) {
        let inside = match &self.content {
            Content::Scalar(_) => 0,
            Content::List(items) => items.len(),
            Content::Map(pairs) => pairs.len(),
        };
        if inside == 0 || inner {
            visit(at, self);
        }
        let length = at.len();
        match &self.content {
            Content::Scalar(_) => {}
            Content::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let _written = write!(at, "/{index}");
                    item.each(at, inner, visit);
                    at.truncate(length);
                }
            }
            Content::Map(pairs) => {
                for pair in pairs {
                    pointer::push(at, &pair.key.text);
                    pair.value.each(at, inner, visit);
                    at.truncate(length);
                }
            }
        }
    }
}

/// The bytes of a `!!binary` scalar; white space in it does not count.
pub(super) fn binary(text: &str) -> Option<Vec<u8>> {
    let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD
        .decode(packed)
        .ok()
}
