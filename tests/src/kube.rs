//! A small client for tests: JSON in and out, watches instead of waiting.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt as _;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::controlplane::Address;

/// How long anything may take in a test; a busy machine with two cores needs some of it.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Kinds that tests use: group and version, plural, namespaced.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("Namespace", "api/v1", "namespaces", false),
    ("ConfigMap", "api/v1", "configmaps", true),
    ("Secret", "api/v1", "secrets", true),
    ("Service", "api/v1", "services", true),
    ("ServiceAccount", "api/v1", "serviceaccounts", true),
    ("Pod", "api/v1", "pods", true),
    (
        "PersistentVolumeClaim",
        "api/v1",
        "persistentvolumeclaims",
        true,
    ),
    ("Deployment", "apis/apps/v1", "deployments", true),
    ("StatefulSet", "apis/apps/v1", "statefulsets", true),
    ("Job", "apis/batch/v1", "jobs", true),
    ("CronJob", "apis/batch/v1", "cronjobs", true),
    ("Ingress", "apis/networking.k8s.io/v1", "ingresses", true),
    (
        "NetworkPolicy",
        "apis/networking.k8s.io/v1",
        "networkpolicies",
        true,
    ),
    (
        "HorizontalPodAutoscaler",
        "apis/autoscaling/v2",
        "horizontalpodautoscalers",
        true,
    ),
    (
        "PodDisruptionBudget",
        "apis/policy/v1",
        "poddisruptionbudgets",
        true,
    ),
    ("Role", "apis/rbac.authorization.k8s.io/v1", "roles", true),
    (
        "RoleBinding",
        "apis/rbac.authorization.k8s.io/v1",
        "rolebindings",
        true,
    ),
    (
        "ClusterRole",
        "apis/rbac.authorization.k8s.io/v1",
        "clusterroles",
        false,
    ),
    (
        "ClusterRoleBinding",
        "apis/rbac.authorization.k8s.io/v1",
        "clusterrolebindings",
        false,
    ),
    (
        "CustomResourceDefinition",
        "apis/apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        false,
    ),
    (
        "ValidatingAdmissionPolicy",
        "apis/admissionregistration.k8s.io/v1",
        "validatingadmissionpolicies",
        false,
    ),
    (
        "ValidatingAdmissionPolicyBinding",
        "apis/admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
        false,
    ),
    (
        "MutatingAdmissionPolicy",
        "apis/admissionregistration.k8s.io/v1",
        "mutatingadmissionpolicies",
        false,
    ),
    (
        "MutatingAdmissionPolicyBinding",
        "apis/admissionregistration.k8s.io/v1",
        "mutatingadmissionpolicybindings",
        false,
    ),
    (
        "MutatingWebhookConfiguration",
        "apis/admissionregistration.k8s.io/v1",
        "mutatingwebhookconfigurations",
        false,
    ),
    ("Lease", "apis/coordination.k8s.io/v1", "leases", true),
    (
        "Application",
        "apis/argoproj.io/v1alpha1",
        "applications",
        true,
    ),
    (
        "AppProject",
        "apis/argoproj.io/v1alpha1",
        "appprojects",
        true,
    ),
    ("ResourceQuota", "api/v1", "resourcequotas", true),
    ("Record", "apis/lockstep.dev/v1alpha1", "records", true),
    ("Bundle", "apis/lockstep.dev/v1alpha1", "bundles", true),
];

/// A client with the administrator's rights.
#[derive(Clone)]
pub struct Kube {
    client: Client,
    server: String,
    token: String,
}

/// Where an object, or with an empty name a collection, is.
///
/// # Panics
/// For a kind that the table above does not have.
pub fn path(kind: &str, namespace: &str, name: &str) -> String {
    let (_, prefix, plural, namespaced) = KINDS
        .iter()
        .find(|(known, ..)| *known == kind)
        .unwrap_or_else(|| panic!("{kind} is not in the table of kinds"));
    let within = if *namespaced && !namespace.is_empty() {
        format!("/namespaces/{namespace}")
    } else {
        String::new()
    };
    let name = if name.is_empty() {
        String::new()
    } else {
        format!("/{name}")
    };
    format!("/{prefix}{within}/{plural}{name}")
}

