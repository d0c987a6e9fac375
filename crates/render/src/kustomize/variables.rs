//! `vars`: fields of objects put into texts of others, at the very end.

use lockstep_manifest::Place;
use lockstep_manifest::yaml::{Content, Node, Scalar};

use super::build::Accumulated;
use super::config::Which;
use super::fieldspec::Make;
use super::resource::{Gvk, Id};
use super::spent::{Spent, VALUE};
use super::take;
use crate::error::RenderError;

/// A name, and the field that it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    name: String,
    object: Id,
    anywhere: bool,
    path: String,
    place: Place,
}

fn read(node: &Node) -> Result<Variable, RenderError> {
    let (mut name, mut path) = (String::new(), String::new());
    let (mut version, mut group, mut api, mut kind, mut object, mut namespace) = (
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    );
    take::fields(
        node,
        "vars",
        &["name", "objref", "fieldref"],
        |field, value, _| {
            match field {
                "name" => name = take::string(value, field)?,
                "fieldref" => take::fields(
                    value,
                    field,
                    &["fieldPath", "fieldpath"],
                    |field, value, _| {
                        path = take::string(value, field)?;
                        Ok(())
                    },
                )?,
                _ => {
                    let known = [
                        "apiVersion",
                        "group",
                        "version",
                        "kind",
                        "name",
                        "namespace",
                    ];
                    take::fields(value, field, &known, |field, value, _| {
                        let text = take::string(value, field)?;
                        *match field {
                            "apiVersion" => &mut api,
                            "group" => &mut group,
                            "version" => &mut version,
                            "kind" => &mut kind,
                            "name" => &mut object,
                            _ => &mut namespace,
                        } = text;
                        Ok(())
                    })?;
                }
            }
            Ok(())
        },
    )?;
    let gvk = if api.is_empty() {
        Gvk::new(&group, &version, &kind)
    } else {
        Gvk::parse(&api, &kind)
    };
    let anywhere = namespace.is_empty() && !gvk.is_cluster_scoped();
    if path.is_empty() {
        "metadata.name".clone_into(&mut path);
    }
    Ok(Variable {
        name,
        object: Id::new(gvk, &object, &namespace),
        anywhere,
        path,
        place: node.place.clone(),
    })
}

/// Takes the variables of one kustomization, and remembers which object each is a field of.
pub(crate) fn record(
    nodes: &[Node],
    all: &mut Accumulated,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    let mut new = Vec::new();
    for node in nodes {
        let variable = read(node)?;
        spent.look(2 * all.resources.len(), &variable.place)?;
        let matches = |id: &Id| {
            id.gvk == variable.object.gvk
                && id.name == variable.object.name
                && (variable.anywhere || id.namespace == variable.object.namespace)
        };
        let mut found =
            all.resources.list_mut().iter_mut().filter(|resource| {
                matches(&resource.id()) || resource.past_ids().iter().any(&matches)
            });
        if let Some(resource) = found.next() {
            resource.variables.push(variable.name.clone());
        }
        if found.next().is_some() {
            return Err(RenderError::invalid_hint(
                &variable.place,
                format!(
                    "the object of the variable {} is more than one",
                    variable.name
                ),
                "add the namespace to its objref",
            ));
        }
        new.push(variable);
    }
    join(&mut all.variables, new, spent)
}

/// Adds variables to those that are there; a name may come once.
pub(crate) fn join(
    all: &mut Vec<Variable>,
    new: Vec<Variable>,
    spent: &mut Spent,
) -> Result<(), RenderError> {
    for variable in new {
        spent.make(all.len() / 4, &variable.place)?;
        if all.iter().any(|known| known.name == variable.name) {
            return Err(RenderError::invalid(
                &variable.place,
                format!("the variable {} is defined twice", variable.name),
            ));
        }
        all.push(variable);
    }
    Ok(())
}

