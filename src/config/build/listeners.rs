//! The listeners for probes, metrics and the status page.

use super::{Judge, Raw};
use crate::config::plan::{AdminPlan, HealthPlan};

pub(super) fn build(raw: &Raw, judge: &mut Judge<'_>) -> (HealthPlan, AdminPlan) {
    let admin = raw.admin.listen.0;
    if !admin.ip().is_loopback() && !judge.is_written("admin.token") {
        let expected = Some("`admin.token` too, or an address such as `127.0.0.1:9465`");
        judge.problem("admin.listen", "beyond loopback without a token", expected);
    }
    let health = raw.health.listen.0;
    let same_ip = admin.ip() == health.ip() || admin.ip().is_unspecified() || health.ip().is_unspecified();
    if admin.port() == health.port() && admin.port() != 0 && same_ip {
        judge.problem("admin.listen", "the same port as that of `health.listen`", Some("another port"));
    }
    let admin = AdminPlan {
        listen: admin,
        token: raw.admin.token.as_ref().map(|token| token.0.clone()),
        external_url: external_url(raw),
    };
    (HealthPlan { listen: health }, admin)
}

/// The status page's address for people, without a slash at its end.
pub(super) fn external_url(raw: &Raw) -> Option<String> {
    raw.admin.external_url.as_ref().map(|url| url.0.expose().trim_end_matches('/').to_owned())
}
