use std::fmt;

/// Something that was configured can not work.
///
/// # Example
///
/// ```
/// let error = tower_oauth2::Origins::only(["api.example.com"]).unwrap_err();
/// assert_eq!(error.to_string(), "origin: needs a scheme and a host");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConfigError {
    what: &'static str,
    why: &'static str,
}

impl ConfigError {
    pub(crate) const fn new(what: &'static str, why: &'static str) -> Self {
        Self { what, why }
    }

    pub(crate) fn why(&self) -> &'static str {
        self.why
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

impl std::error::Error for ConfigError {}
