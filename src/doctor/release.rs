//! Releases of Flipt.

use std::fmt;

/// A release, whatever its build: `v1.62.0-rc.1` counts as 1.62.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(pub u32, pub u32, pub u32);

impl Release {
    /// Reads `v1.61.1`, `1.61.1` or `v2.0`; `None` of a build without one (`dev`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = match parts.next() {
            None => 0,
            Some(patch) => patch?,
        };
        parts.next().is_none().then_some(Self(major, minor, patch))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_builds_write_them() {
        for (text, expected) in [
            ("v1.61.1", Some(Release(1, 61, 1))),
            ("1.61.1", Some(Release(1, 61, 1))),
            ("v1.62.0-rc.1+abc", Some(Release(1, 62, 0))),
            ("v2.0", Some(Release(2, 0, 0))),
            ("dev", None),
            ("", None),
            ("1", None),
            ("1.2.3.4", None),
            ("1.2.x", None),
        ] {
            assert_eq!(Release::parse(text), expected, "{text}");
        }
        assert!(Release(1, 9, 0) < Release(1, 45, 0) && Release(1, 46, 0) < Release(1, 46, 1));
        assert_eq!(Release(1, 61, 1).to_string(), "1.61.1");
    }
}
