use std::fmt;
use std::sync::Arc;

use crate::util::printable::{self, UrlWithoutSecrets};

/// The longest value that an error quotes, in characters.
const MAX_VALUE: usize = 80;

/// Reports an invalid setting.
///
/// The text names the setting and what to do, and quotes at most 80 printable characters of the
/// invalid value. Secrets, tokens and keys are never quoted. A URL is quoted without its user
/// information, query and fragment. A text that could be a secret at the place of a URL is not
/// quoted either.
///
/// # Example
///
/// ```
/// let error = tower_oauth2::Origins::only(["api.example.com"]).unwrap_err();
/// assert_eq!(error.to_string(), "origin needs a scheme and a host: api.example.com");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The name of the setting.
    setting: &'static str,
    /// A predicate: what is wrong with the setting, or what it must be.
    problem: &'static str,
    /// The printable value, unless it may be a secret.
    value: Option<Arc<str>>,
    /// The printable name of what the setting is part of.
    #[cfg(feature = "serde")]
    context: Option<Arc<str>>,
}

impl ConfigError {
    /// Creates an error with the text `{setting} {problem}`.
    ///
    /// Use it in custom implementations of
    /// [`ClientAuthentication::check`](crate::client_auth::ClientAuthentication::check).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::ConfigError;
    ///
    /// let error = ConfigError::new("gateway key", "is empty");
    /// assert_eq!(error.to_string(), "gateway key is empty");
    /// ```
    pub const fn new(setting: &'static str, problem: &'static str) -> Self {
        Self {
            setting,
            problem,
            value: None,
            #[cfg(feature = "serde")]
            context: None,
        }
    }

    /// Returns an error if there is a fault.
    pub(crate) fn check(setting: &'static str, fault: Option<&'static str>) -> Result<(), Self> {
        fault.map_or(Ok(()), |problem| Err(Self::new(setting, problem)))
    }

    /// Quotes a value that is no secret.
    pub(crate) fn with_value(mut self, value: impl fmt::Display) -> Self {
        let value = printable::bounded(value, MAX_VALUE);
        self.value = (!value.is_empty()).then(|| value.into());
        self
    }

    /// Names what the setting is part of, at the beginning of the text.
    #[cfg(feature = "serde")]
    pub(crate) fn within(mut self, context: impl fmt::Display) -> Self {
        let outer = printable::bounded(context, MAX_VALUE);
        self.context = Some(match self.context {
            Some(inner) => format!("{outer}: {inner}").into(),
            None => outer.into(),
        });
        self
    }

    /// Quotes a URL, without the parts that may be secrets.
    pub(crate) fn with_url(self, url: &str) -> Self {
        self.with_value(UrlWithoutSecrets(url))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "serde")]
        if let Some(context) = &self.context {
            write!(f, "{context}: ")?;
        }
        write!(f, "{} {}", self.setting, self.problem)?;
        match &self.value {
            Some(value) => write!(f, ": {value}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

impl std::error::Error for ConfigError {}
