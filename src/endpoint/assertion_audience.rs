//! Names the audience of a refused assertion in its error.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::client_auth::TokenRequestParts;
use crate::error::TokenError;
use crate::util::printable::{self, UrlWithoutSecrets};

/// The longest audience that an error quotes, in characters.
const MAX_AUDIENCE: usize = 200;

/// The number of audiences that an error quotes.
const MAX_SHOWN: usize = 3;

/// The values of `aud`, of which a custom claim may have several.
type Audiences = Vec<String>;

/// The audiences of the JWTs that were signed here for one token request.
pub(super) struct AssertionAudiences {
    of_client: Option<Audiences>,
    of_grant: Option<Audiences>,
    token_endpoint: Box<str>,
}

impl AssertionAudiences {
    /// Returns the audiences, or `None` if no JWT was signed for the request.
    pub(super) fn of(request: &TokenRequestParts, token_endpoint: &str) -> Option<Self> {
        // The audience of a JWT that another party has signed cannot be set here.
        request.is_time_used().then(|| Self {
            of_client: request.parameter("client_assertion").and_then(audiences),
            of_grant: request.parameter("assertion").and_then(audiences),
            token_endpoint: token_endpoint.into(),
        })
    }

    /// Adds the audience to an error that may be a refusal of the assertion.
    pub(super) fn explain(self, error: TokenError) -> TokenError {
        let refused = matches!(
            error.status(),
            Some(StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        );
        let audiences = match error.error_code() {
            Some("invalid_grant") => self.of_grant.or(self.of_client),
            None | Some("invalid_client" | "invalid_request" | "unauthorized_client") => {
                self.of_client.or(self.of_grant)
            }
            Some(_) => None,
        };
        let Some(audiences) = audiences.filter(|_| refused) else { return error };
        let remedy = if audiences.iter().any(|audience| **audience == *self.token_endpoint) {
            "if the server requires another one, set `audience`, for example to the issuer"
        } else {
            "if the server requires its token endpoint there, set Audience::TokenEndpoint"
        };
        let shown: Vec<_> = audiences.iter().take(MAX_SHOWN).map(|one| shown(one)).collect();
        let shown = shown.join(" and ");
        error.with_hint(format!("the assertion was for {shown}: {remedy}"))
    }
}

/// Returns an audience as printable text.
///
/// The parts of a URL that may be secrets are left out.
fn shown(audience: &str) -> String {
    match audience.contains("://") {
        true => printable::bounded(UrlWithoutSecrets(audience), MAX_AUDIENCE),
        false => printable::bounded(audience, MAX_AUDIENCE),
    }
}

/// Returns the audiences of a JWT, if it has any.
fn audiences(jwt: &str) -> Option<Audiences> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let audiences =
        match serde_json::from_slice::<Map<String, Value>>(&claims).ok()?.remove("aud")? {
            Value::String(audience) => vec![audience],
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
    (!audiences.is_empty()).then_some(audiences)
}
