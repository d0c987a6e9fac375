//! Request paths. Names come from git and may be hostile: `../secrets` must not become another path.

use std::fmt::Write as _;

use crate::served::Resource;

/// A name that cannot stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a name: it is empty, too long, a dot or two, or has a slash or a percent sign"
)]
pub(crate) struct NotAName(String);

/// Checks and escapes one part of a path.
///
/// Source: `k8s.io/apimachinery/pkg/api/validation/path`; 253 is the longest name of any kind.
pub(crate) fn segment(text: &str) -> Result<String, NotAName> {
    let forbidden = text.is_empty() || text.len() > 253 || text == "." || text == "..";
    if forbidden || text.contains(['/', '%']) {
        return Err(NotAName(text.chars().take(64).collect()));
    }
    Ok(escape(text))
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
    out
}

/// The path with a query. The keys are ours and need no escaping.
pub(crate) fn query(mut path: String, pairs: &[(&str, &str)]) -> String {
    for (index, (key, value)) in pairs.iter().enumerate() {
        path.push(if index == 0 { '?' } else { '&' });
        path.push_str(key);
        path.push('=');
        path.push_str(&escape(value));
    }
    path
}

/// The path of all objects of a kind; in one namespace where it is given and the kind has namespaces.
pub(crate) fn collection(resource: &Resource, namespace: &str) -> Result<String, NotAName> {
    let gvk = &resource.gvk;
    let mut path = if gvk.group.is_empty() {
        format!("/api/{}", segment(&gvk.version)?)
    } else {
        format!("/apis/{}/{}", segment(&gvk.group)?, segment(&gvk.version)?)
    };
    if resource.namespaced && !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(&segment(namespace)?);
    }
    path.push('/');
    path.push_str(&segment(&resource.plural)?);
    Ok(path)
}

/// The path of one object.
pub(crate) fn object(resource: &Resource, namespace: &str, name: &str) -> Result<String, NotAName> {
    Ok(format!(
        "{}/{}",
        collection(resource, namespace)?,
        segment(name)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_manifest::Gvk;

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        let resource = Resource {
            gvk: Gvk::from_api_version("rbac.authorization.k8s.io/v1", "Role"),
            plural: "roles".to_owned(),
            namespaced: true,
        };
        assert_eq!(
            object(&resource, "shop", "system:a b?").as_deref(),
            Ok("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/system%3Aa%20b%3F")
        );
        for name in ["", ".", "..", "../x", "a/b", "%2e%2e"] {
            assert!(object(&resource, "shop", name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_cluster_scoped_kind_has_no_namespace_in_its_path() {
        let resource = Resource {
            gvk: Gvk::from_api_version("v1", "Namespace"),
            plural: "namespaces".to_owned(),
            namespaced: false,
        };
        assert_eq!(
            object(&resource, "shop", "a").as_deref(),
            Ok("/api/v1/namespaces/a")
        );
    }
}
