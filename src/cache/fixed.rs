//! Creates tokens that are always the same ([`Tokens::fixed`]).

use tower::service_fn;

use super::TokenCache;
use super::tokens::Tokens;
use crate::credentials::Credentials;
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::token::AccessToken;

/// Creates a slot whose only token is `token`.
pub(super) fn fixed(token: AccessToken) -> Tokens {
    // The token never ends and cannot be rejected, so the source is never called.
    let source = service_fn(|_: TokenRequest| async {
        Err::<AccessToken, _>(TokenError::new(TokenErrorKind::Source, "the token is fixed"))
    });
    // The text is part of the identity, because the token may be the secret of other credentials.
    let credentials = Credentials::named("fixed token").parameter("token", token.secret());
    let tokens = TokenCache::new(source).tokens(&credentials);
    let issued = tokens.slot().issue(token).fixed();
    tokens.slot().preset(issued);
    tokens
}