/// Replaces `$(NAME)` in all fields that may hold it.
pub(crate) fn resolve(all: &mut Accumulated, spent: &mut Spent) -> Result<(), RenderError> {
    if all.variables.is_empty() {
        return Ok(());
    }
    let mut values = Vec::new();
    for variable in &all.variables {
        spent.look(all.resources.len(), &variable.place)?;
        let unknown = || {
            RenderError::invalid_hint(
                &variable.place,
                format!(
                    "the variable {} names a field that no object has",
                    variable.name
                ),
                "correct its objref or its fieldPath",
            )
        };
        let resource = all
            .resources
            .iter()
            .find(|resource| resource.variables.contains(&variable.name));
        let resource = resource.ok_or_else(unknown)?;
        let value = field(&resource.node, &variable.path).ok_or_else(unknown)?;
        let scalar = value.as_scalar().ok_or_else(|| {
            RenderError::invalid(
                &variable.place,
                format!("the variable {} stands for a map or a list", variable.name),
            )
        })?;
        values.push(Value {
            name: variable.name.clone(),
            scalar: scalar.clone(),
            from: value.place.clone(),
            place: variable.place.clone(),
        });
    }
    let specs = all.config.specs(Which::VarReference);
    for resource in all.resources.list_mut() {
        let gvk = resource.gvk();
        let place = resource.place().clone();
        for spec in specs.iter().filter(|spec| gvk.is_selected_by(&spec.gvk)) {
            spec.each(&mut resource.node, Make::Nothing, &place, &mut |node| {
                put(node, &values, spent)
            })?;
        }
    }
    Ok(())
}

/// A field by a path like `spec.ports[0].port`.
fn field<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let mut at = node;
    for part in path.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, Some(index.strip_suffix(']')?.parse::<usize>().ok()?)),
            None => (part, None),
        };
        at = at.get(name)?;
        if let Some(index) = index {
            at = at.as_list()?.get(index)?;
        }
    }
    Some(at).filter(|node| !node.is_null())
}

/// What a variable stands for.
struct Value {
    name: String,
    scalar: Scalar,
    /// Where the field that it takes was set.
    from: Place,
    /// Where the variable is defined.
    place: Place,
}

impl Value {
    /// Says that it is what a node has now.
    fn set(&self, node: &mut Node) {
        node.set_at(&self.from);
        node.set_at(&self.place);
    }
}

fn put(node: &mut Node, values: &[Value], spent: &mut Spent) -> Result<(), RenderError> {
    match &mut node.content {
        Content::Scalar(_) => put_scalar(node, values, spent)?,
        Content::Map(pairs) => {
            for pair in pairs {
                put_scalar(&mut pair.value, values, spent)?;
            }
        }
        Content::List(items) => {
            for item in items {
                if item.as_text().is_none() {
                    return Err(RenderError::invalid(
                        &item.place,
                        "a list in which variables are replaced holds something that is no text",
                    ));
                }
                put_scalar(item, values, spent)?;
            }
        }
    }
    Ok(())
}

fn put_scalar(node: &mut Node, values: &[Value], spent: &mut Spent) -> Result<(), RenderError> {
    let Some(text) = node.as_text().filter(|text| text.contains('$')) else {
        return Ok(());
    };
    let mut out = String::new();
    let mut used: Vec<&Value> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let behind = &behind[1..];
        let Some(next) = behind.chars().next() else {
            out.push('$');
            rest = "";
            break;
        };
        rest = &behind[next.len_utf8()..];
        match next {
            '$' => out.push('$'),
            '(' => match rest.split_once(')') {
                Some((name, after)) => {
                    spent.make(VALUE + values.len() / 4, &node.place)?;
                    match values.iter().find(|value| value.name == name) {
                        Some(value) => {
                            // The whole text: its type comes along.
                            if text.len() == name.len() + 3 {
                                node.content = Content::Scalar(value.scalar.clone());
                                value.set(node);
                                return Ok(());
                            }
                            spent.make(value.scalar.text.len(), &node.place)?;
                            out.push_str(&value.scalar.text);
                            used.push(value);
                        }
                        None => out.extend(["$(", name, ")"]),
                    }
                    rest = after;
                }
                None => out.push_str("$("),
            },
            other => {
                out.push('$');
                out.push(other);
            }
        }
    }
    out.push_str(rest);
    if out != text {
        node.content = Content::Scalar(Scalar::text(out));
        for value in used {
            value.set(node);
        }
    }
    Ok(())
}
