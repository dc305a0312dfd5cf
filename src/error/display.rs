//! Writes the texts of a [`TokenError`].

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use super::{ConfigError, ErrorContents, NO_METADATA, TokenError, TokenErrorKind, advice, chain};
use crate::util::printable::Printable;

impl TokenError {
    /// Returns the causes that may be shown.
    ///
    /// The text of a custom source or secret is not shown, because it may contain secrets that this
    /// crate does not know. An invalid setting and the name of the operating system's error are.
    fn shown_causes(&self) -> Option<Cow<'_, str>> {
        if let Some(causes) = self.inner.causes.as_deref().filter(|causes| !causes.is_empty()) {
            return Some(causes.into());
        }
        let source = &**self.inner.source.as_ref()?;
        let setting = chain(source).find_map(|error| error.downcast_ref::<ConfigError>());
        match setting {
            Some(setting) => Some(setting.to_string().into()),
            None => system_cause(source).map(|cause| cause.to_string().into()),
        }
    }
}

/// Returns the kind of the operating system's error among the causes.
fn system_cause(source: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let causes = chain(source).filter_map(|error| error.downcast_ref::<io::Error>());
    let cause = causes.last()?.kind();
    // The text of an unnamed error has no information.
    let is_named =
        !matches!(cause, io::ErrorKind::Other) && cause.to_string() != "uncategorized error";
    is_named.then_some(cause)
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorContents { kind, note, facts, hint, label, origin, response, .. } = &*self.inner;
        match origin {
            Some((what_failed, origin)) => write!(f, "{what_failed} {origin}")?,
            None if *kind == TokenErrorKind::InvalidIssuer => f.write_str("no metadata")?,
            None => f.write_str("no token")?,
        }
        if let Some(label) = label {
            write!(f, " for {}", Printable(label))?;
        }
        write!(f, ": {kind}")?;
        if let Some(response) = response {
            write!(f, " ({response})")?;
        }
        if let Some(causes) = self.shown_causes() {
            write!(f, " ({causes})")?;
        }
        if !note.is_empty() {
            write!(f, ": {note}")?;
        }
        let is_for_metadata =
            origin.as_ref().is_some_and(|(what_failed, _)| *what_failed == NO_METADATA);
        let advice = advice::for_error(*kind, response.as_ref(), *facts, is_for_metadata);
        write!(f, "; {advice}")?;
        if let Some(hint) = hint {
            write!(f, "; {hint}")?;
        }
        match self.error_description() {
            Some(reason) if !reason.trim().is_empty() => {
                f.write_str("; the server's reason is in error_description()")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TokenError");
        debug.field("kind", &self.inner.kind).field("text", &self.to_string());
        if let Some(label) = self.label() {
            debug.field("label", &label);
        }
        if let Some(retry_after) = self.retry_after() {
            debug.field("retry_after", &retry_after);
        }
        if let Some(rejected) = &self.rejected_response {
            debug.field("rejected", &rejected.status().as_u16());
        }
        if let Some(retry_in) = &self.retry_in {
            debug.field("retry_in", retry_in);
        }
        debug.finish_non_exhaustive()
    }
}
