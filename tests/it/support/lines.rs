//! Lines as Flipt's log sink writes them.

/// An update of the flag `key` whose description is `mark`: unique where the mark is.
pub fn flag_line(key: &str, mark: &str) -> String {
    line_with(
        "flag",
        "updated",
        &format!(
            r#"{{"description":"{mark}","enabled":true,"key":"{key}","name":"{key}","namespace_key":"default"}}"#
        ),
    )
}

/// An event with this payload, by a sample actor.
pub fn line_with(noun: &str, verb: &str, payload: &str) -> String {
    format!(
        r#"{{"version":"0.2","type":"{noun}","action":"{verb}","status":"success","metadata":{{"actor":{{"authentication":"oidc","ip":"10.1.2.3","email":"ann@example.com","name":"Ann"}}}},"payload":{payload},"timestamp":"2026-11-22T08:32:19Z"}}"#
    )
}
