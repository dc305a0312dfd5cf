use std::fmt;

/// The error of an invalid setting.
///
/// # Example
///
/// ```
/// let error = tower_oauth2::Origins::only(["api.example.com"]).unwrap_err();
/// assert_eq!(error.to_string(), "origin: needs a scheme and a host");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConfigError {
    /// The name of the setting.
    setting: &'static str,
    reason: &'static str,
}

impl ConfigError {
    pub(crate) const fn new(setting: &'static str, reason: &'static str) -> Self {
        Self { setting, reason }
    }

    /// Returns an error if there is a fault.
    pub(crate) fn check(setting: &'static str, fault: Option<&'static str>) -> Result<(), Self> {
        fault.map_or(Ok(()), |reason| Err(Self::new(setting, reason)))
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.reason)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

impl std::error::Error for ConfigError {}
