//! The health listener and the admin listener, asked from outside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::web::{Page, ask, dial, get, get_with, send};
use crate::support::{Line, Receiver, Relay, Reply, Workplace, eventually, flag_line};

const PLAIN: &str = "
data_dir: DIR/data
sources: {flipt: {type: file, path: DIR/audit.log}}
destinations: {archive: {type: file, path: DIR/archive.ndjson}}
routes: {all: {to: [archive]}}
";

const TOKEN: &str = "PLANTED-token-of-the-admin-listener";

/// A relay that has three events by Ann, and the addresses of its listeners.
fn running(more: &str) -> (Workplace, Relay, SocketAddr, SocketAddr) {
    let place = Workplace::new();
    place.configure(&format!("{PLAIN}{more}"));
    for key in ["checkout", "cart", "search"] {
        place.append("audit.log", Line::flag("updated", key, true, "on").text());
    }
    let relay = place.run();
    place.wait_for_standing("archive", &json!({"accepted": 3, "delivered": 3}));
    let (health, admin) = (relay.listens("health"), relay.listens("admin"));
    (place, relay, health, admin)
}

fn with_token() -> String {
    format!("admin: {{listen: '127.0.0.1:0', token: {TOKEN}}}\n")
}

fn host(host: &str) -> [(&str, &str); 1] {
    [("Host", host)]
}

#[test]
fn probes_are_answered_and_tell_nothing_of_events() {
    let (_place, relay, health, _) = running("");
    assert_eq!(get(health, "/livez").status, 200);
    let ready = get(health, "/readyz");
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "not_ready": []})));
    let metrics = get(health, "/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for page in [ready, metrics] {
        for word in ["Ann", "example.com", "checkout", "10.1.2.3", "audit.log"] {
            assert!(!page.body.contains(word), "{word}: {}", page.body);
        }
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    }
    for path in ["/", "/status", "/api/changes", "/login", "/metrics/"] {
        assert_eq!(get(health, path).status, 404, "{path}");
    }
    assert!(relay.stop().status.success());
}

