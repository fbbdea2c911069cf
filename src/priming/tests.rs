//! Readings of a small Flipt.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::{StatusCode, Uri};

use super::*;
use crate::config::secret::Secret;
use crate::event::{EntityKind, Timestamp};

type Script = dyn Fn(&str, &str) -> (u16, String) + Send + Sync;

/// Answers by path (behind `/api/v1/`) and query.
struct SmallFlipt {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    at_once: Arc<AtomicUsize>,
}

impl SmallFlipt {
    async fn start(script: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, most) = (Arc::clone(&asked), Arc::new(AtomicUsize::new(0)));
        let (at_once, now) = (Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
        let answer = move |uri: Uri| {
            let (path, query) = (
                uri.path().trim_start_matches("/api/v1/").to_owned(),
                uri.query().unwrap_or_default().to_owned(),
            );
            noted.lock().unwrap().push(path.clone());
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (script, now) = (Arc::clone(&script), Arc::clone(&now));
            async move {
                tokio::task::yield_now().await;
                let (status, body) = script(&path, &query);
                now.fetch_sub(1, Ordering::SeqCst);
                (StatusCode::from_u16(status).unwrap(), body)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        Self { url, asked, at_once }
    }

    fn api(&self, patience: Patience) -> Api {
        let plan = FliptPlan {
            url: Arc::new(Secret::new(&*self.url)),
            token: None,
            external_url: None,
            instance: "flipt".to_owned(),
        };
        Api::new(&plan, patience).unwrap()
    }

    async fn read(&self, limits: Limits) -> Result<Reading, Trouble> {
        Reading::of(&self.api(IMPATIENT), "default", limits).await
    }
}

/// Asks once.
const IMPATIENT: Patience = Patience { longest: Duration::ZERO, retry: RETRY };

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

/// One namespace with one segment and two flags, of which the first has a rule and the second a rollout.
fn small(path: &str) -> (u16, String) {
    ok(match path {
        "namespaces/default" => r#"{"key":"default","name":"Default"}"#,
        "namespaces/default/segments" => {
            r#"{"segments":[{"key":"beta","constraints":[{"id":"c1"}]}],"nextPageToken":"","totalCount":1}"#
        }
        "namespaces/default/flags" => {
            r#"{"flags":[{"key":"one","variants":[{"id":"v1"}]},{"key":"two"}],"nextPageToken":"","totalCount":2}"#
        }
        "namespaces/default/flags/one/rules" => {
            r#"{"rules":[{"id":"r1","rank":1,"distributions":[{"id":"d1","rollout":50}]}],"totalCount":1}"#
        }
        "namespaces/default/flags/two/rollouts" => {
            r#"{"rules":[{"id":"e1","rank":1,"threshold":{"percentage":10}}],"totalCount":1}"#
        }
        _ => r#"{"rules":[],"nextPageToken":"","totalCount":0}"#,
    })
}

fn ids(reading: &Reading) -> Vec<(EntityKind, &str)> {
    reading.imported.iter().map(|one| (one.kind, &*one.id)).collect()
}

#[tokio::test]
async fn a_namespace_is_read_with_all_that_it_holds() {
    let flipt = SmallFlipt::start(|path, _| small(path)).await;
    let before = Timestamp::now();
    let reading = flipt.read(LIMITS).await.unwrap();
    assert_eq!(
        ids(&reading),
        [
            (EntityKind::Namespace, "default"),
            (EntityKind::Segment, "beta"),
            (EntityKind::Constraint, "c1"),
            (EntityKind::Flag, "one"),
            (EntityKind::Variant, "v1"),
            (EntityKind::Rule, "r1"),
            (EntityKind::Distribution, "d1"),
            (EntityKind::Flag, "two"),
            (EntityKind::Rollout, "e1"),
        ]
    );
    assert!(reading.is_whole && !reading.is_cut && reading.trouble.is_none());
    // The second in which it was read is over by then.
    let now = Timestamp::now();
    assert!(reading.at >= before && reading.at <= now.plus(Duration::from_secs(1)), "{}", reading.at);
    assert!(flipt.at_once.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn what_is_too_much_is_left_out() {
    let all = SmallFlipt::start(|path, _| small(path)).await.read(LIMITS).await.unwrap();
    for entities in 1..9 {
        let flipt = SmallFlipt::start(|path, _| small(path)).await;
        let reading = flipt.read(Limits { entities, ..LIMITS }).await.unwrap();
        assert!(reading.imported.len() <= entities && reading.is_cut && !reading.is_whole, "{entities}");
        assert!(reading.imported.iter().all(|one| all.imported.contains(one)));
        let bytes = 100 * entities;
        let flipt = SmallFlipt::start(|path, _| small(path)).await;
        let reading = flipt.read(Limits { bytes, ..LIMITS }).await.unwrap();
        let taken: usize = reading.imported.iter().map(|one| one.state.len()).sum();
        assert!(taken <= bytes && (reading.is_cut || reading.imported.len() == 9), "{bytes}");
    }
    let flipt = SmallFlipt::start(|path, _| small(path)).await;
    let _ = flipt.read(Limits { entities: 2, ..LIMITS }).await.unwrap();
    let asked = flipt.asked.lock().unwrap().clone();
    assert!(
        !asked.iter().any(|path| path.contains("flags/")),
        "no more is asked than is taken in: {asked:?}"
    );
}

#[tokio::test]
async fn a_list_that_changed_meanwhile_is_not_whole() {
    // Two flags are counted and one is told: another went from a page that was read already.
    let flipt = SmallFlipt::start(|path, query| match (path, query.contains("pageToken")) {
        ("namespaces/default/flags", false) => {
            ok(r#"{"flags":[{"key":"one"}],"nextPageToken":"x","totalCount":3}"#)
        }
        ("namespaces/default/flags", true) => {
            ok(r#"{"flags":[{"key":"three"}],"nextPageToken":"","totalCount":3}"#)
        }
        _ => small(path),
    })
    .await;
    let reading = flipt.read(LIMITS).await.unwrap();
    assert!(!reading.is_whole && reading.trouble.is_none());
    assert!(ids(&reading).contains(&(EntityKind::Flag, "three")));
}

#[tokio::test]
async fn pages_without_end_are_no_flipt() {
    let flipt = SmallFlipt::start(|path, _| match path {
        "namespaces/default/segments" => ok(r#"{"segments":[],"nextPageToken":"again"}"#),
        _ => small(path),
    })
    .await;
    let reading = flipt.read(LIMITS).await.unwrap();
    assert!(matches!(reading.trouble, Some(Trouble::Foreign(_))));
    assert_eq!(ids(&reading), [(EntityKind::Namespace, "default")]);
    let other = SmallFlipt::start(|_, _| ok(r#"{"key":"another"}"#)).await;
    assert!(matches!(other.read(LIMITS).await, Err(Trouble::Foreign(_))));
}

#[tokio::test]
async fn one_that_falls_silent_is_taken_as_far_as_it_went() {
    let flipt = SmallFlipt::start(|path, _| match path {
        "namespaces/default/flags/one/rollouts" => (503, String::new()),
        _ => small(path),
    })
    .await;
    let reading = flipt.read(LIMITS).await.unwrap();
    assert_eq!(reading.trouble, Some(Trouble::Silent("it answers 503".to_owned())));
    assert!(!reading.is_whole);
    for known in [(EntityKind::Distribution, "d1"), (EntityKind::Flag, "two")] {
        assert!(ids(&reading).contains(&known), "{known:?}");
    }
    // It is asked once: no wait fits into no patience.
    assert_eq!(flipt.asked.lock().unwrap().iter().filter(|path| path.ends_with("one/rollouts")).count(), 1);
}

#[tokio::test]
async fn a_list_of_namespaces_is_never_empty() {
    for (body, fits) in [("{}", false), (r#"{"namespaces":[{"key":"default"}]}"#, true), ("[]", false)] {
        let flipt = SmallFlipt::start(move |_, _| ok(body)).await;
        assert_eq!(namespaces(&flipt.api(IMPATIENT)).await.is_ok(), fits, "{body}");
    }
}

#[test]
fn every_end_says_what_to_do() {
    let said = |trouble| Ended::from(trouble).to_string();
    assert!(said(Trouble::Denied(401)).contains("flipt.token"));
    assert!(said(Trouble::Missing).contains("Flipt v2"));
    assert!(said(Trouble::Foreign("x".into())).contains("address"));
    assert!(said(Trouble::Silent("x".into())).contains("next start"));
}
