//! What the reference's way through YAML, JSON and YAML does to values, beyond what numbers and dates become.

use lockstep_manifest::yaml::{Content, Node, Scalar, Style, Tag};

/// Makes an object's values those that the reference prints.
pub(crate) fn finish(node: &mut Node) {
    annotations(node);
    texts(node);
}

/// Annotations are texts in the end, each as it was written; an empty map of them goes.
fn annotations(node: &mut Node) {
    let Some(metadata) = node.get_mut("metadata") else {
        return;
    };
    let Some(annotations) = metadata.get_mut("annotations") else {
        return;
    };
    let Some(pairs) = annotations.as_map_mut() else {
        return;
    };
    if pairs.is_empty() {
        metadata.remove("annotations");
        return;
    }
    for pair in pairs {
        if let Content::Scalar(scalar) = &mut pair.value.content
            && scalar.tag != Tag::Null
        {
            scalar.tag = Tag::Text;
        }
    }
}

// As deep as the reader lets a document be, and patches with it.
fn texts(node: &mut Node) {
    match &mut node.content {
        Content::List(items) => items.iter_mut().for_each(texts),
        Content::Map(pairs) => pairs.iter_mut().for_each(|pair| texts(&mut pair.value)),
        Content::Scalar(scalar) if scalar.tag == Tag::Text => {
            refold(scalar);
            if scalar.text.contains(NEXT_LINE) {
                scalar.text = without_next_lines(&scalar.text);
            }
        }
        Content::Scalar(_) => {}
    }
}

/// Takes a folded block to what the reference makes of it the first time it writes it.
pub(crate) fn refold(scalar: &mut Scalar) {
    if scalar.style == Style::Folded && scalar.text.contains('\n') {
        scalar.text = refolded(&scalar.text);
    }
    scalar.style = Style::Plain;
}

/// A folded block written and read again by the reference's emitter.
///
/// It puts a line break too many before a line that is indented, and when the text begins with a space it puts one
/// too few elsewhere. Block texts that may not be folded are quoted, and come through as they are.
fn refolded(text: &str) -> String {
    if text.ends_with(' ') || text.contains(" \n") || text.contains(['\t', '\r']) {
        return text.to_owned();
    }
    let blank = |c: Option<char>| matches!(c, None | Some(' '));
    let spare = !blank(text.trim_start_matches('\n').chars().next());
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find('\n').unwrap_or(rest.len());
        let line = &rest[..end];
        out.push_str(line);
        rest = &rest[end..];
        let breaks = rest.bytes().take_while(|byte| *byte == b'\n').count();
        rest = &rest[breaks..];
        if breaks == 0 {
            break;
        }
        let indented = line.starts_with(' ');
        let next_indented = rest.starts_with(' ');
        let read_back = match (line.is_empty() || indented, spare) {
            (false, true) if rest.is_empty() && breaks == 1 => 1,
            (false, true) if next_indented || rest.is_empty() => breaks + 1,
            (true, _) | (false, true) => breaks,
            (false, false) if next_indented || rest.is_empty() => breaks,
            (false, false) => breaks - 1,
        };
        if read_back == 0 {
            out.push(' ');
        }
        out.extend(std::iter::repeat_n('\n', read_back));
    }
    out
}

/// U+0085, which a reader of YAML 1.1 takes for a line break, also inside of JSON's quotes.
const NEXT_LINE: char = '\u{85}';

/// Line breaks inside of double quotes are folded: one is a space, of several the first goes.
fn without_next_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split(NEXT_LINE);
    out.push_str(parts.next().unwrap_or_default());
    let mut breaks = 0;
    for part in parts {
        breaks += 1;
        let part = part.trim_start_matches([' ', '\t']);
        if part.is_empty() {
            continue;
        }
        close(&mut out, breaks);
        breaks = 0;
        out.push_str(part);
    }
    if breaks > 0 {
        close(&mut out, breaks);
    }
    out
}

fn close(out: &mut String, breaks: usize) {
    let end = out.trim_end_matches([' ', '\t']).len();
    out.truncate(end);
    if breaks == 1 {
        out.push(' ');
    } else {
        out.extend(std::iter::repeat_n('\n', breaks - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_block_gains_a_line_before_an_indented_one() {
        assert_eq!(
            refolded("one two\nthree\n  indented\nfour\n"),
            "one two\nthree\n\n  indented\nfour\n"
        );
        assert_eq!(refolded("one\n"), "one\n");
        assert_eq!(refolded("a \n  b\n"), "a \n  b\n");
    }

    #[test]
    fn a_next_line_character_is_folded_as_a_line_break() {
        assert_eq!(without_next_lines("a\u{85}b"), "a b");
        assert_eq!(without_next_lines("a \u{85} \u{85} b"), "a\nb");
    }
}
