//! Idempotency: a write that is sent twice under one key is carried out once.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};
use sha2::{Digest, Sha256};

use super::problem::Fail;

/// How many idempotency keys are remembered: a day of a busy pipeline, at some 200 bytes each.
const REMEMBERED: usize = 1024;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What was answered to which idempotency key; the oldest go first.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    by_key: HashMap<String, Answer>,
    order: VecDeque<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Answer {
    /// Of the verb, the app and the body: the same key with another request is a mistake.
    asked: [u8; 32],
    /// The operation's id, empty where there is none; none at all while the engine is being asked.
    operation: Option<String>,
}

impl Remembered {
    /// Carries a request out, once for each key that its sender gives it.
    ///
    /// Shape: `parts` are what makes the request another one: the verb, the app, the body. A request that failed may
    /// be sent again under the same key.
    pub(super) async fn once(
        &self,
        headers: &HeaderMap,
        by: &str,
        parts: &[&[u8]],
        carry: impl Future<Output = Result<String, Fail>>,
    ) -> Result<String, Fail> {
        let Some(key) = idempotency_key(headers)? else {
            return carry.await;
        };
        let key = format!("{by} {key}");
        let mut asked = Sha256::new();
        for part in parts {
            asked.update(part);
            asked.update([0]);
        }
        if let Some(operation) = self.begin(&key, asked.finalize().into())? {
            return Ok(operation);
        }
        let mut begun = Begun {
            remembered: self,
            key,
            operation: None,
        };
        let operation = carry.await?;
        begun.operation = Some(operation.clone());
        Ok(operation)
    }

    /// Begins a request under `key`, or says what became of it earlier.
    fn begin(&self, key: &str, asked: [u8; 32]) -> Result<Option<String>, Fail> {
        let mut answers = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match answers.by_key.get(key) {
            Some(answer) if answer.asked != asked => Err(Fail::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "sync.idempotency_key",
                "The idempotency key was used for another request",
            )
            .next("send each request with a key of its own")),
            Some(Answer {
                operation: Some(operation),
                ..
            }) => Ok(Some(operation.clone())),
            Some(Answer {
                operation: None, ..
            }) => Err(Fail::new(
                StatusCode::CONFLICT,
                "sync.in_flight",
                "The same request is being worked on",
            )
            .retry_after(Duration::from_secs(1))
            .next("send it again in a second")),
            None => {
                if answers.order.len() >= REMEMBERED
                    && let Some(oldest) = answers.order.pop_front()
                {
                    answers.by_key.remove(&oldest);
                }
                answers.order.push_back(key.to_owned());
                answers.by_key.insert(
                    key.to_owned(),
                    Answer {
                        asked,
                        operation: None,
                    },
                );
                Ok(None)
            }
        }
    }

    /// Ends it: with an operation it is remembered, without one it may be tried again.
    fn end(&self, key: &str, operation: Option<&str>) {
        let mut answers = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(operation) = operation {
            if let Some(answer) = answers.by_key.get_mut(key) {
                answer.operation = Some(operation.to_owned());
            }
        } else {
            answers.by_key.remove(key);
            answers.order.retain(|one| one != key);
        }
    }
}

/// Ends a request that was begun, also when its client goes away in the middle.
struct Begun<'a> {
    remembered: &'a Remembered,
    key: String,
    operation: Option<String>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.remembered.end(&self.key, self.operation.as_deref());
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fail> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= 200);
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        Fail::new(
            StatusCode::BAD_REQUEST,
            "sync.idempotency_key",
            "The idempotency key is empty or longer than 200 characters",
        )
        .next("use a random one, such as a UUID")
    })
}