impl Kube {
    /// The administrator.
    pub fn admin(address: &Address) -> Result<Self> {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&address.ca)?)?;
        let client = Client::builder()
            .tls_certs_only([ca])
            .user_agent("lockstep-tests")
            .build()?;
        Ok(Self {
            client,
            server: address.server.clone(),
            token: address.admin_token.clone(),
        })
    }

    /// Sends one request; the answer whatever its status. Sends it again, a second later, when the server asks for
    /// that: while a definition changes, its storage is being made anew.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..PATIENCE.as_secs() {
            tick.tick().await;
            let (status, answer) = self.send_once(&method, path, content_type, body).await?;
            if status != StatusCode::TOO_MANY_REQUESTS {
                return Ok((status, answer));
            }
        }
        bail!("{method} {path}: the API server has had too much to do for {PATIENCE:?}")
    }

    async fn send_once(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.server))
            .bearer_auth(&self.token)
            .timeout(PATIENCE);
        if let Some(body) = body {
            request = request
                .header("Content-Type", content_type)
                .body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((status, value))
    }

    async fn expect(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let (status, value) = self.send(method.clone(), path, kind, body).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", value["message"]);
        }
        Ok(value)
    }

    /// Reads; none when it is not there.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let (status, value) = self.send(Method::GET, path, "", None).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(value)),
            status => bail!("GET {path}: {status}: {}", value["message"]),
        }
    }

    /// Reads what has to be there.
    pub async fn must(&self, path: &str) -> Result<Value> {
        self.get(path)
            .await?
            .ok_or_else(|| anyhow!("{path} is not there"))
    }

    /// The items of a collection.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.must(path).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Creates an object; the collection is found from its kind and namespace.
    pub async fn create(&self, object: &Value) -> Result<Value> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        self.expect(
            Method::POST,
            &path(kind, namespace, ""),
            "application/json",
            Some(object),
        )
        .await
    }

    /// Server-side apply with force in this manager's name.
    pub async fn apply(&self, object: &Value, manager: &str) -> Result<Value> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!(
            "{}?fieldManager={manager}&force=true",
            path(kind, namespace, name)
        );
        self.expect(
            Method::PATCH,
            &path,
            "application/apply-patch+yaml",
            Some(object),
        )
        .await
    }

    /// A merge patch, in the name of `manager`.
    pub async fn patch(&self, path: &str, body: Value, manager: &str) -> Result<Value> {
        let path = format!("{path}?fieldManager={manager}");
        self.expect(
            Method::PATCH,
            &path,
            "application/merge-patch+json",
            Some(&body),
        )
        .await
    }

    /// Deletes; what is not there is deleted already.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let (status, value) = self.send(Method::DELETE, path, "", None).await?;
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            bail!("DELETE {path}: {status}: {}", value["message"]);
        }
        Ok(())
    }

    /// Makes a namespace and waits for its ServiceAccount, without which no pod is admitted.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        self.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await?;
        self.until(
            "ServiceAccount",
            name,
            "default",
            "the ServiceAccount default",
            |found| found.is_some(),
        )
        .await?;
        Ok(())
    }

    /// Watches one object until `holds` is true of it (none: it is not there), and answers with it.
    ///
    /// Errors: [`PATIENCE`] is over; says what was awaited and what was seen last.
    pub async fn until(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        what: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Result<Option<Value>> {
        let mut last = None;
        let waited = tokio::time::timeout(
            PATIENCE,
            self.follow(kind, namespace, name, &holds, &mut last),
        )
        .await;
        if let Ok(result) = waited {
            return result;
        }
        let seen: String = serde_json::to_string(&last)?.chars().take(3000).collect();
        bail!("waited {PATIENCE:?} for {what} of {kind} {namespace}/{name}; seen last: {seen}")
    }

    async fn follow(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        holds: &impl Fn(Option<&Value>) -> bool,
        last: &mut Option<Value>,
    ) -> Result<Option<Value>> {
        let collection = path(kind, namespace, "");
        loop {
            let list = self
                .must(&format!(
                    "{collection}?fieldSelector=metadata.name%3D{name}"
                ))
                .await?;
            let found = list["items"]
                .as_array()
                .and_then(|items| items.first())
                .cloned();
            if holds(found.as_ref()) {
                return Ok(found);
            }
            *last = found;
            let version = list["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or("0")
                .to_owned();
            let url = format!(
                "{}{collection}?watch=true&fieldSelector=metadata.name%3D{name}&resourceVersion={version}",
                self.server
            );
            let answer = self.client.get(url).bearer_auth(&self.token).send().await?;
            let mut stream = answer.bytes_stream();
            let mut buffer = Vec::new();
            while let Some(chunk) = stream.next().await {
                buffer.extend_from_slice(&chunk.context("the watch broke off")?);
                while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line)?;
                    if event["type"] == "ERROR" {
                        break; // too old a version: list again
                    }
                    let object = (event["type"] != "DELETED").then(|| event["object"].clone());
                    if holds(object.as_ref()) {
                        return Ok(object);
                    }
                    *last = object;
                }
            }
        }
    }
}
