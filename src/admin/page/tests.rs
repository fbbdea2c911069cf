//! The page to the letter, what no event can do to it, and how much of it there is.

mod scene;

use super::*;
use scene::{Scene, at};

/// Compares with a file of `tests/golden`; `UPDATE_GOLDEN=1` writes it anew.
fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (line, golden)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, golden, "line {} of {path}", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{path}");
}

#[test]
fn a_full_page() {
    golden("page-full.html", &Scene::full().page("", true));
}

#[test]
fn a_page_of_what_is_stuck() {
    golden("page-stuck.html", &Scene::stuck().page("", true));
}

#[test]
fn a_page_before_the_first_event() {
    golden("page-empty.html", &Scene::empty().page("", true));
}

#[test]
fn one_change_with_all_there_is_to_know() {
    golden("page-change.html", &Scene::stuck().change("checkout", true));
}

#[test]
fn fifty_changes_weigh_little() {
    let page = Scene::crowded(80).page("", true);
    assert_eq!(page.matches("<li><time").count(), 50);
    assert!(page.contains("Older changes"));
    let weight = page.len() + STYLE.len() + SCRIPT.len() + ICON.len();
    println!("{weight} bytes: page {}, style {}, script {}", page.len(), STYLE.len(), SCRIPT.len());
    assert!(weight < 60_000, "{weight}");
}

#[test]
fn nothing_is_taken_from_elsewhere_and_nothing_stands_in_line() {
    for page in [Scene::full().page("", true), Scene::stuck().change("checkout", true)] {
        for text in [&page, STYLE, SCRIPT] {
            for foreign in
                ["http://", "https://", "url(", "@import", "//cdn", " style=", "onclick", "javascript:"]
            {
                let text = text.replace("xmlns=\"http://", "").replace("https://github.com/flipt-io", "");
                assert!(!text.contains(foreign), "{foreign}");
            }
        }
        assert!(!page.contains("<script>") && !page.contains("<style"));
    }
}

#[test]
fn whatever_an_event_says_is_text() {
    let scene = Scene::hostile();
    let pages = [
        scene.page("", true),
        scene.page("q=%3Cscript%3E%22'&flag=%3Cb%3E", true),
        scene.change("<script>", true),
    ];
    for page in &pages {
        let lower = page.to_lowercase();
        assert!(!lower.contains("<script>") && !lower.contains("<img") && !lower.contains("<b>x"), "{page}");
        assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}') && !page.contains('\u{200b}'));
    }
    assert!(pages[0].contains("&lt;script&gt;alert(1)"), "it is shown");
}

#[test]
fn no_names_of_people_without_a_token() {
    let scene = Scene::full();
    let with = scene.page("", true) + &scene.change("checkout", true);
    assert!(with.contains("Ann") && with.contains("ann@example.com"));
    let without = scene.page("", false) + &scene.change("checkout", false);
    for name in ["Ann", "ann@example.com", "Ben", "ben@example.com", "10.1.2.3"] {
        assert!(!without.contains(name), "{name}");
    }
    assert!(without.contains("checkout") && without.contains("without names of people"));
    // Nor is anybody found by a name that is not shown.
    assert!(scene.page("q=ann", true).contains("<li><time"));
    assert!(scene.page("q=ann@example.com", false).contains("No change fits."));
}

#[test]
fn changes_are_found_by_what_they_tell() {
    let scene = Scene::full();
    let found = |query: &str| scene.page(query, true).matches("<li><time").count();
    let all = found("");
    assert!(all > 4);
    assert!((1..all).contains(&found("q=CHECKOUT+on")));
    assert!((1..all).contains(&found("flag=checkout")));
    assert!((1..all).contains(&found("segment=beta")));
    assert!((1..all).contains(&found("live=1")));
    assert!((1..all).contains(&found("environment=staging")));
    assert_eq!(found("q=nowhere"), 0);
    assert_eq!(found("since=2100-01-01"), 0);
    let page = scene.page("q=a&flag=checkout&environment=production&since=30d", true);
    for part in [
        r#"api/changes?format=csv&amp;environment=production&amp;flag=checkout&amp;since=30d"#,
        r#"<option value="30d" selected>"#,
        "<option selected>production</option>",
        r#"<input type="hidden" name="flag" value="checkout">"#,
        "of flag checkout",
        "data-selection",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn each_change_has_its_way_through_the_destinations() {
    let page = Scene::stuck().with_dead("beta").page("", true);
    for (change, way) in [
        ("rollout 10 % → <b>50 %</b>", "datadog <span class=\"wait\">… tried 12 times, waiting</span>"),
        ("created segment <b>beta</b>", "datadog <span class=\"bad\">✖ dead letter</span>"),
        ("edited the description of", "slack <span class=\"off\">– not routed</span>"),
        (
            "created flag <b>checkout</b>",
            "slack <span class=\"ok\">✔ <span class=\"vh\">delivered</span></span>",
        ),
    ] {
        let line = page.lines().find(|line| line.contains(change)).unwrap_or_else(|| panic!("{change}"));
        assert!(line.contains(way), "{way}\n{line}");
    }
    let change = Scene::stuck().with_dead("beta").change("beta", true);
    assert!(
        change.contains("rejected: Datadog answered 400: too old (1 attempt, given up 14:00:00)"),
        "{change}"
    );
    let change = Scene::stuck().change("pay-sepa", true);
    assert!(
        change.contains("leaves it: <code>kind</code> asks for") && change.contains("no route leads there")
    );
}

#[test]
fn older_changes_follow_without_a_hole() {
    let scene = Scene::crowded(80);
    let first = scene.page("", true);
    let (_, query) = first.split_once("href=\"./?").unwrap();
    let (query, _) = query.split_once("#changes").unwrap();
    let second = scene.page(query, true);
    for flag in 0..80 {
        let name = format!("<b>flag-{flag:02}</b>");
        assert!(first.contains(&name) != second.contains(&name), "{name}");
    }
    assert!(!second.contains("Older changes"));
    assert_eq!(at("14:21:07").to_string(), "2026-11-22T14:21:07Z");
}
