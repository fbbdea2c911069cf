//! Slack: webhooks and bots, and what is probably not meant.
use std::time::Duration;

use super::schema::yaml_as_json;
use super::*;
use crate::config::plan::{DestinationKind, SlackAccess, SlackPlan};

fn desk() -> Desk {
    Desk::new()
        .variable("HOOK", "https://hooks.slack.com/services/T0/B0/hunter2")
        .variable("PLAIN", "http://hooks.example.com/services/hunter2")
        .variable("LOCAL", "http://127.0.0.1:8080/services/hunter2")
        .variable("BROKEN", "hooks.slack.com/hunter2")
        .variable("TOKEN", "xoxb-hunter2")
        .variable("OTHER", "hunter2-token")
        .variable("API", "https://slack.com/api/chat.postMessage")
        .variable("BARE", "https://hooks.slack.com/")
        .variable("SPACED", "xoxb-hunter2 and more")
        .variable("LINES", "xoxb-hunter2\nxoxb-hunter2")
        .variable("FOREIGN", "xoxb-hünter2-hunter2")
        .variable("SPACED_HOOK", "https://hooks.slack.com/services/T0/B0/hunter2 x")
}

fn yaml(keys: &str) -> String {
    format!("{SOURCES}destinations: {{d: {{type: slack, {keys}}}}}\nroutes: {{r: {{to: d}}}}\n")
}

fn plan(keys: &str) -> SlackPlan {
    let loaded = desk().load(&yaml(keys)).unwrap();
    assert_eq!(loaded.notes, [], "{keys}");
    let plan = loaded.plan.destinations["d"].clone();
    let Ok(DestinationKind::Slack(slack)) = plan.kind else { panic!("{keys}: {:?}", plan.kind) };
    *slack
}

fn warnings(yaml: &str) -> Vec<String> {
    let loaded = desk().load(yaml).unwrap();
    let said = loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message));
    let said: Vec<String> = said.collect();
    assert!(!said.concat().contains("hunter2"), "{said:?}");
    said
}

