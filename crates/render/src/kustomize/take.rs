//! Taking typed values out of a kustomization's YAML, with errors that name the field.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node, Pair, Style, Tag};

use crate::error::RenderError;

/// A text and where it stands.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_field_names,
    reason = "a text has a text, whatever else is known of it"
)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) place: Place,
    /// It is a block of lines, and its place the beginning of the first one that is not blank.
    pub(crate) block: bool,
}

impl Text {
    pub(crate) fn new(text: impl Into<String>, place: Place) -> Self {
        Self {
            text: text.into(),
            place,
            block: false,
        }
    }
}

/// What a node is, in words.
pub(crate) fn found(node: &Node) -> String {
    match &node.content {
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a map".to_owned(),
        Content::Scalar(scalar) => match scalar.tag {
            Tag::Null => "nothing".to_owned(),
            Tag::Bool => format!("the truth value {}", scalar.text),
            Tag::Int | Tag::Float => format!("the number {}", scalar.text),
            Tag::Text | Tag::Date => format!(
                "the text {:?}",
                scalar.text.chars().take(60).collect::<String>()
            ),
        },
    }
}

fn wrong(node: &Node, field: &str, wanted: &'static str) -> RenderError {
    RenderError::FieldType {
        place: node.place.clone(),
        field: field.to_owned(),
        wanted,
        found: found(node),
    }
}

/// A text; `null` is the empty one, as in Go.
pub(crate) fn text(node: &Node, field: &str) -> Result<Text, RenderError> {
    let text = if node.is_null() {
        Some("")
    } else {
        node.as_text()
    };
    let text = text.ok_or_else(|| wrong(node, field, "a text"))?;
    let block = node
        .as_scalar()
        .is_some_and(|scalar| matches!(scalar.style, Style::Literal | Style::Folded));
    Ok(Text {
        text: text.to_owned(),
        place: node.place.clone(),
        block,
    })
}

/// A text without its place.
pub(crate) fn string(node: &Node, field: &str) -> Result<String, RenderError> {
    text(node, field).map(|text| text.text)
}

pub(crate) fn boolean(node: &Node, field: &str) -> Result<bool, RenderError> {
    if node.is_null() {
        return Ok(false);
    }
    node.as_bool()
        .ok_or_else(|| wrong(node, field, "true or false"))
}

pub(crate) fn int(node: &Node, field: &str) -> Result<i64, RenderError> {
    if node.is_null() {
        return Ok(0);
    }
    node.as_int()
        .ok_or_else(|| wrong(node, field, "a whole number"))
}

pub(crate) fn list<'n>(node: &'n Node, field: &str) -> Result<&'n [Node], RenderError> {
    if node.is_null() {
        return Ok(&[]);
    }
    node.as_list().ok_or_else(|| wrong(node, field, "a list"))
}

pub(crate) fn map<'n>(node: &'n Node, field: &str) -> Result<&'n [Pair], RenderError> {
    if node.is_null() {
        return Ok(&[]);
    }
    node.as_map().ok_or_else(|| wrong(node, field, "a map"))
}

pub(crate) fn texts(node: &Node, field: &str) -> Result<Vec<Text>, RenderError> {
    list(node, field)?
        .iter()
        .map(|item| text(item, field))
        .collect()
}

/// A map of texts, sorted by key: what Go ranges over in sorted order.
pub(crate) fn text_map(node: &Node, field: &str) -> Result<Vec<(String, Text)>, RenderError> {
    let mut out = Vec::new();
    for pair in map(node, field)? {
        let value = text(&pair.value, &format!("{field}.{}", pair.key.text))?;
        out.push((pair.key.text.clone(), value));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// Goes through the fields of a map: `visit` says whether it knows a field. Letter case does not count, as in Go.
pub(crate) fn fields(
    node: &Node,
    owner: &str,
    known: &[&str],
    mut visit: impl FnMut(&str, &Node, &Pair) -> Result<(), RenderError>,
) -> Result<(), RenderError> {
    for pair in map(node, owner)? {
        let name = known
            .iter()
            .find(|name| name.eq_ignore_ascii_case(&pair.key.text));
        let Some(name) = name else {
            return Err(RenderError::FieldUnknown {
                place: pair.place.clone(),
                field: pair.key.text.clone(),
                owner: owner.to_owned(),
                meant: lockstep_app::spelling::nearest(&pair.key.text, known.iter().copied())
                    .map(str::to_owned),
            });
        };
        visit(name, &pair.value, pair)?;
    }
    Ok(())
}
