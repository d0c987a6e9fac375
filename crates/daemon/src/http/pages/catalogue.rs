//! The words and the reasons, explained: what `/help/words` shows.

use lockstep_api::State;

use crate::http::words;

/// A state with its meaning.
pub(super) struct Meaning {
    pub(super) role: &'static str,
    pub(super) text: &'static str,
    pub(super) says: &'static str,
}

impl Meaning {
    pub(super) fn of(state: State) -> Self {
        let says = match state {
            State::Failing => {
                "The wanted commit failed at a step (render, diff, apply), or the app’s health is degraded."
            }
            State::Drifted => {
                "The latest commit is applied, the cluster differs from it, and policy leaves it or waits before putting it back."
            }
            State::Held => {
                "There is something to do, and something forbids it: an approval that is missing, a policy, another app."
            }
            State::Unknown => {
                "Lockstep can’t see what it needs: the cluster or the repository does not answer, a right is missing, or nothing was compared yet. Nothing is deleted meanwhile."
            }
            State::Syncing => {
                "A commit is between “seen” and “healthy”, or drift is being put back right now."
            }
            State::Synced => "The cluster equals the wanted commit and is healthy.",
        };
        Self {
            role: words::role(state),
            text: state.text(),
            says,
        }
    }
}

/// The steps of the strip.
pub(super) const STEPS: [(&str, &str); 5] = [
    ("Commit", "Which commit the target names."),
    ("Render", "What its files say, as objects."),
    ("Diff", "What a sync would change in the cluster, and why."),
    (
        "Apply",
        "Server-side apply of every object that differs, in the order of waves and kinds.",
    ),
    ("Health", "What was applied is doing what it should."),
];

/// The reason catalogue: codes that stand in `reason.code` and in errors.
pub(super) const REASONS: [(&str, &str); 49] = [
    (
        "render.field_unknown",
        "A file has a field that its reader does not know. The message names file and line.",
    ),
    (
        "render.file_missing",
        "A file that another one names is not in the commit.",
    ),
    (
        "render.empty",
        "The commit renders to nothing. Deleting everything needs automated.allowEmpty or a person.",
    ),
    ("render.timeout", "Rendering took longer than it may."),
    (
        "repo.unreachable",
        "The repository does not answer. Nothing is changed until it does; it is asked again by itself.",
    ),
    (
        "repo.refused",
        "The repository refuses the login. Look at the repository Secret that the message names.",
    ),
    (
        "repo.ref_missing",
        "The branch, tag or commit is not in the repository. Nothing is deleted because of that.",
    ),
    (
        "diff.forbidden",
        "The API server does not let Lockstep look. The message names the rule that is missing.",
    ),
    (
        "apply.immutable_field",
        "Kubernetes never lets that field change. Put the old value back, or delete the object by hand.",
    ),
    (
        "apply.conflict",
        "Another writer changed the object at the same moment. It is tried again by itself.",
    ),
    (
        "apply.denied_by_admission",
        "An admission rule of the cluster refused the object. The message is the rule’s own.",
    ),
    (
        "apply.invalid",
        "The API server says that the object is not valid. The message names the field.",
    ),
    ("apply.quota", "A quota of the namespace is used up."),
    (
        "apply.forbidden",
        "The API server does not let Lockstep write. The message names the rule that is missing.",
    ),
    (
        "apply.crd_missing",
        "The cluster does not know the kind, and nothing in the app brings it.",
    ),
    (
        "apply.namespace_missing",
        "The namespace is not there. CreateNamespace=true makes it.",
    ),
    (
        "health.crashloop",
        "A container starts and ends again and again.",
    ),
    ("health.image_pull", "An image cannot be pulled."),
    ("health.unschedulable", "No node takes the pod."),
    ("health.probe", "A probe says that the pod is not ready."),
    (
        "health.deadline",
        "It did not become healthy within its deadline.",
    ),
    ("health.degraded", "An object says that it failed."),
    (
        "held.approval",
        "The environment wants a person to let new commits through: look at the plan, then sync.",
    ),
    (
        "held.manual",
        "The Application has no automated sync, so it waits for one by hand.",
    ),
    (
        "held.policy",
        "The policy holds new commits until it is changed.",
    ),
    (
        "held.prune",
        "Something is to be deleted, and the environment wants a person to let that through.",
    ),
    (
        "held.hook",
        "An object is a hook; this version does not run hooks, so it is never applied as an ordinary object.",
    ),
    ("held.shared", "Another app has the same object in git."),
    (
        "held.project",
        "The AppProject does not allow the repository, the destination or the kind.",
    ),
    (
        "held.environment",
        "The label lockstep.dev/environment names no environment of the configuration.",
    ),
    (
        "held.paused",
        "The Application is paused by its annotation.",
    ),
    (
        "drift.reported",
        "The cluster differs from git, and policy leaves it until somebody takes a side.",
    ),
    (
        "drift.reverting_after",
        "The cluster differs from git, and it is put back at the time that the page shows.",
    ),
    (
        "drift.contested",
        "Two writers take turns at a field. Let one of them go.",
    ),
    (
        "unknown.cluster",
        "The API server does not answer. What is shown was last seen there.",
    ),
    (
        "unknown.permission",
        "A right to look is missing. The message names the rule.",
    ),
    (
        "unknown.first_check",
        "The first comparison is not done yet.",
    ),
    ("app.not_found", "No app has that name in that environment."),
    ("app.gone", "The app’s Application was deleted."),
    (
        "access.token",
        "A token is needed: lockstep token create NAME makes one.",
    ),
    (
        "access.no_tokens",
        "Nobody may write yet: lockstep token create NAME makes the first token.",
    ),
    (
        "sync.plan_changed",
        "The plan that was approved is not the plan any more. Nothing was done; look at the new one.",
    ),
    (
        "sync.plan_missing",
        "A sync says which plan it approves: the digest that …/plan shows.",
    ),
    ("sync.running", "A sync of the app runs already."),
    (
        "webhook.no_secret",
        "Without a secret nobody’s word can be trusted, so the webhook is off. Repositories are polled.",
    ),
    (
        "webhook.signature",
        "The delivery is not signed with the secret that Lockstep has.",
    ),
    (
        "lockstep.starting",
        "Not every Application has been read yet; this takes seconds.",
    ),
    (
        "lockstep.standby",
        "Another replica holds the lease and does the work.",
    ),
    (
        "lockstep.internal",
        "A bug of Lockstep. The log has the cause under the request’s id.",
    ),
];
