//! The audience of a refused assertion, which its error names.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::client_auth::TokenRequestParts;
use crate::error::TokenError;
use crate::util::printable::{self, UrlWithoutSecrets};

/// The longest audience that an error quotes, in characters.
const MAX_AUDIENCE: usize = 200;

/// The audiences of the JWTs that were signed here for one token request.
pub(super) struct AssertionAudiences {
    of_client: Option<String>,
    of_grant: Option<String>,
    token_endpoint: Box<str>,
}

impl AssertionAudiences {
    /// Returns the audiences, or `None` if no JWT was signed for the request.
    pub(super) fn of(request: &TokenRequestParts, token_endpoint: &str) -> Option<Self> {
        // No audience can be set of a JWT that another party has signed.
        request.is_time_used().then(|| Self {
            of_client: request.parameter("client_assertion").and_then(audience),
            of_grant: request.parameter("assertion").and_then(audience),
            token_endpoint: token_endpoint.into(),
        })
    }

    /// Adds the audience to an error that may be a refusal of the assertion.
    pub(super) fn explain(self, error: TokenError) -> TokenError {
        let refused = matches!(
            error.status(),
            Some(StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        );
        let audience = match error.error_code() {
            Some("invalid_grant") => self.of_grant.or(self.of_client),
            None | Some("invalid_client" | "invalid_request" | "unauthorized_client") => {
                self.of_client.or(self.of_grant)
            }
            Some(_) => None,
        };
        let Some(audience) = audience.filter(|_| refused) else { return error };
        let remedy = if *audience == *self.token_endpoint {
            "SignedJwt::audience sets another audience, such as the issuer"
        } else {
            "if the server requires its token endpoint there, set Audience::TokenEndpoint"
        };
        let shown = match audience.contains("://") {
            true => printable::bounded(UrlWithoutSecrets(&audience), MAX_AUDIENCE),
            false => printable::bounded(&audience, MAX_AUDIENCE),
        };
        error.with_hint(format!("the assertion was for {shown}: {remedy}"))
    }
}

/// Returns the audience of a JWT, if it is one text.
fn audience(jwt: &str) -> Option<String> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    match serde_json::from_slice::<Map<String, Value>>(&claims).ok()?.remove("aud")? {
        Value::String(audience) => Some(audience),
        _ => None,
    }
}
