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

/// The reason catalogue: codes that stand in `reason.code` and in errors. A test compares it with the sources.
pub(super) const REASONS: &[(&str, &str)] = &[
    (
        "syncing.queued",
        "A few apps sync at once; this one is next when another is done. A person's sync does not wait.",
    ),
    (
        "spec.invalid",
        "The Application says something that it may not. The message names the field.",
    ),
    (
        "spec.several_repositories",
        "The Application’s sources are of several repositories or targets, which this version does not bring together.",
    ),
    (
        "project.missing",
        "The AppProject that the Application names is not there.",
    ),
    (
        "project.invalid",
        "The AppProject cannot be read. The message names the field.",
    ),
    (
        "project.refused",
        "The AppProject does not allow the repository, the destination or the kind.",
    ),
    (
        "project.remote_base",
        "A kustomization names another repository, which the AppProject allows by * alone. The message says what to write.",
    ),
    (
        "repo.unreachable",
        "The repository does not answer. Nothing is changed until it does; it is asked again by itself.",
    ),
    (
        "repo.timed_out",
        "The repository took too long. It is asked again by itself.",
    ),
    (
        "repo.rate_limited",
        "The git host wants to be asked less often. It is asked again when it allows that.",
    ),
    (
        "repo.refused",
        "The git host refuses the login. Look at the repository Secret that the message names.",
    ),
    (
        "repo.not_found",
        "There is no such repository, or the login may not see it.",
    ),
    (
        "repo.not_git",
        "What answers at that address is no git repository.",
    ),
    (
        "repo.redirected",
        "The address redirects elsewhere, and a login is not sent there. Write the new address.",
    ),
    (
        "repo.plain_http",
        "A login would go over plain http. Use https.",
    ),
    (
        "repo.unsupported",
        "The address is of a kind that this version does not fetch from.",
    ),
    (
        "repo.no_such_target",
        "The branch, tag or commit is not in the repository. Nothing is deleted because of that.",
    ),
    (
        "repo.ref_missing",
        "The branch, tag or commit is not in the repository any more. Nothing is deleted because of that.",
    ),
    (
        "repo.ambiguous_target",
        "The target names more than one thing. Write refs/heads/… or refs/tags/… in full.",
    ),
    (
        "repo.not_a_commit",
        "The target names something that is no commit.",
    ),
    (
        "repo.too_large",
        "The repository is larger than the configuration allows.",
    ),
    (
        "repo.corrupt",
        "What the git host sent does not hold together. It is fetched again.",
    ),
    (
        "repo.unreadable",
        "The fetched commit cannot be read. It is fetched again.",
    ),
    (
        "repo.storage",
        "The cache of repositories cannot be written. Look at the daemon’s directory.",
    ),
    (
        "repo.disk_full",
        "The disk of the cache of repositories is full.",
    ),
    (
        "render.field_unknown",
        "A file has a field that its reader does not know. The message names file and line.",
    ),
    (
        "render.field_type",
        "A field has a value of the wrong kind. The message names file and line.",
    ),
    (
        "render.invalid",
        "A file says something that cannot be. The message names file and line.",
    ),
    (
        "render.yaml",
        "A file is no YAML. The message names file and line.",
    ),
    (
        "render.file_missing",
        "A file that another one names is not in the commit.",
    ),
    (
        "render.path_missing",
        "The folder that the Application names is not in the commit.",
    ),
    (
        "render.kustomization_missing",
        "A folder that is used as a kustomization has no kustomization file.",
    ),
    (
        "render.outside",
        "A file names something outside the repository.",
    ),
    (
        "render.remote",
        "A kustomization names another repository where nothing is fetched, such as lockstep render.",
    ),
    (
        "render.unsupported",
        "A file uses something that this version does not render. The message names it.",
    ),
    ("render.unreadable", "A file cannot be read as text."),
    (
        "render.limit",
        "Rendering would cost more than it may. The message names the limit.",
    ),
    ("render.timeout", "Rendering took longer than it may."),
    ("render.empty", "The commit renders to nothing."),
    (
        "render.panic",
        "Rendering this commit broke Lockstep. This is a bug; the commit is not tried again.",
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
    ("health.degraded", "An object says that it failed."),
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
        "held.prune_budget",
        "More objects left git than may be deleted without a person (pruneBudget, 10 or a quarter): none is deleted until somebody syncs.",
    ),
    (
        "held.prune_protected",
        "Something left git that git cannot bring back: a Namespace, a volume, a CRD, a StatefulSet, a TLS Secret, or what carries lockstep.dev/protect. A person lets it go.",
    ),
    (
        "held.prune_off",
        "Something is no longer in git, and policy or Prune=false keeps it.",
    ),
    (
        "held.empty_render",
        "The commit renders to nothing. Deleting everything needs automated.allowEmpty, or a person.",
    ),
    (
        "held.prune_confirm",
        "Prune=confirm stands on what left git: it waits for a person’s sync, or for argocd.argoproj.io/deletion-approved on the Application.",
    ),
    (
        "held.record_lost",
        "The record of what the app may have touched was lost. What was found by its marks alone is deleted by a person’s sync only.",
    ),
    (
        "held.rollback",
        "The app was rolled back and is kept there: drift is put back to it, and a newer commit, a release or its time ends it.",
    ),
    (
        "sync.failed",
        "A sync of this commit failed. By itself it is not tried again: another commit does, or a person.",
    ),
    ("sync.none", "No sync is running, so there is none to end."),
    (
        "sync.shared_resource",
        "FailOnSharedResource=true, and another app has one of the objects: nothing is applied.",
    ),
    (
        "spec.unknown_hook",
        "A hook annotation says something that nobody knows. The commit is not taken, since what was to run before or after it is not known.",
    ),
    (
        "hook.in_the_way",
        "An object that is not this app’s stands under the name of a hook, so the hook was not made.",
    ),
    (
        "delete.hook_failed",
        "A hook of the deletion failed. Nothing more is deleted until somebody syncs, which runs the hooks again.",
    ),
    (
        "delete.hooks_unknown",
        "The Application says that hooks run when it is deleted, and they are neither stored nor to be had from git.",
    ),
    (
        "rollback.unknown",
        "The deployment to go back to is not among the last ones.",
    ),
    (
        "rollback.none",
        "The app was not rolled back, so there is nothing to release.",
    ),
    (
        "rollback.leaving",
        "The Application is being deleted, so there is nothing to go back to.",
    ),
    (
        "rollback.body",
        "The body of the rollback is not what it takes: to is a deployment’s number or seven digits of its commit.",
    ),
    (
        "rollback.until",
        "How long to stay is a word (newer-commit, release), a time to come, or a length of time.",
    ),
    (
        "rollback.differs",
        "The commit renders to something else today than what was deployed of it, and what was deployed is not stored in whole.",
    ),
    (
        "abandon.unknown",
        "The object to give up is not one of this app’s.",
    ),
    (
        "abandon.wanted",
        "The object to give up is in git, so it would be taken up again at once.",
    ),
    (
        "abandon.body",
        "The body names the objects to give up, each with group, kind, namespace and name.",
    ),
    (
        "bundle.too_large",
        "What was deployed is too large to be stored; going back to it renders the commit again.",
    ),
    (
        "lockstep.broken",
        "A bug of Lockstep’s stopped this app and no other.",
    ),
    (
        "held.shared",
        "The object is not this app’s to change: another app has it in git, or it carries no mark of ours.",
    ),
    (
        "held.owned_by_other",
        "Another app has the same object in git.",
    ),
    (
        "held.project",
        "The AppProject does not allow something that git wants.",
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
    (
        "config.invalid",
        "The configuration file is wrong, so the last good one stays in force. lockstep validate shows every mistake.",
    ),
    (
        "config.cluster",
        "The way to the API server cannot be read: the kubeconfig, or the pod’s service account.",
    ),
    (
        "lease.lost",
        "This replica does not hold the lease, so it writes nothing.",
    ),
    (
        "lease.not_written",
        "What several apps were about to touch could not be written into the lease, so nothing was touched; each claims again.",
    ),
    ("app.not_found", "No app has that name in that environment."),
    ("app.gone", "The app’s Application was deleted."),
    (
        "plan.none",
        "Cluster and git have not been compared yet, so there is no plan.",
    ),
    (
        "operation.not_found",
        "The last operations are remembered; older ones are in the history of their app.",
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
    ("sync.in_flight", "The same request is being worked on."),
    (
        "sync.idempotency_key",
        "An idempotency key stands for one request; another request needs another key.",
    ),
    ("sync.body", "The body of the sync is not what it takes."),
    (
        "sync.revision",
        "A sync goes to the target, or to a complete commit id.",
    ),
    (
        "sync.other_revision",
        "The app syncs by itself to its target, so a sync to another commit would be undone at once.",
    ),
    (
        "sync.unsupported",
        "Argo CD has a sync of that kind, Lockstep has not.",
    ),
    (
        "access.token",
        "A token is needed: lockstep token create NAME makes one.",
    ),
    (
        "access.no_tokens",
        "Nobody may write yet: lockstep token create NAME makes the first token.",
    ),
    (
        "access.cross_site",
        "A browser may not be made to write by another site.",
    ),
    (
        "webhook.no_secret",
        "Without a secret nobody’s word can be trusted, so the webhook is off. Repositories are polled.",
    ),
    (
        "webhook.signature",
        "The delivery is not signed with the secret that Lockstep has.",
    ),
    (
        "webhook.body",
        "The delivery is signed, but it is not the JSON of a push.",
    ),
    (
        "stream.full",
        "Every live stream is taken. The page works without, and says as of when it is.",
    ),
    ("http.not_found", "There is nothing at that address."),
    (
        "http.method",
        "The address does not take that method; the header Allow says which it takes.",
    ),
    (
        "http.body_too_large",
        "The body is larger than http.limits.body of the configuration, or than a sync can be.",
    ),
    (
        "http.media_type",
        "The body is to be declared as application/json.",
    ),
    (
        "http.bad_request",
        "A part of the address or the body is not what the address takes.",
    ),
    (
        "http.timeout",
        "The request took longer than http.limits.timeout of the configuration.",
    ),
    (
        "http.refused",
        "The request was refused; the status says why.",
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
        "lockstep.busy",
        "The engine has too much to do, or did not answer in time.",
    ),
    (
        "lockstep.internal",
        "A bug of Lockstep. The log has the cause under the request’s id.",
    ),
];
