//! Values that must never show.

use std::fmt;

use url::Url;

/// A value that is used and never shown: `Debug` and `Display` print `[redacted]`, and it does not
/// serialize.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value into custody.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for the sender and the signer, never for a log, an error or a status.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An address as anybody may see it: all of it where there is nothing but scheme, host and port.
pub(crate) fn address(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "[secret]".to_owned() };
    let Some(host) = url.host_str() else { return "[secret]".to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    format!("{}://{host}{port}/{}", url.scheme(), if has_more { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_show_itself() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?} {secret} {:?}", vec![&secret]).contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn an_address_shows_where_to_and_no_more() {
        for (url, expected) in [
            ("https://audit.example.com", "https://audit.example.com/"),
            ("https://audit.example.com:8443/", "https://audit.example.com:8443/"),
            ("https://user:pw@audit.example.com/", "https://audit.example.com/"),
            ("https://hooks.example.com/services/T0/B0/x", "https://hooks.example.com/…"),
            ("https://audit.example.com/?key=x", "https://audit.example.com/…"),
            ("no address", "[secret]"),
        ] {
            assert_eq!(address(url), expected);
        }
    }
}
