//! The API server's `Status`: how it says no.
//!
//! Source: `k8s.io/apimachinery/pkg/apis/meta/v1`, types `Status`, `StatusDetails`, `StatusCause`.

use serde::Deserialize;

/// The longest text of the server's that we keep: enough for every validation error worth reading, and small
/// enough that ten thousand of them in a status page are no burden.
const LONGEST_TEXT: usize = 1000;

/// The server's answer to what it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    /// The HTTP status.
    pub(crate) code: u16,
    /// The machine-readable reason, such as `Invalid`; often empty for internal errors.
    pub(crate) reason: String,
    /// The text for people. It may quote values of the object.
    pub(crate) message: String,
    /// What it is about.
    pub(crate) details: Option<Details>,
}

/// What a refusal is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Details {
    /// The object's name.
    pub(crate) name: String,
    /// The resource (`deployments`) or the kind; the server uses both.
    pub(crate) kind: String,
    /// Why, one by one.
    pub(crate) causes: Vec<Cause>,
    /// When to come back.
    pub(crate) retry_after_seconds: u64,
}

/// One cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Cause {
    /// Such as `FieldValueInvalid`.
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
    /// The field's path.
    pub(crate) field: String,
}

impl Status {
    /// Reads an answer with an error status. What is no `Status` (a proxy's page) is reduced to its code.
    pub(crate) fn from_answer(code: u16, body: &[u8], retry_after: Option<u64>) -> Self {
        let mut status: Self = serde_json::from_slice(body).unwrap_or_else(|_| Self {
            reason: "NotAStatus".to_owned(),
            message: "the answer was no Kubernetes status".to_owned(),
            ..Self::default()
        });
        status.code = code;
        if let Some(seconds) = retry_after {
            status.details.get_or_insert_default().retry_after_seconds = seconds;
        }
        status
    }

    /// Its causes.
    pub(crate) fn causes(&self) -> &[Cause] {
        self.details.as_ref().map_or(&[], |details| &details.causes)
    }

    /// Is there a cause with this reason?
    pub(crate) fn has_cause(&self, reason: &str) -> bool {
        self.causes().iter().any(|cause| cause.reason == reason)
    }

    /// The object it is about, when it says so. A path that is not served at all answers 404 without a name.
    pub(crate) fn names(&self) -> Option<(&str, &str)> {
        let details = self.details.as_ref()?;
        (!details.name.is_empty()).then_some((details.kind.as_str(), details.name.as_str()))
    }

    /// The seconds to wait, when it says so.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.details
            .as_ref()
            .map(|details| details.retry_after_seconds)
            .filter(|s| *s > 0)
    }
}

/// A text of the server's, made fit to be shown: one line, no control characters, bounded.
pub(crate) fn presentable(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(LONGEST_TEXT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(LONGEST_TEXT).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_error_page_is_reduced_to_its_code() {
        let status = Status::from_answer(502, b"<html>secret=1</html>", Some(7));
        assert_eq!(status.code, 502);
        assert_eq!(status.message, "the answer was no Kubernetes status");
        assert_eq!(status.retry_after(), Some(7));
    }

    #[test]
    fn a_text_of_the_servers_becomes_one_bounded_line() {
        assert_eq!(presentable("a\nb\u{1b}[0m"), "a b [0m");
        assert_eq!(
            presentable(&"x".repeat(2000)).chars().count(),
            LONGEST_TEXT + 1
        );
    }
}
