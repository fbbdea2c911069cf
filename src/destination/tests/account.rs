//! Accounts: what belongs together, and all that messages say of it.

use serde_json::{Value, json};

use super::telling::{created, flag, half, late, off, on, seen, share, told};
use super::{act, gap};
use crate::destination::Delivery;
use crate::destination::telling::{Account, Nature, accounts, is_urgent, refused};
use crate::event::{EntityKind, Known, Several, Without};
use crate::flipt::{ActorKind, ChangeKind};

fn same() -> Delivery {
    told("flag", "updated", &flag(true), &seen(1, &flag(true)))
}

fn described(enabled: bool) -> Delivery {
    let mut described = flag(enabled);
    described["description"] = "PAY-481".into();
    told("flag", "updated", &described, &seen(1, &flag(enabled)))
}

fn deleted(before: &Known) -> Delivery {
    told("flag", "deleted", &json!({"key": "checkout", "namespace_key": "production"}), before)
}

/// The same, with other words in its event.
fn with(mut delivery: Delivery, from: &str, to: &str) -> Delivery {
    let original = String::from_utf8(delivery.record.original).unwrap();
    assert!(original.contains(from), "{original}");
    delivery.record.original = original.replace(from, to).into();
    delivery
}

fn denied(noun: &str) -> Delivery {
    let denied = told(noun, "updated", &Value::Null, &Known::default());
    with(denied, "\"payload\":null", "\"payload\":null,\"status\":\"denied\"")
}

fn of_set(mut delivery: Delivery, set: &str) -> Delivery {
    delivery.record.change_set = Some(set.into());
    delivery
}

fn after(mut delivery: Delivery, seconds: u64) -> Delivery {
    let at = delivery.record.event_time.unwrap();
    delivery.record.event_time = Some(at.plus(std::time::Duration::from_secs(seconds)));
    delivery
}

/// How many records each account has.
fn sizes(deliveries: &[Delivery]) -> (Vec<usize>, usize) {
    let accounts = accounts(deliveries);
    (accounts.told.iter().map(|account| account.deliveries.len()).collect(), accounts.empty.len())
}

