//! `lockstep diff`: what a sync would do.

use std::fmt::Write as _;

use lockstep_api::plan::StepAction;
use lockstep_api::{PlanView, text};

use crate::cli::{DiffArgs, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::server::Server;
use crate::target::{Purpose, Target, Written};

/// Prints the plan; exit code 1 when a sync would do something.
pub(super) async fn run(args: DiffArgs, server: &Server, screen: &Screen) -> Result<Exit, Failure> {
    if args.output == Output::Json {
        screen.only_json();
    }
    let target = Written::parse(&args.app, args.env.as_deref())?
        .resolve(server, Purpose::Read)
        .await?;
    let answer = server.part::<PlanView>(&target, "plan").await?;
    let plan = &answer.value;
    match args.output {
        Output::Json => screen.raw(&answer.text),
        Output::Text if args.name_only => screen.out(&names(plan)),
        Output::Text if args.stat => screen.out(&stat(plan)),
        Output::Text => screen.out(&full(plan, &target)),
    }
    Ok(if plan.steps.is_empty() {
        Exit::Yes
    } else {
        Exit::No
    })
}

fn names(plan: &PlanView) -> String {
    plan.steps
        .iter()
        .map(|step| text::plain(&step.id.short()) + "\n")
        .collect()
}

fn stat(plan: &PlanView) -> String {
    let name = |step: &lockstep_api::plan::PlanStep| text::plain(&step.id.short());
    let fields = |step: &lockstep_api::plan::PlanStep| match step.changes.len() {
        0 => String::new(),
        count => text::fields(u64::try_from(count).unwrap_or(u64::MAX)),
    };
    let width = plan
        .steps
        .iter()
        .map(|step| name(step).chars().count())
        .max()
        .unwrap_or(0);
    let counted = plan
        .steps
        .iter()
        .map(|step| fields(step).len())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for step in &plan.steps {
        let line = format!(
            " {:<width$}  {:<counted$}  {}",
            name(step),
            fields(step),
            text::step_verb(step)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let _ = writeln!(out, "{}", text::plan_counts(plan));
    out
}

/// Object by object, field by field: minus is what the cluster has, plus what a sync would put there.
fn full(plan: &PlanView, target: &Target) -> String {
    let mut out = String::new();
    for step in &plan.steps {
        let _ = write!(
            out,
            "{}  {}",
            text::plain(&step.id.short()),
            text::step_verb(step)
        );
        let because = text::plain(&step.because);
        if !because.is_empty() {
            let _ = write!(out, ": {because}");
        }
        if let Some(waits) = &step.waits_for {
            let _ = write!(out, "; waits for {}", text::plain(waits));
        }
        out.push('\n');
        for change in &step.changes {
            let _ = writeln!(out, "  {}", text::plain(&change.path));
            // Where git says so stands with what git says.
            let at = change.git_at.as_ref().map_or_else(String::new, |at| {
                format!("  {}", text::plain(&at.to_string()))
            });
            for (sign, side, at) in [('-', &change.before, ""), ('+', &change.after, &*at)] {
                if side.is_some() || change.sensitive {
                    let said = text::side(side.as_ref(), change.sensitive);
                    let _ = writeln!(out, "  {sign} {said}{at}");
                }
            }
        }
        for taken in &step.taken {
            let _ = writeln!(out, "  takes {}", text::plain(&taken.text));
        }
    }
    let left = plan
        .left
        .iter()
        .filter(|left| left.code != "drifted" || plan.steps.is_empty());
    for left in left {
        let _ = writeln!(
            out,
            "{}  left alone: {}",
            text::plain(&left.id.short()),
            text::plain(&left.text)
        );
    }
    if plan.steps.is_empty() {
        let _ = writeln!(
            out,
            "A sync of {target} would change nothing; {} compared.",
            text::objects(plan.in_sync)
        );
        return out;
    }
    let _ = write!(out, "{}", text::plan_counts(plan));
    if let Some(revision) = &plan.revision {
        let _ = write!(out, ", at {}", revision.get(..7).unwrap_or(revision));
    }
    out.push('\n');
    if plan
        .steps
        .iter()
        .any(|step| step.action == StepAction::Prune)
    {
        let _ = writeln!(
            out,
            "Deleting can't be taken back; --no-prune leaves those objects alone."
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> PlanView {
        serde_json::from_str(json).expect("it is a plan")
    }

    const PLAN: &str = r#"{"digest":"d1","revision":"8c1d0be4a0b1c2d3e4f5061728394a5b6c7d8e9f","create":1,"update":1,"delete":1,
      "steps":[
        {"ref":{"group":"apps","kind":"Deployment","namespace":"shop","name":"checkout"},"action":"apply","reason":"update",
         "because":"git has another value","wave":0,"waitsFor":null,
         "changes":[{"path":"spec.replicas","before":9,"after":6,"sensitive":false,
            "gitAt":{"file":"prod/replicas.yaml","line":7},"gitBefore":[{"file":"base/deployment.yaml","line":12}]}],
         "taken":[{"manager":"kubectl (scale)","fields":["spec.replicas"],"count":1,"text":"spec.replicas from kubectl (scale)"}]},
        {"ref":{"group":"","kind":"Secret","namespace":"shop","name":"payments"},"action":"apply","reason":"create",
         "because":"is not in the cluster yet","wave":1,"waitsFor":"Deployment/checkout to be healthy",
         "changes":[{"path":"data.TOKEN","before":null,"after":null,"sensitive":true}]},
        {"ref":{"group":"","kind":"ConfigMap","namespace":"shop","name":"old"},"action":"prune","reason":"gone",
         "because":"is gone from git","wave":0,"waitsFor":null,"changes":[]}],
      "left":[{"ref":{"group":"","kind":"ConfigMap","namespace":"shop","name":"kept"},"code":"pruneDisabled",
               "text":"is gone from git and carries Prune=false"}],
      "inSync":7}"#;

    #[test]
    fn a_diff_says_what_the_cluster_has_and_what_a_sync_would_put_there() {
        let target = Target {
            env: "prod".to_owned(),
            app: "checkout".to_owned(),
        };
        assert_eq!(
            full(&plan(PLAN), &target),
            "Deployment/checkout  update: git has another value\n  spec.replicas\n  - 9\n  + 6  prod/replicas.yaml:7\n\
             \x20 takes spec.replicas from kubectl (scale)\n\
             Secret/payments  create: is not in the cluster yet; waits for Deployment/checkout to be healthy\n\
             \x20 data.TOKEN\n  - (not shown)\n  + (not shown)\n\
             ConfigMap/old  delete: is gone from git\n\
             ConfigMap/kept  left alone: is gone from git and carries Prune=false\n\
             1 object to update, 1 to create, 1 to prune, at 8c1d0be\n\
             Deleting can't be taken back; --no-prune leaves those objects alone.\n"
        );
    }

    #[test]
    fn a_stat_has_one_line_for_each_object() {
        assert_eq!(
            stat(&plan(PLAN)),
            " Deployment/checkout  1 field  update\n Secret/payments      1 field  create\n ConfigMap/old                 delete\n\
             1 object to update, 1 to create, 1 to prune\n"
        );
        assert_eq!(
            names(&plan(PLAN)),
            "Deployment/checkout\nSecret/payments\nConfigMap/old\n"
        );
    }

    #[test]
    fn nothing_to_do_is_said_with_its_evidence() {
        let empty = r#"{"digest":"d","revision":null,"create":0,"update":0,"delete":0,"steps":[],"left":[],"inSync":42}"#;
        let target = Target {
            env: "dev".to_owned(),
            app: "search".to_owned(),
        };
        assert_eq!(
            full(&plan(empty), &target),
            "A sync of search in dev would change nothing; 42 objects compared.\n"
        );
    }
}
