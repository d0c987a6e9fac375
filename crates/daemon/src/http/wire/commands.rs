//! What can be done about an app, as commands to paste.

use lockstep_api::app::{AppCommand, Effect};
use lockstep_plan::Unstepped;
use lockstep_reconcile::view::{AppView, Word};

use super::next_move;

/// What can be done about an app, most useful first; three at most.
pub(super) fn commands(app: &AppView) -> Vec<AppCommand> {
    let at = format!("{} -e {}", app.name, app.environment);
    let command = |label: &str, verb: &str, effect| AppCommand {
        label: label.to_owned(),
        command: format!("lockstep {verb} {at}"),
        effect,
    };
    let look = || command("See what would change", "diff", Effect::Reads);
    if app.rollback.is_some() {
        return vec![
            command("Follow git again", "release", Effect::WritesCluster),
            command("See what was done", "history", Effect::Reads),
        ];
    }
    if let Some(stuck) = kept_by_somebody(app) {
        let command = format!("lockstep abandon {at} {stuck}");
        return vec![AppCommand {
            label: "Leave it behind".to_owned(),
            command,
            effect: Effect::WritesCluster,
        }];
    }
    let mut commands = match app.word {
        Word::Drifted => vec![
            command("Go back to git", "sync", Effect::WritesCluster),
            command("See what differs", "diff", Effect::Reads),
        ],
        Word::Held if app.plan_digest.is_some() => {
            vec![
                look(),
                command("Let it through", "sync", Effect::WritesCluster),
            ]
        }
        Word::Failing => vec![command("Try again now", "sync", Effect::WritesCluster)],
        Word::Syncing => vec![command("Wait for it", "wait", Effect::Reads)],
        Word::Held | Word::Unknown | Word::Synced => Vec::new(),
    };
    let suggested = app
        .why
        .as_ref()
        .and_then(|why| why.next.as_deref())
        .map(next_move);
    if let Some(suggested) = suggested.and_then(|next| next.command)
        && !commands.iter().any(|known| known.command == suggested)
    {
        let effect = if suggested.starts_with("lockstep sync") {
            Effect::WritesCluster
        } else {
            Effect::Reads
        };
        let first = AppCommand {
            label: "Next step".to_owned(),
            command: suggested,
            effect,
        };
        commands.insert(0, first);
        commands.truncate(3);
    }
    commands
}

/// The first object without which a deletion does not end, since somebody's finalizer stands on it: as the command line
/// takes it.
fn kept_by_somebody(app: &AppView) -> Option<String> {
    let plan = app.plan.as_ref().filter(|plan| plan.revision.is_none())?;
    plan.unstepped.iter().find_map(|(id, why)| match why {
        Unstepped::Terminating(going) if !going.finalizers.is_empty() => Some(format!(
            "{}/{}/{}/{}",
            id.group, id.kind, id.namespace, id.name
        )),
        _ => None,
    })
}
