//! What destinations that tell people have in common.

use std::time::Duration;

use url::{Host, Url};

use super::Judge;
use crate::config::raw::destination::Common;
use crate::config::scalars::Expiry;

/// How long the first event of a message waits for further ones where nothing is written.
const GROUP_WAIT: Duration = Duration::from_secs(15);

/// A message that waits longer is no news.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// How long a message waits for company. What is kept back on purpose, of some records `held_back` longer, must not
/// expire meanwhile.
pub(super) fn group_wait(
    path: &str,
    common: &Common,
    held_back: Duration,
    judge: &mut Judge<'_>,
) -> Duration {
    let wait = common.group_wait.map_or(GROUP_WAIT, |wait| wait.0);
    let expiry = common.expire_after.and_then(|Expiry(after)| after);
    if wait > LONGEST_WAIT {
        judge.problem(&format!("{path}.group_wait"), "too long", Some("at most `1h`"));
    } else if expiry.is_some_and(|after| !after.is_zero() && after <= wait + held_back) {
        let longest = humantime::format_duration(wait + held_back);
        let message = format!("not longer than a message may wait for others ({longest})");
        judge.problem(&format!("{path}.expire_after"), &message, Some("a longer duration"));
    }
    wait
}

/// Whether what is sent there crosses a network that others may read.
pub(super) fn is_in_the_clear(url: &Url) -> bool {
    url.scheme() == "http" && !is_this_machine(url)
}

/// Whether what is sent there stays on this machine.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
