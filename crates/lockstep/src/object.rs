//! Which object of an app is meant: `Deployment/web`, or with all that tells it from others.

use std::fmt;
use std::str::FromStr;

use lockstep_api::app::ObjectRef;
use lockstep_api::operation::Pick;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::target::Target;

/// An object as written: what is left out may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    group: Option<String>,
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// The text names no object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write it as KIND/NAME or GROUP/KIND/NAMESPACE/NAME, with nothing for the core group")]
pub(crate) struct NotAnObject;

impl FromStr for Object {
    type Err = NotAnObject;

    /// Also in Argo CD's way: `GROUP:KIND:NAME` and `GROUP:KIND:NAMESPACE/NAME`.
    fn from_str(text: &str) -> Result<Self, NotAnObject> {
        let (group, kind, namespace, name) = match *text.split(':').collect::<Vec<_>>() {
            [group, kind, rest] => match rest.split_once('/') {
                Some((namespace, name)) => (Some(group), kind, Some(namespace), name),
                None => (Some(group), kind, None, rest),
            },
            [text] => match *text.split('/').collect::<Vec<_>>() {
                [kind, name] => (None, kind, None, name),
                [group, kind, namespace, name] => (Some(group), kind, Some(namespace), name),
                _ => return Err(NotAnObject),
            },
            _ => return Err(NotAnObject),
        };
        if kind.is_empty() || name.is_empty() || name.contains('/') {
            return Err(NotAnObject);
        }
        Ok(Self {
            group: group.map(str::to_owned),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.group, &self.namespace) {
            (None, None) => write!(f, "{}/{}", self.kind, self.name),
            (group, namespace) => {
                let or_any = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
                let (group, namespace) = (or_any(group), or_any(namespace));
                write!(f, "{group}/{}/{namespace}/{}", self.kind, self.name)
            }
        }
    }
}

impl Object {
    /// As a sync names it.
    pub(crate) fn pick(&self) -> Pick {
        Pick {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Is it this one? As the server has it, `*` is anything.
    pub(crate) fn is(&self, id: &ObjectRef) -> bool {
        let says = |wanted: &str, is: &str| wanted == "*" || wanted == is;
        let or_any = |part: &Option<String>, is: &str| {
            part.as_ref()
                .is_none_or(|wanted| wanted.is_empty() && is.is_empty() || says(wanted, is))
        };
        says(&self.kind, &id.kind)
            && says(&self.name, &id.name)
            && or_any(&self.group, &id.group)
            && or_any(&self.namespace, id.namespace.as_deref().unwrap_or_default())
    }

    /// The one object that is meant. Errors: none of them is, or several are. One that is written in full is taken as
    /// it is: the app may know more objects than it shows.
    pub(crate) fn among(&self, all: &[ObjectRef], target: &Target) -> Result<ObjectRef, Failure> {
        let mut found = all.iter().filter(|id| self.is(id));
        match (found.next(), found.next(), &self.group, &self.namespace) {
            (Some(one), None, ..) => Ok(one.clone()),
            (None, _, Some(group), Some(namespace)) => Ok(ObjectRef {
                group: group.clone(),
                kind: self.kind.clone(),
                namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
                name: self.name.clone(),
            }),
            (None, ..) => Err(self.unknown(target)),
            (Some(one), Some(other), ..) => Err(Failure::new(
                Exit::Usage,
                format!("{self} is more than one object of {target}"),
                format!("write one in full: {} or {}", whole(one), whole(other)),
            )
            .state("nothing was changed")),
        }
    }

    /// The failure of one that the app does not have.
    pub(crate) fn unknown(&self, target: &Target) -> Failure {
        Failure::new(
            Exit::NotFound,
            format!("{target} has no object {self}"),
            format!(
                "see what a sync would do: lockstep diff {}/{}",
                target.env, target.app
            ),
        )
        .state("nothing was changed")
    }
}

/// All that tells an object from others, as it can be written.
fn whole(id: &ObjectRef) -> String {
    let namespace = id.namespace.as_deref().unwrap_or_default();
    format!("{}/{}/{namespace}/{}", id.group, id.kind, id.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Object> {
        text.parse().ok()
    }

    fn id(group: &str, namespace: &str) -> ObjectRef {
        ObjectRef {
            group: group.to_owned(),
            kind: "Job".to_owned(),
            namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            name: "seed".to_owned(),
        }
    }

    #[test]
    fn an_object_is_named_in_lockstep_s_way_and_in_argo_cd_s() {
        let full = read("batch/Job/shop/seed");
        assert!(full.is_some());
        assert_eq!(read("batch:Job:shop/seed"), full);
        assert_eq!(
            read("batch:Job:seed").map(|one| one.to_string()),
            Some("batch/Job/*/seed".to_owned())
        );
        for wrong in [
            "seed",
            "Job/",
            "/seed",
            "a/b/c",
            "batch:Job:a/b/c",
            ":::",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_that_several_objects_have_is_not_guessed() {
        let target = Target {
            env: "prod".to_owned(),
            app: "shop".to_owned(),
        };
        let all = [id("batch", "shop"), id("batch", "shop2")];
        let among = |text: &str| read(text).expect("an object").among(&all, &target);
        assert_eq!(
            among("Job/seed").expect_err("there are two").exit,
            Exit::Usage
        );
        assert_eq!(among("batch/Job/shop2/seed"), Ok(id("batch", "shop2")));
        assert_eq!(
            among("Job/sead").expect_err("there is none").exit,
            Exit::NotFound
        );
        assert_eq!(among("batch/Job/gone/seed"), Ok(id("batch", "gone")));
        assert!(read("/Job//seed").expect("an object").is(&id("", "")));
    }
}
