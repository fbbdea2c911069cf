use super::*;
use proptest::prelude::*;

fn shown(text: &str) -> String {
    let mut line = Line::default();
    line.plain(text);
    line.markup(10_000)
}

#[test]
fn nothing_but_text_comes_of_text() {
    for (text, expected) in [
        ("checkout", "checkout"),
        ("new_checkout_flow", "new_checkout_flow"),
        ("_new_checkout_", "＿new_checkout＿"),
        ("a__b", "a＿＿b"),
        ("*ON*", "＊ON＊"),
        ("~gone~ `code`", "～gone～ ｀code｀"),
        ("<!channel> <@U123> <#C1|x>", "&lt;!channel&gt; &lt;＠U123&gt; &lt;#C1|x&gt;"),
        ("<https://evil.example|https://good.example>", "&lt;https：//evil.example|https://good.example&gt;"),
        ("&lt;!here&gt; &", "&amp;lt;!here&amp;gt; &amp;"),
        ("@here @channel ann@example.com", "＠here ＠channel ann@example.com"),
        (":fire: a:b", "：fire: a:b"),
        ("14:14 14:14:02 country: CA", "14:14 14:14:02 country: CA"),
        ("1:100:1 0:00:fire: 1:02:03:04", "1：100:1 0：00：fire: 1：02:03:04"),
        ("> quoted > or not", "＞ quoted &gt; or not"),
        ("a\u{2028}b\tc\r\nd", "a b c  d"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_one_piece_begins_no_other_ends() {
    let mut line = Line::default();
    line.plain("a :fi").bold("re: b").plain(" _x").plain("y_");
    assert_eq!(line.markup(99), "a ：fi*re: b* ＿xy＿");
    let mut line = Line::default();
    line.bold("one").bold("two").plain(" ").bold("  three ").plain("four");
    assert_eq!(line.markup(99), "*one*two   *three* four");
}

#[test]
fn the_first_piece_that_is_shown_quotes_nothing() {
    let mut line = Line::default();
    line.emoji("🟢").emoji(" ").bold("> Ann").plain(" turned");
    assert_eq!(line.markup(99), "🟢 *&gt; Ann* turned");
    assert_eq!(line.text(99), "＞ Ann turned");
    let mut line = Line::default();
    line.plain(" ").bold("> Ann").plain(" > Ben");
    assert_eq!(line.markup(99), " *＞ Ann* &gt; Ben");
}

#[test]
fn links_and_times() {
    let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    let now = at("2026-11-22T15:00:00Z");
    let mut line = Line::default();
    line.emoji("🟢 ").link("https://flipt.example.com/#/a?b=1&c=2", "a & b", true).plain(" · ");
    line.date(at("2026-11-22T14:14:02Z"), now).plain(" · ").date(at("2026-11-20T09:05:00Z"), now);
    assert_eq!(
        line.markup(999),
        "🟢 *<https://flipt.example.com/#/a?b=1&amp;c=2|a &amp; b>* · <!date^1795356842^{time}|14:14 UTC> · \
         <!date^1795165500^{date_short_pretty} {time}|Nov 20, 2026 09:05 UTC>"
    );
    assert_eq!(line.text(999), "a &amp; b · 14:14 UTC · Nov 20, 2026 09:05 UTC");
    let long = format!("https://flipt.example.com/{}", "x".repeat(1_000));
    for url in ["javascript:alert(1)", "https://a|b", "https://a>b", "https://a b", "https://é", "", &long] {
        let mut line = Line::default();
        line.link(url, "text", false).plain(" ").date(at("1969-01-01T00:00:00Z"), now);
        assert_eq!(line.markup(999), "text Jan 1, 1969 00:00 UTC", "{url}");
    }
}

#[test]
fn cuts_leave_nothing_in_halves() {
    let mut line = Line::default();
    line.plain("ab ").bold("c<d>e").plain(" fgh ").link("https://a.example", "link", true).plain(" end");
    for (room, expected) in [
        (0, ""),
        (1, "…"),
        (2, "a…"),
        (6, "ab…"),
        (7, "ab *c…*"),
        (10, "ab *c…*"),
        (11, "ab *c&lt;…*"),
        (19, "ab *c&lt;d&gt;e* f…"),
        (30, "ab *c&lt;d&gt;e* fgh *link…*"),
        (52, "ab *c&lt;d&gt;e* fgh *<https://a.example|link>* end"),
    ] {
        assert_eq!(line.markup(room), expected, "{room}");
    }
}

/// Pieces as nobody would write them.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_*~`:@<>& ]{0,12}",
        any::<String>(),
        Just("<!channel>".to_owned()),
        Just("😀".repeat(9)),
        Just("&".repeat(9)),
    ]
}

proptest! {
    #[test]
    fn no_line_breaks(
        pieces in proptest::collection::vec((piece(), 0..4_u8), 0..8),
        room in 0_usize..120,
    ) {
        let mut line = Line::default();
        for (text, kind) in &pieces {
            match kind {
                0 => line.plain(text),
                1 => line.bold(text),
                2 => line.link("https://a.example/", text, true),
                _ => line.date(Timestamp::from_unix_micros(1), Timestamp::from_unix_micros(1)),
            };
        }
        for (made, is_markup) in [(line.markup(room), true), (line.text(room), false)] {
            prop_assert!(width(&made) <= room, "{made:?} in {room}");
            prop_assert!(!made.contains(['`', '~', '\n']));
            let bare = made.replace("<https://a.example/|", "").replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
            prop_assert!(!bare.contains('&'), "{made:?}");
            prop_assert_eq!(made.matches('*').count() % 2, 0, "{:?}", made);
            prop_assert_eq!(made.matches('<').count(), made.matches('>').count(), "{:?}", made);
            prop_assert!(is_markup || !made.contains(['<', '*']));
        }
        if room == 119 {
            return Ok(());
        }
        // More room shows more, or the same.
        prop_assert!(line.text(room).trim_end_matches('…').len() <= line.text(room + 1).len());
    }
}
