//! A problem of the relay, or its end.

use super::message::Message;
use super::mrkdwn::Line;
use crate::destination::notice::{Notice, NoticeKind};

/// One line, what to do about it, and where to see more.
pub(super) fn message(notice: &Notice) -> Message {
    let (mark, words) = match (notice.kind, notice.severe) {
        (NoticeKind::Problem, true) => ("🔴", "Problem"),
        (NoticeKind::Problem, false) => ("⚠️", "Problem"),
        (NoticeKind::Recovery, _) => ("✅", "Over"),
    };
    let words = if notice.is_repeated { "Still a problem" } else { words };
    let mut first = Line::default();
    first.emoji(mark).emoji(" ").bold(words).plain(": ").plain(&notice.sentence);
    let mut message = Message::about(&first);
    message.tell(&[first], 0);
    if let Some(remedy) = notice.remedy.as_ref().filter(|_| notice.kind == NoticeKind::Problem) {
        let mut line = Line::default();
        line.plain("Remedy: ").plain(remedy);
        message.tell(&[line], 0);
    }
    let mut small = Line::default();
    small.plain("audit-relay ").plain(&notice.relay).plain(" · since ").date(notice.since, notice.at);
    if let Some(url) = &notice.status_url {
        small.plain(" · ").link(url, "Status", false);
    }
    message.small(&small);
    message
}
