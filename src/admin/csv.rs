//! Comma-separated values (RFC 4180), which nobody's spreadsheet takes for formulas.

use super::words;

/// What a spreadsheet takes for the beginning of a formula, or passes over before it.
const DANGEROUS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One record, with the line break that ends it.
pub(crate) fn record<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|cell| field(cell.as_ref())).collect();
    cells.join(",") + "\r\n"
}

/// A cell as it is written: one that a spreadsheet would take for a formula begins with `'`; what a terminal
/// must not have is written as JSON would escape it.
fn field(cell: &str) -> String {
    let guard = if cell.starts_with(DANGEROUS) { "'" } else { "" };
    let text = format!("{guard}{}", words::escaped(cell));
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_guarded_and_harmless() {
        for (cell, expected) in [
            ("", ""),
            ("checkout", "checkout"),
            ("a,b", "\"a,b\""),
            ("say \"on\"", "\"say \"\"on\"\"\""),
            ("=1+1", "'=1+1"),
            ("+31", "'+31"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("\t=1", "'\\u0009=1"),
            ("\r=1", "'\\u000d=1"),
            ("a\r\nb", "a\\u000d\\u000ab"),
            ("\u{1b}[2J", "\\u001b[2J"),
            ("'quoted'", "'quoted'"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(field(cell), expected, "{cell:?}");
        }
        assert_eq!(record(["a", "b,c", ""]), "a,\"b,c\",\r\n");
    }
}
