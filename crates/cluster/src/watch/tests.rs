use super::*;
use futures::io::Cursor;
use lockstep_manifest::ObjectId;

fn lines(text: &'static [u8]) -> Lines {
    Lines {
        permission: Permission {
            verbs: vec!["list", "watch"],
            group: String::new(),
            resource: "configmaps".into(),
            namespace: String::new(),
        },
        reader: Box::pin(Cursor::new(text)),
        buffer: Vec::new(),
        silence: Duration::from_secs(1),
    }
}

fn line(text: &[u8]) -> Line {
    match Line::parse(text) {
        Ok(Event::Line(line)) => line,
        Ok(Event::Error(status)) => panic!("{status:?}"),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn an_object_comes_through_whole_with_what_no_type_knows() {
    let text = br#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b","resourceVersion":"3","managedFields":[{"manager":"m","fieldsV1":{"f:data":{}}}],"newField":1},"data":{"k":"v"}}}"#;
    let Line::Applied(object) = line(text) else {
        panic!("it was added")
    };
    assert_eq!(
        object.id(),
        "ConfigMap b/a".parse::<ObjectId>().expect("an object")
    );
    assert_eq!(object.resource_version(), Some("3"));
    assert!(object.get(&["metadata", "newField"]).is_some());
    assert!(object.get(&["metadata", "managedFields"]).is_some());
}

#[test]
fn only_the_marked_bookmark_ends_what_is_said_at_first() {
    let plain =
        br#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","metadata":{"resourceVersion":"7"}}}"#;
    assert_eq!(
        line(plain),
        Line::Bookmark {
            version: "7".into(),
            end: false
        }
    );
    let end = br#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","metadata":{"resourceVersion":"8","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
    assert_eq!(
        line(end),
        Line::Bookmark {
            version: "8".into(),
            end: true
        }
    );
}

#[test]
fn an_error_in_the_stream_is_a_status() {
    let text = br#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;
    assert!(matches!(Line::parse(text), Ok(Event::Error(status)) if status.code == 410));
}

#[tokio::test]
async fn half_a_line_at_the_end_of_a_stream_is_no_event() {
    let mut lines = lines(b"{\"a\":1}\n{\"b\"");
    assert_eq!(lines.next().await.ok().flatten(), Some(&b"{\"a\":1}\n"[..]));
    assert!(matches!(lines.next().await, Ok(None)));
}

#[test]
fn waits_double_to_half_a_minute_and_no_further() {
    assert_eq!(wait(0, 1.0), Duration::from_millis(500));
    assert_eq!(wait(2, 1.0), Duration::from_secs(2));
    assert_eq!(wait(2, 0.0), Duration::from_secs(1));
    assert_eq!(wait(u32::MAX, 1.0), LONGEST_WAIT);
}
