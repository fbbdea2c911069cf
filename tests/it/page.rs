//! The status page, asked as a browser without a script would, and watched as one with it does.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::web::{Page, ask, dial, get, get_with};
use crate::support::{Line, Relay, Workplace, eventually};

const SECRET: &str = "PLANTED-4f1d-secret";

/// A relay with three events by Ann, and the address of its page.
fn running(more: &str) -> (Workplace, Relay, SocketAddr) {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
environments: {{production: [default]}}
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations:
  archive: {{type: file, path: DIR/archive.ndjson}}
  broken: {{type: webhook, url: 'http://user:{SECRET}@127.0.0.1:1/{SECRET}'}}
routes: {{all: {{to: [archive]}}, none: {{when: {{keys: [nowhere]}}, to: [broken]}}}}
shutdown_timeout: 0s
{more}"
    ));
    for key in ["checkout", "cart", "search"] {
        place.append("audit.log", Line::flag("updated", key, true, "on").text());
    }
    let relay = place.run();
    place.wait_for_standing("archive", &json!({"accepted": 3, "delivered": 3}));
    let address = relay.listens("admin");
    (place, relay, address)
}

/// The address of the first change that a page lists.
fn first_change(page: &Page) -> String {
    let (_, rest) = page.body.split_once("<a href=\"change/").unwrap_or_else(|| panic!("{}", page.body));
    format!("/change/{}", rest.split_once('"').unwrap().0)
}

#[test]
fn a_page_is_whole_without_a_script() {
    let (_place, _relay, address) = running("");
    let page = get(address, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for text in
        ["checkout", "cart", "search", "archive", "delivered", "All 2 destinations deliver", "Needs a person"]
    {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert!(!page.body.contains("Ann") && !page.body.contains(SECRET));
    let mut weight = page.body.len();
    for (path, kind) in
        [("/style.css", "text/css"), ("/page.js", "text/javascript"), ("/icon.svg", "image/svg+xml")]
    {
        let file = get(address, path);
        assert!(file.status == 200 && file.header("content-type").unwrap().starts_with(kind), "{file:?}");
        weight += file.body.len();
    }
    assert!(weight < 60_000, "{weight}");

    let detail = get(address, &first_change(&page));
    assert_eq!(detail.status, 200);
    for text in ["search", "✔ delivered", "no route leads there", "takes it, to archive", "evt_"] {
        assert!(detail.body.contains(text), "{text}: {}", detail.body);
    }
    let part = get(address, &format!("{}?part=1", first_change(&page)));
    assert!(part.body.starts_with("<div class=\"detail\">") && detail.body.contains(&part.body));
    for missing in ["/change/evt_00000000000000000000000000", "/change/x", "/change/%3Cscript%3E"] {
        let page = get(address, missing);
        assert!(page.status == 404 && !page.body.contains("<script>"), "{page:?}");
    }
}

#[test]
fn changes_are_searched_and_filtered() {
    let (_place, _relay, address) = running("");
    let found = |query: &str| {
        let page = get(address, &format!("/?{query}"));
        assert_eq!(page.status, 200, "{query}");
        page.body.matches("<li><time").count()
    };
    for (query, count) in [
        ("", 3),
        ("q=checkout", 1),
        ("q=CHECK+production", 1),
        ("q=nowhere", 0),
        ("flag=c*", 2),
        ("flag=c*&environment=production", 2),
        ("environment=staging", 0),
        ("since=1h", 3),
        ("before=2", 1),
    ] {
        assert_eq!(found(query), count, "{query}");
        let list = get(address, &format!("/page/changes?{query}"));
        assert!(list.body.matches("<li><time").count() == count && !list.body.contains("<html"), "{query}");
    }
    let page = get(address, "/?since=yesterday&q=%3Cscript%3E");
    assert!(page.body.contains("since: expected a time such as") && !page.body.contains("<script>"));
}

#[test]
fn who_gives_the_token_sees_names() {
    let token = "PLANTED-token-of-the-page";
    let (_place, _relay, address) = running(&format!("admin: {{listen: '127.0.0.1:0', token: {token}}}\n"));
    assert_eq!(get(address, "/").status, 401);
    assert_eq!(get(address, "/page/live").status, 401);
    let bearer = format!("Bearer {token}");
    let page = get_with(address, "/", &[("Authorization", &bearer)]);
    assert!(page.status == 200 && page.body.contains("Ann") && !page.body.contains(token), "{page:?}");
    assert!(get_with(address, "/?q=ann", &[("Authorization", &bearer)]).body.contains("checkout"));
    let detail = get_with(address, &first_change(&page), &[("Authorization", &bearer)]);
    assert!(detail.body.contains("ann@example.com") && !detail.body.contains(SECRET));
}

/// One who watches.
struct Watcher(BufReader<std::net::TcpStream>);

impl Watcher {
    fn new(address: SocketAddr, path: &str) -> Self {
        let mut stream = dial(address);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line; none at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap_or(0);
        (read > 0).then_some(line)
    }

    /// The next parts that were sent.
    fn parts(&mut self) -> Option<Value> {
        loop {
            if let Some(data) = self.line()?.strip_prefix("data: ") {
                return Some(serde_json::from_str(data.trim_end()).unwrap());
            }
        }
    }

    /// Reads on until a part holds this text.
    fn wait_for(&mut self, part: &str, text: &str) -> Value {
        loop {
            let parts = self.parts().unwrap_or_else(|| panic!("the stream ended without {text}"));
            if parts[part].as_str().is_some_and(|html| html.contains(text)) {
                return parts;
            }
        }
    }
}

#[test]
fn an_event_shows_while_it_is_watched_and_a_stop_ends_that() {
    let (place, relay, address) = running("");
    let mut watcher = Watcher::new(address, "/page/live");
    let mut selecting = Watcher::new(address, "/page/live?selection=1");
    let first = watcher.parts().unwrap();
    for part in ["head", "verdict", "causes", "sources", "destinations", "person", "changes"] {
        assert!(first[part].is_string(), "{part}: {first}");
    }
    assert_eq!(selecting.parts().unwrap()["changes"], true);
    place.append("audit.log", Line::flag("updated", "late-flag", true, "on").text());
    let parts = watcher.wait_for("changes", "late-flag");
    assert!(parts.get("verdict").is_none(), "what is as before is not sent: {parts}");
    watcher.wait_for("destinations", ">4</td>");
    eventually("whoever shows a selection hears of it", || {
        selecting.parts().is_some_and(|parts| parts["changes"] == true).then_some(())
    });
    let exit = relay.stop();
    assert!(exit.status.success(), "{exit:?}");
    while watcher.line().is_some() {}
}

#[test]
fn only_so_many_watch_and_whoever_leaves_makes_room() {
    let (_place, _relay, address) = running("");
    let mut watchers: Vec<Watcher> = (0..32).map(|_| Watcher::new(address, "/page/live")).collect();
    for watcher in &mut watchers {
        assert!(watcher.parts().is_some());
    }
    let refused = ask(address, "GET", "/page/live", &[], "");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    assert_eq!(get(address, "/").status, 200);
    drop(watchers);
    eventually("there is room again", || Watcher::new(address, "/page/live").parts().map(drop));
}