fn only(deliveries: &[Delivery], check: impl Fn(&Account<'_>)) {
    let accounts = accounts(deliveries);
    assert_eq!((accounts.told.len(), accounts.empty.len()), (1, 0));
    check(&accounts.told[0]);
}

#[test]
fn what_belongs_together_is_told_as_one() {
    let ben = |delivery: Delivery| with(delivery, "ann@example.com", "ben@example.com");
    for (deliveries, expected) in [
        (vec![], (vec![], 0)),
        (vec![on(), half()], (vec![1, 1], 0)),
        (vec![of_set(on(), "a"), of_set(half(), "a")], (vec![2], 0)),
        (vec![of_set(on(), "a"), of_set(off(), "b"), of_set(half(), "a")], (vec![2, 1], 0)),
        // What changed nothing is not told, and parts nothing.
        (vec![of_set(on(), "a"), of_set(same(), "a"), of_set(half(), "a")], (vec![2], 1)),
        (vec![same(), same()], (vec![], 2)),
        // Late ones and refused ones are of no change set.
        (
            vec![
                of_set(on(), "a"),
                of_set(told("flag", "updated", &flag(true), &late(Some(&flag(false)))), "a"),
            ],
            (vec![1, 1], 0),
        ),
        (vec![denied("flag"), on(), denied("rule"), ben(denied("flag"))], (vec![2, 1, 1], 0)),
        (vec![gap(), gap(), act()], (vec![1, 1, 1], 0)),
        // What is not known to be nothing is told.
        (vec![told("flag", "updated", &flag(true), &Known::nothing(Without::FirstSeen))], (vec![1], 0)),
    ] {
        assert_eq!(sizes(&deliveries), expected);
    }
}

#[test]
fn an_account_says_all_there_is() {
    let live = Known { live: Some(true), ..seen(1, &flag(true)) };
    let off = told("flag", "updated", &flag(false), &live);
    let set = [of_set(described(true), "a"), of_set(after(half(), 5), "a"), of_set(after(off, 18), "a")];
    only(&set, |account| {
        assert_eq!(account.nature, Nature::Change);
        let subject = account.subject.as_ref().unwrap();
        assert_eq!((subject.kind, subject.key.as_deref()), (EntityKind::Flag, Some("checkout")));
        assert_eq!(
            (subject.name.as_deref(), subject.namespace.known()),
            (Some("Checkout"), Some("production"))
        );
        let doer = account.doer.as_ref().unwrap();
        assert_eq!((&*doer.said, doer.email.as_deref()), ("Ann", Some("ann@example.com")));
        assert_eq!(doer.kind, ActorKind::Person);
        assert_eq!(account.kinds, [EntityKind::Flag, EntityKind::Rollout]);
        assert_eq!(account.changed, ["description", "threshold", "enabled"]);
        assert_eq!((account.kind, account.live), (Some(ChangeKind::Behaviour), Some(true)));
        assert_eq!((account.environment.as_deref(), account.change_set), (Some("production"), Some("a")));
        let seconds = |from, to: crate::event::Timestamp| to.since(from).as_secs();
        assert_eq!(seconds(account.first_at, account.last_at), 18);
        // The text of the first concerned nobody.
        assert_eq!(seconds(account.first_at, account.effect_at), 5);
    });
}

#[test]
fn a_flag_has_the_name_that_it_was_given_last() {
    let name = |deliveries: &[Delivery]| {
        let accounts = accounts(deliveries);
        accounts.told[0].subject.as_ref().unwrap().name.clone()
    };
    let renamed = with(off(), "\"Checkout\"", "\"New checkout\"");
    assert_eq!(name(&[of_set(on(), "a"), of_set(renamed, "a")]).as_deref(), Some("New checkout"));
    // What belongs to a flag knows its name from elsewhere, …
    let known = Known { owner_name: Some("Flow\u{202e}".into()), ..seen(1, &share(10.0)) };
    let part = told("rollout", "updated", &share(50.0), &known);
    assert_eq!(name(std::slice::from_ref(&part)).as_deref(), Some("Flow\u{fffd}"));
    assert_eq!(name(&[of_set(on(), "a"), of_set(half(), "a")]).as_deref(), Some("Checkout"));
    // … and what is deleted from what it was.
    assert_eq!(name(&[deleted(&seen(1, &flag(true)))]).as_deref(), Some("Checkout"));
    assert_eq!(name(&[deleted(&created())]), None);
    let unnamed = with(on(), "\"Checkout\"", "\"checkout\"");
    let mut unnamed = [unnamed];
    unnamed[0].record.known = None;
    assert_eq!(name(&unnamed), None, "a name that is the key says nothing");
}

#[test]
fn what_is_not_known_is_not_said() {
    only(&[denied("flag")], |account| {
        assert_eq!((account.nature, account.subject.is_some()), (Nature::Denied, false));
        assert_eq!(account.doer.as_ref().unwrap().said, "Ann");
        assert_eq!(account.live, None);
    });
    only(&[gap()], |account| {
        assert_eq!((account.nature, account.doer.is_some()), (Nature::Record, false));
        assert_eq!((account.subject.is_some(), account.live, account.kind), (false, None, None));
        assert_eq!(account.first_at, account.deliveries[0].record.accepted_at);
    });
    let users = |known: Known| {
        let used_by = Some(Several { count: 3, first: vec!["checkout".to_owned()] });
        told("segment", "updated", &json!({"key": "beta", "namespace_key": "n"}), &Known { used_by, ..known })
    };
    only(&[users(Known::nothing(Without::FirstSeen))], |account| {
        assert_eq!(account.used_by.as_ref().map(|used| used.count), Some(3));
        assert_eq!(account.subject.as_ref().map(|subject| subject.kind), Some(EntityKind::Segment));
    });
}

#[test]
fn refused_attempts_are_told_together() {
    let told = |deliveries: &[Delivery]| accounts(deliveries).told[0].story.headline.to_string();
    assert_eq!(
        told(&[denied("flag")]),
        "Ann was not allowed to update a flag in production · Flipt does not say which flag"
    );
    assert_eq!(
        told(&[denied("flag"), denied("flag")]),
        "Ann was refused 2 times (update a flag; Flipt does not say which)"
    );
    assert_eq!(
        told(&[denied("rule"), denied("flag"), denied("flag")]),
        "Ann was refused 3 times (update a flag 2 times and update a rule; Flipt does not say which)"
    );
    let actor = |method: &str, name: &str| {
        let was = r#""authentication":"oidc","email":"ann@example.com","ip":"10.1.2.3","name":"Ann""#;
        let is = format!(r#""authentication":"{method}","ip":"10.1.2.3"{name}"#);
        [with(denied("flag"), was, &is), with(denied("flag"), was, &is)]
    };
    for (method, name, expected) in [
        ("oidc", r#","email":"ann@example.com""#, "ann@example.com was refused 2 times"),
        ("oidc", r#","name":"[redacted]""#, "2 attempts by someone not named here were refused"),
        ("none", "", "2 attempts by someone not named here were refused"),
        ("token", "", "2 attempts with API tokens not named here were refused"),
        ("kubernetes", "", "2 attempts by Kubernetes service accounts not named here were refused"),
    ] {
        let said = told(&actor(method, name));
        assert_eq!(said, format!("{expected} (update a flag; Flipt does not say which)"));
    }
    let many = ["flag", "rule", "segment", "variant", "constraint", "rollout"].map(denied);
    assert_eq!(
        told(&many),
        "Ann was refused 6 times (update a flag, update a rule, update a segment, update a variant and 2 more; \
         Flipt does not say which)"
    );
}

fn gone(noun: &str, live: Option<bool>, by_force: bool) -> Delivery {
    let ids = json!({"key": "checkout", "namespace_key": "production", "force": by_force});
    told(noun, "deleted", &ids, &Known { live, ..Known::default() })
}

#[test]
fn what_is_about_is_gone_or_there() {
    let is_gone = |deliveries: &[Delivery]| accounts(deliveries).told[0].is_gone;
    let gone = || of_set(deleted(&seen(1, &flag(true))), "a");
    let again = || of_set(told("flag", "created", &flag(true), &created()), "a");
    assert!(is_gone(&[gone()]) && is_gone(&[of_set(half(), "a"), gone()]));
    assert!(
        !is_gone(&[gone(), again()]) && !is_gone(&[on()]) && !is_gone(&[self::gone("variant", None, false)])
    );
    assert!(is_gone(&[deleted(&late(None))]) && !is_gone(&[deleted(&late(Some(&flag(true))))]));
    assert!(is_gone(&[told("flag", "updated", &flag(true), &late(None))]));
}

#[test]
fn each_event_says_what_it_is() {
    only(&[of_set(on(), "a"), of_set(half(), "a")], |account| {
        let said: Vec<_> =
            account.facts.iter().map(|fact| (&*fact.noun, &*fact.action, fact.is_late)).collect();
        assert_eq!(said, [("flag", "updated", false), ("rollout", "updated", false)]);
        assert_eq!(account.facts[1].changed.as_deref(), Some(&["threshold".to_owned()][..]));
        assert_eq!(account.facts[0].kind, Some(ChangeKind::Behaviour));
    });
    only(&[gap()], |account| assert_eq!(account.facts, []));
}

#[test]
fn live_flags_that_go_off_are_urgent() {
    let unknown = |known: Known| told("flag", "updated", &flag(false), &known);
    for (delivery, expected) in [
        (off(), true),
        (on(), false),
        (described(true), false),
        (described(false), false),
        (same(), false),
        (half(), false),
        (deleted(&seen(1, &flag(true))), true),
        (deleted(&Known::nothing(Without::FirstSeen)), true),
        (unknown(Known::nothing(Without::FirstSeen)), false),
        (told("flag", "updated", &flag(false), &late(Some(&flag(false)))), false),
        (denied("flag"), false),
        (gap(), false),
        (act(), false),
        (gone("segment", Some(true), false), true),
        (gone("segment", None, false), false),
        (gone("segment", Some(false), false), false),
        (gone("namespace", None, true), true),
        (gone("namespace", None, false), false),
        (gone("variant", Some(true), false), false),
    ] {
        let original = String::from_utf8_lossy(&delivery.record.original).into_owned();
        assert_eq!(is_urgent(&delivery), expected, "{original}");
    }
    let draft = Known { live: Some(false), ..seen(1, &flag(true)) };
    assert!(!is_urgent(&deleted(&draft)), "nobody gets it");
}

#[test]
fn who_was_refused_has_a_mark() {
    let ben = with(denied("rule"), "ann@example.com", "ben@example.com");
    assert_eq!(refused(&denied("flag")), refused(&denied("rule")));
    assert_ne!(refused(&denied("rule")), refused(&ben));
    assert!(refused(&ben).is_some());
    for other in [on(), gap(), act()] {
        assert_eq!(refused(&other), None);
    }
}