/// The messages of all problems.
fn told(keys: &str) -> Vec<String> {
    let problems = desk().load(&yaml(keys)).map(|_| ()).unwrap_err().0;
    problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

#[test]
fn a_webhook_and_a_bot() {
    let webhook = plan("webhook_url: {env: HOOK}");
    assert_eq!(webhook.group_wait, Duration::from_secs(15));
    let SlackAccess::Webhook(url) = webhook.access else { panic!() };
    assert_eq!(url.expose(), "https://hooks.slack.com/services/T0/B0/hunter2");
    let bot = plan("token: {env: TOKEN}, channel: '#flag-changes', group_wait: 1m");
    assert_eq!(bot.group_wait, Duration::from_secs(60));
    let SlackAccess::Bot { token, channel, endpoint } = bot.access else { panic!() };
    assert_eq!((token.expose(), channel.as_str()), ("xoxb-hunter2", "#flag-changes"));
    assert_eq!(endpoint.expose(), "https://slack.com/api/");
    let bot = plan("token: {env: TOKEN}, channel: C0123456789, endpoint: https://slack-gov.com/api");
    let SlackAccess::Bot { endpoint, .. } = bot.access else { panic!() };
    assert_eq!(endpoint.expose(), "https://slack-gov.com/api/");
}

#[test]
fn what_does_not_go_together() {
    let bot = "token: {env: TOKEN}, channel: C0123456789";
    for (keys, expected) in [
        (
            "webhook_url: {env: HOOK}, token: {env: TOKEN}",
            "destinations.d: `webhook_url` beside `token` or `channel`",
        ),
        ("webhook_url: {env: HOOK}, channel: x", "destinations.d: `webhook_url` beside `token` or `channel`"),
        ("token: {env: TOKEN}", "destinations.d: `channel` is missing"),
        ("channel: x", "destinations.d: `token` is missing"),
        ("group_wait: 15s", "destinations.d: `webhook_url` is missing"),
        (
            "webhook_url: {env: HOOK}, endpoint: https://slack.com/api/",
            "destinations.d.endpoint: the address of the Web API, which only a bot uses",
        ),
        ("webhook_url: {env: HOOK}, group_wait: 61m", "destinations.d.group_wait: too long"),
        ("token: {env: TOKEN}, channel: '# '", "destinations.d.channel: no channel is called so"),
        ("token: {env: TOKEN}, channel: flag changes", "destinations.d.channel: no channel is called so"),
        (&format!("{bot}, endpoint: slack.com"), "destinations.d.endpoint: not an address"),
        (
            &format!("{bot}, endpoint: https://slack.com/api/chat.postMessage"),
            "destinations.d.endpoint: ends in a method: the relay adds `chat.postMessage` itself",
        ),
        (
            &format!("{bot}, endpoint: https://slack.com/api/auth.test/"),
            "destinations.d.endpoint: ends in a method: the relay adds `chat.postMessage` itself",
        ),
        (
            &format!("{bot}, expire_after: 1h"),
            "destinations.d.expire_after: not longer than a message may wait for others (1h 15s)",
        ),
        (
            &format!("{bot}, group_wait: 30m, expire_after: 90m"),
            "destinations.d.expire_after: not longer than a message may wait for others (1h 30m)",
        ),
    ] {
        assert_eq!(told(keys), [expected], "{keys}");
    }
    assert_eq!(
        plan(&format!("{bot}, group_wait: 30m, expire_after: 91m")).group_wait,
        Duration::from_secs(1_800)
    );
    assert_eq!(plan(&format!("{bot}, expire_after: never")).group_wait, Duration::from_secs(15));
    assert_eq!(plan("webhook_url: {env: HOOK}, group_wait: 1h").group_wait, Duration::from_secs(3_600));
    assert_eq!(plan("webhook_url: {env: HOOK}, group_wait: 0s").group_wait, Duration::ZERO);
}

#[test]
fn an_address_that_is_none_stops_it_alone() {
    let loaded = desk().load(&yaml("webhook_url: {env: BROKEN}")).unwrap();
    let why = loaded.plan.destinations["d"].kind.clone().unwrap_err();
    assert!(why.starts_with("webhook_url: not an address") && !why.contains("hunter2"), "{why}");
}

#[test]
fn a_secret_that_no_request_carries_stops_it_alone_and_does_not_show() {
    for (keys, expected) in [
        ("token: {env: SPACED}, channel: x", "token: characters that no token has"),
        ("token: {env: LINES}, channel: x", "token: characters that no token has"),
        ("token: {env: FOREIGN}, channel: x", "token: characters that no token has"),
        ("webhook_url: {env: SPACED_HOOK}", "webhook_url: characters that no address has"),
    ] {
        let loaded = desk().load(&yaml(keys)).unwrap();
        assert_eq!(loaded.plan.destinations["d"].kind.clone().unwrap_err(), expected);
        assert_eq!(warnings(&yaml(keys))[0], format!("destinations.d.{expected}"));
    }
}

#[test]
fn what_is_probably_not_meant_is_remarked() {
    let bot = |rest: &str| yaml(&format!("token: {{env: TOKEN}}, {rest}"));
    for (yaml, expected) in [
        (yaml("webhook_url: {env: HOOK}, rate_limit: 10/m"), None),
        (yaml("webhook_url: {env: LOCAL}"), None),
        (yaml("webhook_url: {env: API}"), Some("destinations.d.webhook_url: the address of the Web API")),
        (yaml("webhook_url: {env: BARE}"), Some("destinations.d.webhook_url: no webhook")),
        (bot("channel: x, endpoint: https://slack.example.com/v1.2/api"), None),
        (yaml("webhook_url: {env: PLAIN}"), Some("destinations.d.webhook_url: not encrypted")),
        (yaml("webhook_url: {env: HOOK}, batch: {max_events: 3}"), Some("destinations.d.batch: no effect")),
        (yaml("webhook_url: {env: HOOK}, concurrency: 2"), Some("destinations.d.concurrency: no effect")),
        (bot("channel: '#u'"), None),
        (bot("channel: users"), None),
        (bot("channel: U0123456789"), Some("destinations.d.channel: looks like a person")),
        (bot("channel: '@ann'"), Some("destinations.d.channel: looks like a person")),
        (
            bot("channel: '#x', endpoint: http://slack.example.com/api"),
            Some("destinations.d.endpoint: not encrypted"),
        ),
        (
            yaml("token: {env: OTHER}, channel: '#x'"),
            Some("destinations.d.token: does not look like a token of a bot"),
        ),
    ] {
        let said = warnings(&yaml);
        assert_eq!(said.len(), usize::from(expected.is_some()), "{said:?}");
        assert!(expected.is_none_or(|expected| said[0].starts_with(expected)), "{said:?}");
    }
}

#[test]
fn two_of_one_channel_are_remarked() {
    let two = |one: &str, other: &str| {
        let yaml = format!(
            "{SOURCES}destinations: {{a: {{type: slack, {one}}}, b: {{type: slack, {other}}}}}\nroutes: {{r: {{to: [a, b]}}}}\n"
        );
        warnings(&yaml)
    };
    let bot = "token: {env: TOKEN}, channel: '#Flags'";
    for (one, other) in [
        ("webhook_url: {env: HOOK}", "webhook_url: {env: HOOK}"),
        (bot, "token: {env: TOKEN}, channel: flags"),
    ] {
        let said = two(one, other);
        assert!(
            said.len() == 1 && said[0].starts_with("destinations.b: the same channel as that of `a`"),
            "{said:?}"
        );
        assert!(two(one, &format!("{other}, observe: true")).is_empty());
    }
    assert!(two(bot, "token: {env: TOKEN}, channel: '#other'").is_empty());
    assert!(two(bot, "webhook_url: {env: HOOK}").is_empty());
}

/// As the reference of app manifests has it (<https://docs.slack.dev/reference/app-manifest>).
#[test]
fn the_manifest_of_the_app_is_one() {
    let text = std::fs::read_to_string(repository("deploy/slack/app-manifest.yaml")).unwrap();
    let manifest = yaml_as_json(&text);
    let sections: Vec<&str> = manifest.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(sections, ["display_information", "features", "oauth_config", "settings"]);
    let length = |pointer: &str| {
        manifest.pointer(pointer).and_then(serde_json::Value::as_str).unwrap().chars().count()
    };
    assert!((1..=35).contains(&length("/display_information/name")));
    assert!((1..=140).contains(&length("/display_information/description")));
    assert!((1..=80).contains(&length("/features/bot_user/display_name")));
    let scopes = manifest["oauth_config"]["scopes"].clone();
    assert_eq!(scopes, serde_json::json!({"bot": ["chat:write", "chat:write.public", "incoming-webhook"]}));
    // Tokens that expire would have to be renewed.
    assert_eq!(manifest["settings"]["token_rotation_enabled"], false);
    assert_eq!(manifest["settings"]["socket_mode_enabled"], false);
}
