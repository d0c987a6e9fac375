//! Variables of a build: what `$ARGOCD_APP_NAME` and its like stand for.

use std::collections::BTreeSet;

use lockstep_app::Source;
use lockstep_app::app::Revision;

/// What a rendering may know of the app that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The Application's name; empty when there is none.
    pub app: String,
    /// The destination's namespace.
    pub namespace: String,
    /// The project.
    pub project: String,
    /// The commit.
    pub revision: Option<Revision>,
}

/// Fills variables in, and remembers which.
pub(crate) struct Environment<'a> {
    facts: &'a Facts,
    source: &'a Source,
    /// Was one filled in that is another one with every commit?
    pub(crate) by_revision: bool,
    /// Names that no variable has: they are filled in as nothing.
    pub(crate) unknown: BTreeSet<String>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(facts: &'a Facts, source: &'a Source) -> Self {
        Self {
            facts,
            source,
            by_revision: false,
            unknown: BTreeSet::new(),
        }
    }

    fn value(&mut self, name: &str) -> String {
        let revision = self.facts.revision.as_ref().map_or("", Revision::as_str);
        let first = |digits: usize| revision.get(..digits).unwrap_or(revision).to_owned();
        let value = match name {
            "$" => return "$".to_owned(),
            "ARGOCD_APP_NAME" => &self.facts.app,
            "ARGOCD_APP_NAMESPACE" => &self.facts.namespace,
            "ARGOCD_APP_PROJECT_NAME" => &self.facts.project,
            "ARGOCD_APP_REVISION" | "ARGOCD_APP_REVISION_SHORT" | "ARGOCD_APP_REVISION_SHORT_8" => {
                self.by_revision = true;
                return match name {
                    "ARGOCD_APP_REVISION_SHORT" => first(7),
                    "ARGOCD_APP_REVISION_SHORT_8" => first(8),
                    _ => revision.to_owned(),
                };
            }
            "ARGOCD_APP_SOURCE_REPO_URL" => return self.source.remote.as_str().to_owned(),
            "ARGOCD_APP_SOURCE_PATH" => &self.source.path,
            "ARGOCD_APP_SOURCE_TARGET_REVISION" => &self.source.target,
            unknown => {
                self.unknown.insert(unknown.to_owned());
                return String::new();
            }
        };
        value.clone()
    }

    /// The text with `$NAME` and `${NAME}` filled in, and `$$` as one `$`.
    ///
    /// Source: Go's `os.Expand`, which Argo CD calls: a `$` before anything else stays, `${}` and an unclosed `${` go.
    pub(crate) fn filled(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let (name, length) = name(rest);
            match (name, length) {
                _ if rest.is_empty() => out.push('$'),
                ("", 0) => out.push('$'),
                ("", _) => {}
                (name, _) => out.push_str(&self.value(name)),
            }
            rest = &rest[length..];
        }
        out.push_str(rest);
        out
    }
}

/// The name behind a `$`, and how much of the text it takes.
fn name(text: &str) -> (&str, usize) {
    let is_special = |c: char| c.is_ascii_digit() || "*#$@!?-".contains(c);
    if let Some(inside) = text.strip_prefix('{') {
        return match inside.find('}') {
            Some(end) => (&inside[..end], end + 2),
            None => ("", 1),
        };
    }
    match text.chars().next() {
        Some(c) if is_special(c) => (&text[..1], 1),
        _ => {
            let end = text
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(text.len());
            (&text[..end], end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_as_argo_cd_does() {
        let facts = Facts {
            app: "shop-prod".to_owned(),
            namespace: "shop".to_owned(),
            project: "team".to_owned(),
            revision: "0123456789012345678901234567890123456789".parse().ok(),
        };
        let source = Source {
            remote: "https://git.example/shop.git".parse().expect("an address"),
            target: "main".to_owned(),
            path: "deploy".to_owned(),
            kind: lockstep_app::SourceType::Detect,
        };
        for (text, want, by_revision, unknown) in [
            ("plain", "plain", false, ""),
            ("$ARGOCD_APP_NAME", "shop-prod", false, ""),
            ("a${ARGOCD_APP_NAMESPACE}b", "ashopb", false, ""),
            ("$ARGOCD_APP_PROJECT_NAME/x", "team/x", false, ""),
            ("v-$ARGOCD_APP_REVISION_SHORT", "v-0123456", true, ""),
            ("$ARGOCD_APP_REVISION_SHORT_8.x", "01234567.x", true, ""),
            (
                "$ARGOCD_APP_SOURCE_REPO_URL",
                "https://git.example/shop.git",
                false,
                "",
            ),
            (
                "$ARGOCD_APP_SOURCE_PATH@$ARGOCD_APP_SOURCE_TARGET_REVISION",
                "deploy@main",
                false,
                "",
            ),
            ("$$ARGOCD_APP_NAME ${$}", "$ARGOCD_APP_NAME $", false, ""),
            ("$OTHER|", "|", false, "OTHER"),
            ("$1x", "x", false, "1"),
            ("50 $ and $", "50 $ and $", false, ""),
            ("${}a${b", "ab", false, ""),
            ("$é", "$é", false, ""),
        ] {
            let mut environment = Environment::new(&facts, &source);
            assert_eq!(environment.filled(text), want, "{text:?}");
            assert_eq!(environment.by_revision, by_revision, "{text:?}");
            let names: Vec<String> = environment.unknown.into_iter().collect();
            assert_eq!(names.join(" "), unknown, "{text:?}");
        }
    }
}