#[test]
fn only_what_is_read_can_be_asked() {
    let (_place, _relay, health, admin) = running("");
    for (address, path) in
        [(health, "/livez"), (health, "/metrics"), (admin, "/status"), (admin, "/"), (admin, "/nowhere")]
    {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let page = ask(address, method, path, &[], "x");
            assert_eq!((page.status, page.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    for (address, path) in [(health, "/livez"), (health, "/metrics"), (admin, "/status"), (admin, "/")] {
        let page = ask(address, "HEAD", path, &[], "");
        assert_eq!((page.status, page.body.as_str()), (200, ""), "{path}");
        assert!(page.header("content-length").is_some_and(|length| length != "0"), "{page:?}");
    }
}

#[test]
fn a_full_disk_or_a_stalled_source_is_no_readiness_and_a_broken_destination_is_none_of_it() {
    let receiver = Receiver::scripted(|_, _| Reply::status(401));
    let place = Workplace::new();
    let url = receiver.url("/");
    place.configure(&format!(
        "
data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations: {{siem: {{type: webhook, url: '{url}', expire_after: never}}}}
routes: {{all: {{to: [siem]}}}}
journal: {{max_size: 16MiB}}
"
    ));
    place.append("audit.log", flag_line("a", "b") + "\n");
    let relay = place.run();
    let health = relay.listens("health");
    place.wait_for_standing("siem", &json!({"state": "blocked"}));
    assert_eq!(get(health, "/readyz").status, 200);
    assert_eq!(metric(health, "audit_relay_destination_state{destination=\"siem\",state=\"blocked\"}"), 1.0);
    assert_eq!(metric(health, "audit_relay_destination_state{destination=\"siem\",state=\"running\"}"), 0.0);
    // Nothing is settled, so nothing can be removed: the journal fills.
    let much = flag_line("a", &"x".repeat(500_000)) + "\n";
    for _ in 0..40 {
        place.append("audit.log", &much);
    }
    let page =
        eventually("it is not ready", || Some(get(health, "/readyz")).filter(|page| page.status == 503));
    let body = page.json();
    assert_eq!(body["ready"], false);
    let whats: Vec<&str> =
        body["not_ready"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert!(whats.contains(&"journal") || whats.contains(&"source flipt"), "{body}");
    assert!(!page.body.contains("xxx") && !page.body.contains("audit.log"), "{body}");
    assert_eq!(get(health, "/livez").status, 200, "a restart would not help");
    assert_eq!(metric(health, "audit_relay_ready"), 0.0);
}

/// The value of a series.
#[track_caller]
fn metric(health: SocketAddr, series: &str) -> f64 {
    let page = get(health, "/metrics");
    found(&page.body, series).unwrap_or_else(|| panic!("no {series} in {}", page.body))
}

fn found(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_tell_the_books_and_what_became_of_requests() {
    // One code at first, another only later.
    let receiver = Receiver::scripted(|number, _| Reply::status(if number == 0 { 503 } else { 200 }));
    let place = Workplace::new();
    let url = receiver.url("/");
    place.configure(&format!(
        "
data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations:
  siem: {{type: webhook, url: '{url}', retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
  idle: {{type: webhook, url: '{url}'}}
routes: {{all: {{to: [siem]}}}}
"
    ));
    place.append("audit.log", format!("{}\n{{\"no\":\"event\"\n", flag_line("a", "b")));
    let relay = place.run();
    let health = relay.listens("health");
    place.wait_for_standing("siem", &json!({"waiting": 0}));
    place.wait_for_standing("idle", &json!({"waiting": 0}));
    let text = get(health, "/metrics").body;
    let siem = |name: &str, more: &str| {
        let series = format!("audit_relay_destination_{name}{{destination=\"siem\"{more}}}");
        found(&text, &series).unwrap_or_else(|| panic!("no {series} in {text}"))
    };
    let accepted = siem("accepted_records_total", "");
    let books = [
        "not_routed_records_total",
        "delivered_records_total",
        "dead_letters",
        "purged_records_total",
        "waiting_records",
    ];
    assert_eq!(books.map(|name| siem(name, "")).iter().sum::<f64>(), accepted);
    assert_eq!(accepted, 2.0);
    assert_eq!(found(&text, "audit_relay_accepted_records_total"), Some(2.0));
    assert_eq!(found(&text, "audit_relay_source_unparsed_total{source=\"flipt\"}"), Some(1.0));
    assert_eq!(found(&text, "audit_relay_source_gaps_total{source=\"flipt\"}"), Some(0.0));
    assert_eq!(siem("attempts_total", ",outcome=\"retry\""), 1.0);
    assert_eq!(siem("attempts_total", ",outcome=\"blocked\""), 0.0);
    assert_eq!(siem("responses_total", ",code=\"503\""), 1.0);
    assert!(!text.contains("code=\"404\""), "a code has no series until it occurs");
    assert!(!text.contains("responses_total{destination=\"idle\""), "{text}");
    assert_eq!(
        siem("attempt_duration_seconds_bucket", ",le=\"+Inf\""),
        siem("attempt_duration_seconds_count", "")
    );
    assert_eq!(siem("lag_records", ""), 0.0);
    assert!(!text.contains("oldest_waiting_timestamp_seconds{"), "nothing waits: {text}");
    assert!(found(&text, "audit_relay_journal_commit_duration_seconds_count").unwrap() > 0.0);
    let open = get_with(health, "/metrics", &[("Accept", "application/openmetrics-text; version=1.0.0")]);
    assert!(open.body.ends_with("# EOF\n"));
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
}

#[test]
fn a_gap_is_counted_and_still_told_after_a_restart() {
    let place = Workplace::new();
    place.configure(PLAIN);
    place.append("audit.log", flag_line("a", "one") + "\n");
    let relay = place.run();
    place.wait_for_standing("archive", &json!({"delivered": 1}));
    assert!(relay.stop().status.success());
    place.append("audit.log", flag_line("a", "lost") + "\n");
    std::fs::remove_file(place.path("audit.log")).unwrap();
    place.append("audit.log", flag_line("b", "two") + "\n");
    for _ in 0..2 {
        let relay = place.run();
        let health = relay.listens("health");
        eventually("the gap shows", || {
            found(&get(health, "/metrics").body, "audit_relay_source_gaps_total{source=\"flipt\"}")
                .filter(|count| *count > 0.0)
        });
        assert!(metric(health, "audit_relay_source_last_gap_timestamp_seconds{source=\"flipt\"}") > 1.7e9);
        assert!(relay.stop().status.success());
    }
}

#[test]
fn the_status_is_that_of_the_command_line() {
    let (place, _relay, _, admin) = running("");
    let page = get(admin, "/status");
    assert_eq!((page.status, page.header("content-type")), (200, Some("application/json")));
    let without_time = |mut status: Value| {
        status["at"].take();
        status["journal"]["used_bytes"].take();
        status
    };
    assert_eq!(without_time(page.json()), without_time(place.status()));
    assert_eq!(page.json()["verdict"], "archive delivers; nothing waits");
}

#[test]
fn changes_are_the_rows_of_the_command_line() {
    let (place, _relay, _, admin) = running(&with_token());
    let auth = format!("Bearer {TOKEN}");
    let asked = |query: &str| get_with(admin, &format!("/api/changes{query}"), &[("Authorization", &auth)]);
    let csv = asked("?format=csv");
    assert_eq!(csv.body, place.ask(&["changes", "--format", "csv"]));
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    assert_eq!(asked("?format=ndjson").body, place.ask(&["changes", "--format", "ndjson"]));
    assert_eq!(asked("?format=ndjson&limit=2").body.lines().count(), 2);
    let keys = |page: &Page| -> Vec<String> {
        let rows = page.json()["changes"].as_array().unwrap().clone();
        rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&asked("?flag=c*")), ["checkout", "cart"]);
    assert_eq!(keys(&asked("?actor=nobody")), Vec::<String>::new());
    assert_eq!(keys(&asked("?actor=ann&since=1h")).len(), 3);
    // Page by page.
    let first = asked("?limit=2");
    assert_eq!(keys(&first), ["checkout", "cart"]);
    let next = first.json()["next"].clone();
    let second = asked(&format!("?limit=2&after={}&through={}", next["after"], next["through"]));
    assert_eq!((keys(&second), second.json()["next"].is_null()), (vec!["search".to_owned()], true));
    assert_eq!(first.json()["changes"][0]["actor"], "Ann");
    for (query, words) in [
        ("?since=yesterday", "since: expected a time such as"),
        ("?flagg=x", "there is no parameter `flagg`; did you mean `flag`?"),
        ("?since=1h&until=2h", "since "),
    ] {
        let page = asked(query);
        let error = page.json()["error"].as_str().unwrap().to_owned();
        assert!(page.status == 400 && error.starts_with(words), "{query}: {page:?}");
    }
}

#[test]
fn without_a_token_nobody_is_named() {
    let (place, _relay, _, admin) = running("");
    place.ask(&["pause", "archive", "--reason", "a look at it"]);
    for path in ["/status", "/api/changes", "/api/changes?format=csv", "/api/changes?format=ndjson", "/"] {
        let page = get(admin, path);
        assert_eq!(page.status, 200, "{path}: {page:?}");
        for name in ["Ann", "ann@example.com", "10.1.2.3", "uid "] {
            assert!(!page.body.contains(name), "{path} tells {name}: {}", page.body);
        }
    }
    assert!(place.ask(&["status", "--json"]).contains("uid "), "the command line tells who paused it");
    assert!(get(admin, "/api/changes").body.contains("[redacted]"));
    // Nor can names be guessed by looking for them.
    let page = get(admin, "/api/changes?actor=ann");
    assert_eq!(page.status, 400, "{page:?}");
}

#[test]
fn what_receivers_say_of_people_is_not_told_without_a_token() {
    let answered = AtomicUsize::new(0);
    let receiver = Receiver::scripted(move |_, _| {
        let status = if answered.fetch_add(1, Ordering::SeqCst) == 0 { 400 } else { 401 };
        Reply::Answer(status, Vec::new(), "invalid actor ann@example.com".to_owned())
    });
    let url = receiver.url("/");
    let configuration = |admin: &str| {
        format!(
            "
data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations: {{siem: {{type: webhook, url: '{url}', concurrency: 1, batch: {{max_events: 1}}}}}}
routes: {{all: {{to: [siem]}}}}
{admin}"
        )
    };
    let place = Workplace::new();
    place.configure(&configuration(""));
    for key in ["checkout", "cart", "search"] {
        place.append("audit.log", Line::flag("updated", key, true, "on").text());
    }
    let relay = place.run();
    place.wait_for_standing("siem", &json!({"state": "blocked", "dead": 1}));
    let id = place.dead_letters()[0]["id"].as_str().unwrap().to_owned();
    let paths = ["/status".to_owned(), "/".to_owned(), format!("/change/{id}")];
    let admin = relay.listens("admin");
    for path in &paths {
        let page = get(admin, path);
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(!page.body.contains("ann@example.com"), "{path}: {}", page.body);
        assert!(page.body.contains("the receiver answered 40"), "{path}: {}", page.body);
    }
    assert!(place.ask(&["status"]).contains("invalid actor ann@example.com"), "the command line tells it");
    assert!(relay.stop().status.success());
    place.configure(&configuration(&with_token()));
    let relay = place.run();
    place.wait_for_standing("siem", &json!({"state": "blocked"}));
    let admin = relay.listens("admin");
    for path in &paths {
        let page = get_with(admin, path, &[("Authorization", &format!("Bearer {TOKEN}"))]);
        assert!(page.body.contains("ann@example.com"), "{path}: {}", page.body);
    }
}

#[test]
fn a_foreign_name_is_not_answered() {
    let (_place, _relay, _, admin) =
        running("admin: {listen: '127.0.0.1:0', external_url: 'https://audit.example.com/relay'}\n");
    let port = admin.port();
    for good in [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "127.0.0.1",
        "[::1]:9465",
        "audit.example.com",
        "Audit.Example.com:443",
        &format!("127.0.0.1:{port}"),
    ] {
        assert_eq!(get_with(admin, "/status", &host(good)).status, 200, "{good}");
    }
    for bad in [
        "evil.example.com",
        "localhost.evil.example.com",
        "127.0.0.1.evil.example.com",
        "evil.example.com:9465",
        "audit.example.com.evil.example.com",
        "xaudit.example.com",
        "0.0.0.0",
        "192.0.2.7",
        "[2001:db8::1]",
    ] {
        let page = get_with(admin, "/status", &host(bad));
        assert_eq!(page.status, 421, "{bad}");
        assert!(page.body.contains("admin.external_url") && !page.body.contains("archive"), "{page:?}");
    }
    for bad in ["user@localhost", "", "local host", "localhost\r\nHost: localhost"] {
        assert_eq!(get_with(admin, "/status", &host(bad)).status, 400, "{bad:?}");
    }
    assert_eq!(send(admin, "GET /status HTTP/1.0\r\n\r\n").status, 400, "no name at all");
    let absolute =
        "GET http://evil.example.com/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(send(admin, absolute).status, 400, "two names");
}

#[test]
fn another_site_may_link_and_not_look() {
    let (_place, _relay, _, admin) = running("");
    let own = format!("http://{admin}");
    let visit =
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    let frame =
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")];
    for (headers, status) in [
        (&visit[..], 200),
        (&frame[..], 403),
        (
            &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
            403,
        ),
        // Another port of this machine is the same site.
        (&[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")], 403),
        (&[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")], 200),
        (&[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")], 200),
        (&[("Origin", "https://evil.example.com")], 403),
        (&[("Origin", "null")], 403),
        (&[("Origin", "http://127.0.0.1:1")], 403),
        (&[("Origin", own.as_str())], 200),
    ] {
        let page = get_with(admin, "/status", headers);
        assert_eq!(page.status, status, "{headers:?}");
        assert_eq!(page.header("access-control-allow-origin"), None);
    }
}

#[test]
fn every_answer_says_how_it_is_to_be_treated() {
    let (_place, _relay, _, admin) = running(&with_token());
    let auth = format!("Bearer {TOKEN}");
    let auth = ("Authorization", auth.as_str());
    let all = [
        get_with(admin, "/status", &[auth]),
        get_with(admin, "/", &[auth]),
        get_with(admin, "/nowhere", &[auth]),
        get_with(admin, "/api/changes?x=y", &[auth]),
        get(admin, "/status"),
        get(admin, "/login"),
        ask(admin, "POST", "/status", &[auth], ""),
    ];
    assert_eq!(all.each_ref().map(|page| page.status), [200, 200, 404, 400, 401, 200, 405]);
    for page in all {
        let policy = page.header("content-security-policy").unwrap();
        for part in [
            "default-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "object-src 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(page.header("referrer-policy").is_some());
    }
}

#[test]
fn where_there_is_a_token_it_is_asked_for() {
    let (_place, relay, health, admin) = running(&with_token());
    assert_eq!(get(health, "/readyz").status, 200, "probes need none");
    for path in ["/", "/status", "/api/changes", "/nowhere"] {
        let page = get(admin, path);
        assert_eq!((page.status, page.header("www-authenticate").is_some()), (401, true), "{path}");
        assert!(!page.body.contains("archive"));
    }
    for wrong in ["Bearer wrong", "Bearer", "Bearer ", "Basic PLANTED", TOKEN] {
        assert_eq!(get_with(admin, "/status", &[("Authorization", wrong)]).status, 401, "{wrong}");
    }
    let right = format!("Bearer {TOKEN}");
    let page = get_with(admin, "/status", &[("Authorization", &right), ("Host", "any.example.com")]);
    assert_eq!(page.status, 200, "who has the token may use any name");
    assert_eq!(get_with(admin, "/status", &host("any.example.com")).status, 401);
    let exit = relay.stop();
    assert!(!exit.log.contains("PLANTED"), "{}", exit.log);
}

#[test]
fn a_browser_logs_in_and_keeps_a_cookie() {
    let more = format!(
        "admin: {{listen: '127.0.0.1:0', token: {TOKEN}, external_url: 'https://audit.example.com'}}\n"
    );
    let (_place, _relay, _, admin) = running(&more);
    let html = ("Accept", "text/html,application/xhtml+xml;q=0.9");
    let page = get_with(admin, "/some/page?q=%22&b='x'", &[html]);
    assert_eq!((page.status, page.header("content-type")), (401, Some("text/html; charset=utf-8")));
    assert!(page.body.contains("action=\"../login\""), "{}", page.body);
    assert!(page.body.contains("value=\"/some/page?q=%22&amp;b=&#39;x&#39;\""), "{}", page.body);
    let log_in = |body: &str, headers: &[(&str, &str)]| ask(admin, "POST", "/login", headers, body);
    let wrong = log_in("token=wrong&next=/", &[]);
    assert!(
        wrong.status == 401 && wrong.body.contains("not the token") && wrong.header("set-cookie").is_none()
    );
    for (next, location) in [
        ("%2Fsome%2Fpage%3Fq%3D1", "./some/page?q=1"),
        ("%2F%2Fevil.example.com%2F", ".//evil.example.com/"),
        ("https%3A%2F%2Fevil.example.com", "./"),
        ("%2F%0D%0AX-Evil%3A+1", "./"),
    ] {
        let page = log_in(&format!("token={TOKEN}&next={next}"), &[]);
        assert_eq!((page.status, page.header("location")), (303, Some(location)), "{next}");
        assert_eq!(page.header("x-evil"), None);
    }
    let welcome = log_in(&format!("token={TOKEN}"), &[("Origin", "https://audit.example.com")]);
    let cookie = welcome.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax") && cookie.contains("; Secure")
    );
    assert!(!cookie.contains(TOKEN) && !cookie.contains("PLANTED"), "{cookie}");
    assert_eq!(log_in(&format!("token={TOKEN}"), &[("Origin", "https://evil.example.com")]).status, 403);
    let session = cookie.split(';').next().unwrap();
    let others = format!("other=1; {session}; third=3");
    for good in [session, &others] {
        assert_eq!(get_with(admin, "/status", &[("Cookie", good)]).status, 200, "{good}");
    }
    let (name, value) = session.split_once('=').unwrap();
    for bad in [
        format!("{name}="),
        format!("{name}={}", &value[1..]),
        format!("{name}={}", value.replace(|c: char| c.is_ascii_digit(), "f")),
        format!("x{session}"),
        format!("{name}={TOKEN}"),
    ] {
        assert_eq!(get_with(admin, "/status", &[("Cookie", &bad)]).status, 401, "{bad}");
    }
    let large = format!("token={}", "x".repeat(100_000));
    assert_eq!(log_in(&large, &[]).status, 400);
}

#[test]
fn wrong_tokens_are_slowed_and_do_not_lock_the_right_one_out() {
    let (_place, _relay, _, admin) = running(&with_token());
    let begun = std::time::Instant::now();
    assert_eq!(get_with(admin, "/status", &[("Authorization", "Bearer wrong")]).status, 401);
    assert!(begun.elapsed().as_millis() >= 900, "a wrong token waits for its answer");
    let right = format!("Bearer {TOKEN}");
    let cookie = ask(admin, "POST", "/login", &[], &format!("token={TOKEN}"));
    let cookie = cookie.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = |number: usize| {
            let bearer = format!("Bearer wrong{number}");
            get_with(admin, "/status", &[("Authorization", &bearer)]).status
        };
        let guesses: Vec<_> = (0..20).map(|number| scope.spawn(move || guess(number))).collect();
        assert_eq!(get_with(admin, "/status", &[("Cookie", &cookie)]).status, 200, "a session goes on");
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert!(statuses.contains(&429), "guesses at the same time are not even looked at: {statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert_eq!(get_with(admin, "/status", &[("Authorization", &right)]).status, 200);
}

#[test]
fn who_says_nothing_or_reads_nothing_harms_nobody() {
    let (_place, relay, health, admin) = running("");
    let mut idle = Vec::new();
    for address in [health, admin] {
        // More than may be open, each with a head that never ends.
        for _ in 0..150 {
            let mut stream = dial(address);
            let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
            idle.push(stream);
        }
    }
    // Two that ask for much and read none of it.
    for _ in 0..2 {
        let mut stream = dial(admin);
        for _ in 0..200 {
            let _ = stream.write_all(b"GET /api/changes?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        idle.push(stream);
    }
    let begun = std::time::Instant::now();
    assert_eq!(get(health, "/livez").status, 200);
    assert_eq!(get(admin, "/status").status, 200);
    assert!(begun.elapsed().as_secs() < 4, "nobody waits for the slow: {:?}", begun.elapsed());
    // Whoever says nothing is let go of.
    for mut stream in idle.drain(..300) {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let huge = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = dial(health);
    let _ = stream.write_all(huge.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(get(health, "/livez").status, 200);
    let begun = std::time::Instant::now();
    assert!(relay.stop().status.success());
    assert!(begun.elapsed().as_secs() < 10, "a stop waits for nobody: {:?}", begun.elapsed());
}

#[test]
fn an_address_that_is_taken_is_told_once_and_tried_again() {
    // Nobody else binds to this address: no other test takes the port meanwhile.
    let taken = TcpListener::bind("127.0.0.7:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Workplace::new();
    place.configure(&format!("{PLAIN}health: {{listen: '{address}'}}\n"));
    place.append("audit.log", flag_line("a", "b") + "\n");
    let relay = place.run();
    place.wait_for_standing("archive", &json!({"delivered": 1}));
    relay.wait_for_log("cannot listen");
    drop(taken);
    assert_eq!(relay.listens("health"), address);
    assert_eq!(get(address, "/readyz").status, 200);
    let exit = relay.stop();
    assert!(exit.status.success());
    assert_eq!(exit.log.matches("cannot listen").count(), 1, "{}", exit.log);
}

#[test]
fn two_relays_of_the_same_configuration_disturb_each_other_in_nothing_but_the_address() {
    let places = [Workplace::new(), Workplace::new()];
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relays = places.each_ref().map(|place| {
        place.configure(&format!("{PLAIN}health: {{listen: '{free}'}}\n"));
        place.append("audit.log", flag_line("a", "b") + "\n");
        place.run()
    });
    for (place, relay) in places.iter().zip(relays) {
        place.wait_for_standing("archive", &json!({"delivered": 1}));
        assert!(relay.stop().status.success());
    }
}

/// Everything that a secret may be planted in.
#[test]
fn no_listener_tells_a_secret() {
    let receiver = Receiver::scripted(|number, request| match number % 2 {
        0 => Reply::Answer(500, Vec::new(), format!("{:?}", request.headers)),
        _ => Reply::Answer(401, Vec::new(), format!("{:?}", request.headers)),
    });
    let place = Workplace::new();
    let url = receiver
        .url("/in/PLANTED-path?key=PLANTED-query")
        .replace("http://", "http://user:PLANTED-password@");
    place.write("secret", "PLANTED-signing\n");
    place.configure(&format!(
        "
data_dir: DIR/data
flipt: {{url: 'http://user:PLANTED-flipt@127.0.0.1:1', token: PLANTED-flipt-token}}
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations:
  hook: {{type: webhook, url: '{url}', bearer: PLANTED-bearer, signing: [{{scheme: flipt, secrets: [{{file: DIR/secret}}]}}], retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
  proxied: {{type: webhook, url: 'http://receiver.example.com/', proxy: 'http://user:PLANTED-proxy@127.0.0.1:1', retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
  chat: {{type: slack, webhook_url: 'https://127.0.0.1:1/services/T0PLANTED/B0PLANTED/PLANTED', deliver_since: beginning, retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
  dog: {{type: datadog, site: datadoghq.eu, api_key: PLANTEDPLANTEDPLANTEDPLANTED1234, proxy: 'http://127.0.0.1:1', deliver_since: beginning, retry: {{initial_backoff: 1ms, max_backoff: 1ms}}}}
routes: {{all: {{to: [hook, proxied, chat, dog]}}}}
admin: {{listen: '127.0.0.1:0', token: {TOKEN}}}
shutdown_timeout: 0s
"
    ));
    place.append("audit.log", format!("{}\n", flag_line("checkout", "a")));
    let relay = place.run();
    let (health, admin) = (relay.listens("health"), relay.listens("admin"));
    place.wait_for_standing("hook", &json!({"state": "blocked"}));
    let auth = format!("Bearer {TOKEN}");
    let auth = [("Authorization", auth.as_str()), ("Accept", "text/html")];
    let mut pages = Vec::new();
    for path in ["/livez", "/readyz", "/metrics", "/nowhere?PLANTE"] {
        pages.push((path, get(health, path)));
    }
    for path in [
        "/",
        "/status",
        "/login",
        "/api/changes",
        "/api/changes?format=csv",
        "/api/changes?format=ndjson",
        "/api/changes?x=1",
        "/nowhere",
    ] {
        pages.push((path, get_with(admin, path, &auth)));
        pages.push((path, get(admin, path)));
    }
    pages.push(("POST /login", ask(admin, "POST", "/login", &[], &format!("token={TOKEN}"))));
    pages.push(("POST /login", ask(admin, "POST", "/login", &[], "token=wrong")));
    for (path, page) in &pages {
        for secret in ["PLANTED", "dXNlcjpQTEFOVEVE", "UExBTlRFRA"] {
            let shown = format!("{}{}", page.head, page.body);
            assert!(!shown.contains(secret), "{path} tells {secret}: {shown}");
        }
    }
    let status = get_with(admin, "/status", &auth).body;
    assert!(
        status.contains("\"hook\"") && status.contains("the receiver answered"),
        "there was something to tell: {status}"
    );
    let exit = relay.stop();
    assert!(!exit.log.contains("PLANTED"), "{}", exit.log);
}
