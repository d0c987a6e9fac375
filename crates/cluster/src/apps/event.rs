//! Kubernetes Events: what `kubectl describe` shows below an Application.

use jiff::Timestamp;
use lockstep_manifest::{Gvk, ObjectId, Uid};
use serde_json::{Value, json};

use super::Apps;
use crate::refusal::WriteError;

/// Who reports, as `events.k8s.io` wants it: a qualified name.
const CONTROLLER: &str = "lockstep.dev/lockstep";

/// The longest text that the API takes.
const LONGEST_NOTE: usize = 1024;

/// Is it as it should be?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It is.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The object's kind.
    pub gvk: Gvk,
    /// Which object.
    pub object: ObjectId,
    /// Its uid.
    pub uid: Uid,
    /// See [`EventType`].
    pub event_type: EventType,
    /// One word in CamelCase, for machines: `Synced`.
    pub reason: String,
    /// What was being done: `Sync`.
    pub action: String,
    /// For people; cut at 1024 bytes.
    pub note: String,
    /// The replica.
    pub instance: String,
    /// When.
    pub at: Timestamp,
}

impl Apps {
    /// Writes an Event into the object's namespace. Losing one loses nothing but a line for people.
    pub async fn event(&self, event: &NewEvent) -> Result<(), WriteError> {
        let gvk = Gvk::from_api_version("events.k8s.io/v1", "Event");
        let body = body(event);
        let object = ObjectId {
            group: gvk.group.clone(),
            kind: gvk.kind.clone(),
            namespace: event.object.namespace.clone(),
            name: body["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        self.create(&gvk, &object, &body).await.map(|_| ())
    }
}

fn body(event: &NewEvent) -> Value {
    let NewEvent { object, at, .. } = event;
    // As client-go names them: unique by time, and readable.
    let stem: String = object.name.chars().take(230).collect();
    let micros = at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{stem}.{:x}", at.as_nanosecond()),
            "namespace": object.namespace,
        },
        "eventTime": micros,
        "reportingController": CONTROLLER,
        "reportingInstance": cut(&event.instance, 128),
        "action": cut(&event.action, 128),
        "reason": cut(&event.reason, 128),
        "regarding": {
            "apiVersion": event.gvk.api_version(),
            "kind": object.kind,
            "namespace": object.namespace,
            "name": object.name,
            "uid": event.uid.0,
        },
        "note": cut(&event.note, LONGEST_NOTE),
        "type": match event.event_type {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        },
    })
}

/// At most so many bytes, and no half character.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }

    #[test]
    fn an_events_name_and_time_come_from_the_moment_it_happened() {
        let gvk = Gvk::from_api_version("argoproj.io/v1alpha1", "Application");
        let event = NewEvent {
            object: ObjectId {
                group: gvk.group.clone(),
                kind: gvk.kind.clone(),
                namespace: "argocd".into(),
                name: "web".into(),
            },
            gvk,
            uid: Uid("u".into()),
            event_type: EventType::Normal,
            reason: "Synced".into(),
            action: "Sync".into(),
            note: "1 created".into(),
            instance: "lockstep-0".into(),
            at: Timestamp::from_nanosecond(1_700_000_000_123_456_789).expect("a time"),
        };
        let body = body(&event);
        assert_eq!(body["metadata"]["name"], "web.17979cfe3d85cd15");
        assert_eq!(body["eventTime"], "2023-11-14T22:13:20.123456Z");
    }
}
