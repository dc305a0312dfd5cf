//! Computes the gRPC status of a call for which no token is available.

use std::error::Error;
use std::sync::Arc;

use http::StatusCode;
use tonic::{Code, Status};
use tower::BoxError;

use crate::error::{TokenError, TokenErrorKind};
use crate::oauth2::CallTimeout;

/// Turns a [`TokenError`] into a status, which generated clients return. Other errors are
/// unchanged.
pub(super) fn from_error(error: BoxError) -> BoxError {
    match error.downcast::<TokenError>() {
        Ok(error) => {
            let mut status = Status::new(code(&error), error.to_string());
            status.set_source(Arc::from(error as BoxError));
            status.into()
        }
        Err(error) => error,
    }
}

fn code(error: &TokenError) -> Code {
    match error.kind() {
        TokenErrorKind::ErrorResponse if is_refusal(error) => Code::Unauthenticated,
        TokenErrorKind::Rejected => Code::Unauthenticated,
        TokenErrorKind::NoRuntime => Code::Internal,
        TokenErrorKind::Timeout if source::<CallTimeout>(error).is_some() => Code::DeadlineExceeded,
        TokenErrorKind::ClientAuthentication => match source::<TokenError>(error) {
            // The secret is a token of other credentials.
            Some(error) => code(error),
            None => code_by_time(error),
        },
        _ => code_by_time(error),
    }
}

/// Returns a different code for transient failures and for those that need a correction.
fn code_by_time(error: &TokenError) -> Code {
    if error.is_transient() { Code::Unavailable } else { Code::FailedPrecondition }
}

/// Returns whether the token endpoint understands the request and refuses the credentials.
///
/// The error codes are those of RFC 6749 sections 4.1.2.1 and 5.2.
fn is_refusal(error: &TokenError) -> bool {
    if error.is_transient() {
        return false;
    }
    let refusals = ["invalid_client", "invalid_grant", "unauthorized_client", "access_denied"];
    error.error_code().is_some_and(|code| refusals.contains(&code))
        || matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
}

fn source<E: Error + 'static>(error: &TokenError) -> Option<&E> {
    error.source()?.downcast_ref()
}
