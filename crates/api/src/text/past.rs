//! What was done to an app, as tables.

use crate::operation::{HookState, OperationResult};
use crate::past::{Deed, History, Log};
use crate::text::{plain, table, took};
use crate::time::Time;

/// Who asked, for people.
pub fn asked_by(who: &str) -> String {
    match who {
        "automated" => "policy".to_owned(),
        who => plain(who),
    }
}

fn short(revision: &str) -> String {
    plain(revision.get(..7).unwrap_or(revision))
}

/// The day and the minute: a table's times are absolute, since it may be kept.
fn minute(at: Time) -> String {
    at.timestamp().strftime("%Y-%m-%d %H:%M").to_string()
}

fn lasted(millis: Option<u64>) -> String {
    millis.map_or_else(|| "-".to_owned(), took)
}

/// The deployments that one can go back to, newest first; `live` is the commit that is live.
pub fn history(history: &History, live: Option<&str>) -> String {
    if history.items.is_empty() {
        return "Nothing was deployed yet.\n".to_owned();
    }
    let head = [
        "#", "RESULT", "COMMIT", "SUBJECT", "AUTHOR", "BY", "WHEN", "TOOK",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for (at, one) in history.items.iter().enumerate() {
        let is_live = at == 0 && live.is_none_or(|live| live == one.commit.sha);
        rows.push([
            one.n.to_string(),
            if is_live { "Live" } else { "Replaced" }.to_owned(),
            one.commit.short.clone(),
            plain(&one.commit.subject),
            plain(&one.commit.author),
            asked_by(&one.by),
            minute(one.deployed_at),
            lasted(one.took_ms),
        ]);
    }
    table(&rows)
}

/// Everything that was done, newest first.
pub fn log(log: &Log) -> String {
    if log.items.is_empty() {
        return "Nothing was done yet.\n".to_owned();
    }
    let head = ["WHEN", "WHAT", "RESULT", "COMMIT", "BY", "TOOK", "SAID"];
    let mut rows = vec![head.map(str::to_owned)];
    for one in &log.items {
        let is_heal = one.kind == Deed::Heal;
        rows.push([
            minute(one.finished_at),
            one.kind.text().to_owned(),
            if one.succeeded { "Succeeded" } else { "Failed" }.to_owned(),
            one.revision
                .as_deref()
                .map_or_else(|| "-".to_owned(), short),
            asked_by(&one.by),
            lasted(one.took_ms),
            match one.objects {
                times if is_heal && times > 1 => {
                    format!("{} ({times} times)", plain(&one.text))
                }
                _ => plain(&one.text),
            },
        ]);
    }
    table(&rows)
}

/// One hook of a sync: `PreSync hook Job/migrate runs`. None for an ordinary object.
pub fn hook(result: &OperationResult) -> Option<String> {
    let state = result.hook?;
    let which = format!(
        "{} hook {}",
        plain(&result.phase),
        plain(&result.id.short())
    );
    Some(match state {
        HookState::Running => format!("{which} runs"),
        HookState::Succeeded => format!("{which} has done its work"),
        HookState::Failed => format!("{which} failed: {}", plain(&result.message)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"total":2,"items":[
      {"id":"Deployment shop/web","kind":"heal","succeeded":true,"revision":"8c1d0be4a0b1c2d3e4f5061728394a5b6c7d8e9f",
       "by":"automated","startedAt":"2026-03-12T14:07:41.000Z","finishedAt":"2026-03-12T14:07:42.200Z","tookMs":1200,
       "objects":3,"text":"spec.replicas put back from 9 to 6"},
      {"id":"op-1","kind":"sync","succeeded":false,"revision":null,"by":"ann\u001b","startedAt":"2026-03-12T13:58:13.000Z",
       "finishedAt":"2026-03-12T13:58:23.000Z","tookMs":10000,"objects":0,"text":"one or more objects failed to apply"}]}"#;

    #[test]
    fn the_log_says_how_often_something_was_put_back_and_by_whom_a_sync_was_asked_for() {
        let read: Log = serde_json::from_str(LOG).expect("it is a log");
        assert_eq!(
            log(&read),
            "WHEN              WHAT  RESULT     COMMIT   BY      TOOK  SAID\n\
             2026-03-12 14:07  Heal  Succeeded  8c1d0be  policy  1.2s  spec.replicas put back from 9 to 6 (3 times)\n\
             2026-03-12 13:58  Sync  Failed     -        ann\u{fffd}    10s   one or more objects failed to apply\n"
        );
        let none = Log {
            items: Vec::new(),
            total: 0,
        };
        assert_eq!(log(&none), "Nothing was done yet.\n");
    }
}
