use super::*;

fn standing(holder: &str, version: &str) -> Standing {
    Standing {
        holder: holder.to_owned(),
        version: version.to_owned(),
        transitions: 4,
        duration: DURATION,
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn anothers_lease_is_taken_only_after_it_stood_unchanged_for_its_whole_duration() {
    let start = Instant::now();
    let mut candidate = Candidate::new("b");
    let held = standing("a", "1");
    assert_eq!(
        candidate.consider(Some(&held), start),
        Move::LookAt(start + LOOK)
    );
    assert!(matches!(
        candidate.consider(Some(&held), start + seconds(14)),
        Move::LookAt(_)
    ));
    // It changed: the time begins anew, whatever its renewTime says.
    let renewed = standing("a", "2");
    assert!(matches!(
        candidate.consider(Some(&renewed), start + seconds(15)),
        Move::LookAt(_)
    ));
    assert!(matches!(
        candidate.consider(Some(&renewed), start + seconds(29)),
        Move::LookAt(_)
    ));
    assert_eq!(
        candidate.consider(Some(&renewed), start + seconds(30)),
        Move::Take {
            version: "2".into(),
            epoch: 5
        }
    );
}

#[test]
fn a_lease_that_promises_a_shorter_duration_is_not_taken_sooner() {
    let start = Instant::now();
    let mut candidate = Candidate::new("b");
    let short = Standing {
        duration: seconds(1),
        ..standing("a", "1")
    };
    candidate.consider(Some(&short), start);
    assert!(matches!(
        candidate.consider(Some(&short), start + seconds(14)),
        Move::LookAt(_)
    ));
}

#[test]
fn a_released_or_absent_lease_is_had_at_once() {
    let mut candidate = Candidate::new("b");
    let now = Instant::now();
    assert_eq!(candidate.consider(None, now), Move::Create);
    assert_eq!(
        candidate.consider(Some(&standing("", "9")), now),
        Move::Take {
            version: "9".into(),
            epoch: 5
        }
    );
}

#[test]
fn our_own_attempt_whose_answer_was_lost_keeps_its_epoch() {
    let mut candidate = Candidate::new("b");
    assert_eq!(
        candidate.consider(Some(&standing("b", "9")), Instant::now()),
        Move::Take {
            version: "9".into(),
            epoch: 4
        }
    );
}

#[test]
fn the_margin_counts_from_when_the_renewal_was_sent_and_not_from_its_answer() {
    let start = Instant::now();
    let mut term = Term::begin(1, "1".into(), start);
    let sent = start + seconds(5);
    term.renewed("a", Renewal::Done("2".into()), sent, sent + ATTEMPT)
        .expect("in time");
    assert_eq!(term.until(), sent + GIVE_UP);
    assert_eq!(term.due(), sent + RENEW);
}

#[test]
fn failing_renewals_end_the_term_ten_seconds_after_the_last_good_one_was_sent() {
    let start = Instant::now();
    let mut term = Term::begin(1, "1".into(), start);
    let mut now = term.due();
    let mut attempts = 0;
    let over = loop {
        let Some(takes) = term.attempt(now) else {
            break Over::Expired;
        };
        attempts += 1;
        let sent = now;
        now += takes;
        if let Err(over) = term.renewed("a", Renewal::Failed, sent, now) {
            break over;
        }
        now = term.due();
    };
    assert_eq!(over, Over::Expired);
    assert_eq!(now, start + GIVE_UP);
    assert_eq!(attempts, 3);
}

#[test]
fn a_late_arrival_of_our_own_renewal_gives_no_time_but_keeps_the_term() {
    let start = Instant::now();
    let mut term = Term::begin(4, "1".into(), start);
    let now = start + seconds(7);
    let ours = Renewal::Changed(Some(standing("a", "2")));
    term.renewed("a", ours, now, now).expect("it is still ours");
    assert_eq!((term.version.as_str(), term.due()), ("2", now));
    assert_eq!(term.until(), start + GIVE_UP);
}

#[test]
fn a_lease_in_another_name_or_of_another_epoch_is_lost_at_once() {
    let now = Instant::now();
    for changed in [
        Some(standing("b", "2")),
        None,
        Some(Standing {
            transitions: 5,
            ..standing("a", "2")
        }),
    ] {
        let mut term = Term::begin(4, "1".into(), now);
        assert_eq!(
            term.renewed("a", Renewal::Changed(changed), now, now),
            Err(Over::Taken)
        );
    }
}

#[test]
fn a_write_of_five_seconds_may_begin_while_a_renewal_is_under_way() {
    let start = Instant::now();
    let term = Term::begin(1, "1".into(), start);
    let answered = term.due() + seconds(1);
    assert!(answered + seconds(5) < term.until());
}
